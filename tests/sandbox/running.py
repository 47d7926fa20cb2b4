"""Processes of the sandbox as tests run them: real, on loopback, ended by pid."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from sandbox.vendor_client import VendorClient
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


class Module:
    """`python -m NAME --folder FOLDER`, with its output in FOLDER/log."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.log = name, folder, folder / "log"
        self.start()

    def start(self, *arguments: str) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", self.name, "--folder", str(self.folder), *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(10)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 10) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(seconds)
        finally:
            if self.popen.poll() is None:
                self.kill()


class Vendor(Module):
    """The sandbox vendor with its client."""

    def __init__(self, folder: Path) -> None:
        super().__init__("sandbox.vendor", folder)
        self.client = VendorClient(folder)
        self.until_up()

    def until_up(self) -> None:
        until(self._up, 10, "the sandbox vendor")

    def _up(self) -> bool:
        assert self.popen.poll() is None, self.log.read_text()
        return self.client.healthy()

    def restart_after(self, end: Any) -> None:
        end()
        self.start()
        self.until_up()


@contextmanager
def running_vendor(folder: Path) -> Iterator[Vendor]:
    vendor = Vendor(folder)
    try:
        yield vendor
    finally:
        vendor.stop()


def call(method: str, url: str, secret: str | None = None, **options: Any) -> requests.Response:
    """Send one request on a connection of its own; redirects are not followed."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else options.pop("headers", {})
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            method, url, headers=headers, allow_redirects=False, **{"timeout": 10, **options}
        )
