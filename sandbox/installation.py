"""A whole installation in one folder: servers, web, worker, beat, a vendor and an application."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from sandbox.seeding import Seeds
from sandbox.services.process import (
    MissingPart,
    Process,
    StartFailed,
    claim,
    plain_environment,
    private_folder,
)
from sandbox.settings import Kind, Settings

ROOT = Path(__file__).resolve().parent.parent
OWNER_EMAIL = "owner@example.com"


@dataclass
class Part:
    """One process of the product or of its outside world, and how to start it."""

    process: Process
    kind: Kind | None
    command: Callable[[], list[str]]
    ready: Callable[[], bool]
    seconds: float = 60


class Installation:
    """The installation in `folder`; `start()` does what is missing, `stop()` ends everything.

    Data and secrets stay in the folder, so that the next start goes on where this one ended.
    After the first start `owner_password` holds the new owner's password; it is stored nowhere.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.settings = Settings(self.folder)
        self.seeds = Seeds(self.folder)
        self.owner_password: str | None = None
        self.launcher = Process(self.folder, "launcher", stop_seconds=150)
        self.parts = {part.process.name: part for part in self._parts()}

    # --- What others ask about ---

    @property
    def url(self) -> str:
        """Return the URL of the console and the API."""
        return self.settings.url

    @property
    def vendor_url(self) -> str:
        """Return the URL of the sandbox vendor: its API and its dashboard."""
        return f"http://127.0.0.1:{(self.folder / 'vendor' / 'port').read_text().strip()}"

    def environment(self, kind: Kind) -> dict[str, str]:
        """Return the settings for a process: `web`, `worker` (also beat), or `owner` (migrates)."""
        return self.settings.environment(kind)

    def status(self) -> dict[str, int | None]:
        """Return the pid of each process of ours by name; None for one that does not run."""
        return {name: process.pid() for name, process in self._processes().items()}

    def running(self) -> bool:
        """Tell whether every process runs."""
        return all(self.status().values())

    def manage(self, *words: str, kind: Kind = "owner", stdin: str = "") -> str:
        """Run `manage.py` and return what it printed; StartFailed with its last words.

        Secrets go in by `stdin`, never among `words`, which every user of the machine can see.
        """
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            input=stdin,
            cwd=ROOT,
            env={**plain_environment(self.folder), **self.environment(kind)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            raise StartFailed(f"manage.py {words[0]} failed: {said}")
        return done.stdout

    # --- Start and stop ---

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one launcher alone; MissingPart when another one has it."""
        private_folder(self.folder)
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise MissingPart(
                    f"The sandbox in {self.folder} runs already: use it, or end it with"
                    " `make stop` first."
                ) from None
            claim(self.launcher.pid_file)
            try:
                yield
            finally:
                self.launcher.forget()

    def start(self) -> None:
        """Start all that does not run, in order; migrate, and fill a fresh installation."""
        private_folder(self.folder)
        self.settings.prepare(choose_port=not self.parts["web"].process.running())
        for server in self._servers():
            server.start()
        self.start_parts("vendor")
        self.manage("migrate", "--database", "owner", "--verbosity", "0")
        if not self.seeds.planted():
            self._create_owner()
            self.seeds.plant(self.vendor_url, self.manage)
        self.start_parts("web", "worker", "beat")
        self.seeds.configure_app(self.url, self.vendor_url)
        self.start_parts("app")

    def start_parts(self, *names: str) -> None:
        """Start those of `web`, `worker`, `beat`, `vendor`, `app` that do not run, side by side."""
        parts = [self.parts[name] for name in names]
        starting = [part for part in parts if not part.process.running()]
        for part in starting:
            settings = self.environment(part.kind) if part.kind else {"PYTHONUNBUFFERED": "1"}
            part.process.spawn([sys.executable, "-m", *part.command()], settings, cwd=ROOT)
        for part in starting:
            part.process.wait_until(part.ready, part.seconds)

    def stop(self) -> None:
        """End everything in order, also what an earlier launcher left behind; data stay."""
        for name in ("app", "beat", "worker", "web", "vendor"):
            self.parts[name].process.stop()
        for server in reversed(self._servers()):
            server.stop()

    def stop_launcher(self) -> None:
        """Ask the launcher, if one runs, to end everything, and wait until it has."""
        self.launcher.stop()

    def mend(self) -> list[str]:
        """Start again what has ended by itself; returns the names."""
        ended = [name for name, pid in self.status().items() if pid is None]
        for server in self._servers():
            server.start()
        self.start_parts("vendor", "web", "worker", "beat", "app")
        return ended

    def _create_owner(self) -> None:
        answer: dict[str, Any] = json.loads(self.manage("createowner", OWNER_EMAIL, "--json"))
        if answer["created"]:
            self.owner_password = answer["password"]

    # --- The parts ---

    def _servers(self) -> list[Any]:
        mine = (self.settings.postgres, self.settings.openbao, self.settings.valkey)
        return [server for server in mine if server is not None]

    def _processes(self) -> dict[str, Process]:
        servers = {server.process.name: server.process for server in self._servers()}
        return {**servers, **{name: part.process for name, part in self.parts.items()}}

    def _parts(self) -> list[Part]:
        app = self.folder / "app"
        return [
            Part(self._process("vendor"), None, self._vendor_command, self._vendor_answers),
            Part(self._process("web"), "web", self._web_command, self._web_answers),
            # A task may take a minute before Celery's own limit ends it.
            Part(self._process("worker", 90), "worker", self._worker_command, self._worker_ready),
            Part(self._process("beat"), "worker", self._beat_command, lambda: True),
            Part(
                self._process("app"),
                None,
                lambda: ["sandbox.app", "--folder", str(private_folder(app))],
                lambda: _written_by(app / "status.json", self.parts["app"].process.pid()),
            ),
        ]

    def _process(self, name: str, stop_seconds: float = 20) -> Process:
        return Process(self.folder, name, signal.SIGTERM, stop_seconds)

    def _vendor_command(self) -> list[str]:
        folder = private_folder(self.folder / "vendor")
        return ["sandbox.vendor", "--folder", str(folder), "--port", "0"]

    def _vendor_answers(self) -> bool:
        with contextlib.suppress(OSError, requests.RequestException):
            return _answers(f"{self.vendor_url}/_sandbox/health", self.seeds.control())
        return False

    def _web_command(self) -> list[str]:
        bind = ["--bind", f"127.0.0.1:{self.settings.port}", "--no-control-socket", "--preload"]
        worker = ["--worker-class", "keyvault.web_server.BufferingWorker"]
        size = ["--workers", "2", "--threads", "4"]
        return ["gunicorn", "keyvault.wsgi:application", *worker, *size, *bind]

    def _web_answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return _answers(f"{self.url}/sign-in")
        return False

    def _worker_command(self) -> list[str]:
        return ["celery", "-A", "keyvault", "worker", "-c", "2", "--hostname", "sandbox@%h"]

    def _worker_ready(self) -> bool:
        return b" ready" in self.parts["worker"].process.new_output()

    def _beat_command(self) -> list[str]:
        return ["celery", "-A", "keyvault", "beat", "-s", str(self.folder / "beat-schedule")]


def _answers(url: str, headers: dict[str, str] | None = None) -> bool:
    answer = requests.get(url, headers=headers, timeout=5, allow_redirects=False)
    return answer.status_code < 500


def _written_by(status: Path, pid: int | None) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return bool(json.loads(status.read_text()).get("pid") == pid)
    return False


def default_folder() -> Path:
    """Return the folder of the installation that the Makefile uses."""
    return Path(os.environ.get("SANDBOX_FOLDER") or ROOT / ".run")
