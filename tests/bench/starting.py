"""P10 and P11: how long an installation takes to start, and what it takes of memory when idle."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.bench.figures import Figure
from tests.waiting import until

IDLE_SECONDS = 15.0
_PASSWORD, _CONSOLE = re.compile(r"Password +(\S+)"), re.compile(r"Console +(\S+)")


def measure(stack: Any) -> list[Figure]:
    """Start one from nothing up to its first rotated key, and once more up to its first page."""
    folder = stack.folder / "installation"
    began = time.monotonic()
    with _running(folder) as (log, _):
        until(lambda: _CONSOLE.search(log.read_text()), 120, "the console")
        started = time.monotonic() - began
        _rotate(folder, log.read_text())
        rotated = time.monotonic() - began
    began = time.monotonic()
    with _running(folder) as (log, launcher):
        until(lambda: _CONSOLE.search(log.read_text()), 60, "the console")
        again = time.monotonic() - began
        calm = time.monotonic() + IDLE_SECONDS
        until(lambda: time.monotonic() > calm, 60, "it to be idle")
        memory = _memory(launcher)
    return [
        Figure("P10_first_start_to_first_page", started, "s", None, 60, most=True),
        Figure("P10_first_start_to_a_rotated_key", rotated, "s", None, 60, most=True),
        Figure("P10_second_start_to_first_page", again, "s", None, 6, most=True),
        Figure("P11_web_worker_beat_idle", memory, "MB", None, 350, most=True),
    ]


@contextmanager
def _running(folder: Path) -> Iterator[tuple[Path, int]]:
    """Run the launcher as `make run` does; give the file with what it says, and its number."""
    log = folder.with_suffix(".log")
    command = [sys.executable, "-u", "-m", "sandbox", "--folder", str(folder), "run"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield log, process.pid
    finally:
        process.terminate()
        process.wait(60)


def _rotate(folder: Path, said: str) -> None:
    """Rotate the key that a program uses, as its owner would by the API."""
    from sandbox.console_client import ConsoleClient
    from sandbox.installation import OWNER_EMAIL, Installation

    console, password = _CONSOLE.search(said), _PASSWORD.search(said)
    assert console
    assert password
    person = ConsoleClient(console[1], OWNER_EMAIL, password[1])
    key = Installation(folder).seeds.ids()["key"]
    begun = person.post(f"keys/{key}/rotate", reason="manual", overlap_seconds=0)
    until(lambda: person.get(f"rotations/{begun['id']}/")["step"] == "done", 120, "the rotation")


def _memory(launcher: int) -> float:
    """Return the megabytes of web, worker and beat; what processes share counts once."""
    ours = ("gunicorn", "celery")
    total = 0
    for process in psutil.Process(launcher).children(recursive=True):
        if any(name in part for part in process.cmdline() for name in ours):
            total += process.memory_full_info().pss
    return total / 2**20
