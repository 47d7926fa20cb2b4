"""Show the main job from nothing to its proof, without anyone at the keyboard.

An installation of its own starts; an application calls the vendor twice a second all the while.
One key is rotated by program, one by hand through the vendor's dashboard. The last line is the
verdict, judged by the vendor's own ledger; the exit status is 0 only if all of it is good.
"""

import argparse
import hashlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from sandbox.console_client import ConsoleClient
from sandbox.installation import OWNER_EMAIL, ROOT, Installation
from sandbox.services.process import Process, StartFailed, private_folder, write_private
from sandbox.vendor_client import VendorClient

T = TypeVar("T")
_LONGEST = 120.0
_PAUSE = 0.25


@dataclass
class Stage:
    """The running installation with everybody who takes part."""

    installation: Installation
    vendor: VendorClient
    person: ConsoleClient
    second_app: Process


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer to keep the demo's folder, to look into its logs."""
    parser.add_argument("--keep", action="store_true", help="do not delete the demo's folder")


def main(options: argparse.Namespace) -> int:
    """Run the demo in a folder of its own and return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="keyvault-demo-"))
    installation = Installation(folder / "run")
    try:
        with installation.held():
            print("Starting Postgres, Valkey, OpenBao, web, worker, beat, vendor and application …")
            installation.start()
            verdict, good = _play(installation)
    finally:
        installation.stop()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(verdict)
    return 0 if good else 1


def _play(installation: Installation) -> tuple[str, bool]:
    stage = _set_up(installation)
    try:
        began = time.monotonic()
        _rotate_by_program(stage)
        _rotate_by_hand(stage)
        seconds = time.monotonic() - began
        return _verdict(stage, seconds)
    finally:
        stage.second_app.stop()


def _set_up(installation: Installation) -> Stage:
    """Sign in, and start a second application, which uses the key that people rotate."""
    password = installation.owner_password
    if password is None:
        raise StartFailed("The demo's folder is not fresh; nothing was shown.")
    folder = private_folder(installation.folder / "second-app")
    config = json.loads((installation.folder / "app" / "config.json").read_text())
    config |= {"key_id": installation.seeds.ids()["manual_key"], "port": 0}
    write_private(folder / "config.json", json.dumps(config))
    second = Process(installation.folder, "second-app", signal.SIGTERM, 20)
    second.spawn([sys.executable, "-m", "sandbox.app", "--folder", str(folder)], _plain(), cwd=ROOT)
    stage = Stage(
        installation,
        VendorClient(installation.folder / "vendor"),
        ConsoleClient(installation.url, OWNER_EMAIL, password),
        second,
    )
    _until(lambda: all(_status(app)["ok"] > 2 for app in _apps(installation)), "the applications")
    return stage


def _plain() -> dict[str, str]:
    return {"PYTHONUNBUFFERED": "1"}


def _apps(installation: Installation) -> list[Path]:
    return [installation.folder / "app", installation.folder / "second-app"]


def _status(app: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((app / "status.json").read_text()))
    except FileNotFoundError:
        return {"ok": 0, "refused": 0, "calls": 0, "other": 0}


def _rotate_by_program(stage: Stage) -> None:
    key = stage.installation.seeds.ids()["key"]
    print("Rotating the first key by program, while its application goes on calling …")
    rotation = stage.person.post(f"keys/{key}/rotate", reason="manual", overlap_seconds=2)
    _follow(stage, rotation["id"])


def _rotate_by_hand(stage: Stage) -> None:
    """Do what a person does: make a key in the dashboard, paste it, delete the old one there."""
    ids = stage.installation.seeds.ids()
    sign_in = stage.installation.seeds.sign_ins()["manual"]
    dashboard = stage.vendor.dashboard(sign_in["email"], sign_in["password"])
    [old] = dashboard.key_ids()
    print("Rotating the second key by hand, through the vendor's dashboard …")
    answer = stage.person.post(f"keys/{ids['manual_key']}/rotate", overlap_seconds=2)
    rotation = answer["id"]
    task = _until(lambda: _open_task(stage, "paste"), "the task to paste a key")
    print(f"  task: {task['text']}")
    stage.person.post(f"tasks/{task['id']}/complete", secret=dashboard.generate("rotated"))
    task = _until(lambda: _open_task(stage, "delete"), "the task to delete the old key")
    print(f"  task: {task['text']}")
    dashboard.delete(old)
    stage.person.post(f"tasks/{task['id']}/complete")
    _follow(stage, rotation)


def _open_task(stage: Stage, kind: str) -> dict[str, Any] | None:
    tasks = stage.person.get(f"tasks/?open=true&kind={kind}")["results"]
    return dict(tasks[0]) if tasks else None


def _follow(stage: Stage, rotation_id: int) -> None:
    """Print each step as it comes; StartFailed when the rotation does not end well in time."""
    said: list[str] = []

    def ended() -> bool:
        rotation = stage.person.get(f"rotations/{rotation_id}/")
        if rotation["step"] not in said:
            said.append(rotation["step"])
            print(f"  {rotation['step']}")
        return rotation["step"] in ("done", "failed", "cancelled")

    _until(ended, f"rotation {rotation_id}")
    if said[-1] != "done":
        raise StartFailed(f"rotation {rotation_id} ended as {said[-1]}")


def _verdict(stage: Stage, seconds: float) -> tuple[str, bool]:
    """Judge by the vendor's ledger, what applications can fetch, and the audit chain."""
    statuses = [_status(app) for app in _apps(stage.installation)]
    calls, refused = (sum(status[name] for status in statuses) for name in ("calls", "refused"))
    keys = stage.vendor.keys()
    alive = {key["sha256"] for key in keys if key["accepted_now"]}
    unknown = len(alive - _fetchable(stage))
    old_refused = len(alive) == 2 and len(keys) == 4
    audit = json.loads(stage.installation.manage("verifyaudit", "--json"))
    good = old_refused and not refused and not unknown and bool(audit["ok"]) and calls > 0
    return (
        f"demo {'ok' if good else 'FAILED'}: 2 rotations in {seconds:.1f} s, {refused} of {calls} "
        f"calls refused, old keys {'' if old_refused else 'NOT '}refused by the vendor, {unknown} "
        f"unknown keys at the vendor, audit {'verified' if audit['ok'] else 'BROKEN'} "
        f"({audit['rows']} rows)"
    ), good


def _fetchable(stage: Stage) -> set[str]:
    """Return the digests of what the two applications can fetch now."""
    digests = set()
    for app in _apps(stage.installation):
        config = json.loads((app / "config.json").read_text())
        url = f"{stage.installation.url}/api/v1/keys/{config['key_id']}/secret"
        headers = {"Authorization": f"Bearer {config['token']}"}
        secret = requests.get(url, headers=headers, timeout=10).json()["secret"]
        digests.add(hashlib.sha256(secret.encode()).hexdigest())
    return digests


def _until(condition: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + _LONGEST
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise StartFailed(f"The demo waited {_LONGEST:.0f} s in vain for {what}.")
        time.sleep(_PAUSE)
