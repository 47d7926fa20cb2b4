"""Programs as they really are: what reads its key once, runs at night, has copies, or outlives its token.

Each runs in the process of the applications. A person starts one anew or ends it by a file
`act-KEY` in the folder: they would do it by a deploy.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox import app

NIGHT_SECONDS = 40.0
RUN_CALLS = 3
SLOW_POLL_SECONDS = 25.0
LONGEST_CALL_SECONDS = 5.0
_NEVER = threading.Event()


class Held:
    """One running copy of a program, and what a person may do to it."""

    def __init__(self, config: app.Config) -> None:
        self.status = app.Status()
        self.holder = app.KeyHolder(config, self.status)
        self.caller = app.Caller(config, self.status, self.holder)
        self.ended = threading.Event()

    def take(self) -> bool:
        """Fetch the key and prove it, as at a start; returns whether that worked."""
        try:
            self.holder.fetch()
            if self.status.acknowledged_version != self.status.version_held:
                self.holder.acknowledge()
        except app.Trouble:
            return False
        return True

    def call_on(self) -> None:
        """Call the vendor every few seconds with what is held, until a person ends it."""
        self.holder.ready.wait()
        while not self.ended.wait(app.CALL_SECONDS):
            self.caller.call()


def start(kind: str, config: app.Config, folder: Path) -> list[app.Status]:
    """Start a program of a kind; returns the counts of its copies."""
    copies = [Held(config) for _ in range(3 if kind == "copies" else 1)]
    for number, one in enumerate(copies):
        for work in _WORK.get(kind, _polls)(one, number):
            threading.Thread(target=work, daemon=True).start()
    acts = folder / f"act-{config.key_id}"
    threading.Thread(target=_obey, args=(copies, acts), daemon=True).start()
    return [one.status for one in copies]


def _obey(copies: list[Held], acts: Path) -> None:
    """Do what a person asks by a file: start anew, or end."""
    while not _NEVER.wait(0.5):
        if acts.exists():
            said = acts.read_text()
            for one in copies:
                if said == "end":
                    one.ended.set()
                else:
                    one.take()
            acts.unlink(missing_ok=True)
            if said == "end":
                # A call under way is over by then; only now may somebody say that it was ended.
                _NEVER.wait(LONGEST_CALL_SECONDS)
                acts.with_name(acts.name.replace("act-", "ended-")).touch()


def _polls(one: Held, number: int) -> list[Callable[[], None]]:
    """Ask again and again, as the sample application does; later copies do so seldom."""
    pause = SLOW_POLL_SECONDS if number else app.POLL_SECONDS

    def keep_current() -> None:
        while not one.ended.is_set():
            good = one.take()
            one.holder.wake.clear()
            one.holder.wake.wait(pause if good else app.RETRY_SECONDS)

    return [keep_current, one.call_on]


def _reads_once(one: Held, _number: int) -> list[Callable[[], None]]:
    """Read the key at start and never again: only a new start brings another."""

    def begin() -> None:
        while not one.take():
            _NEVER.wait(app.RETRY_SECONDS)

    return [begin, one.call_on]


def _nightly(one: Held, _number: int) -> list[Callable[[], None]]:
    """Run with the key of the last deploy, then take the one for the next run."""

    def nights() -> None:
        while not one.take():
            _NEVER.wait(app.RETRY_SECONDS)
        while not one.ended.wait(NIGHT_SECONDS):
            for _ in range(RUN_CALLS):
                one.caller.call()
            one.take()

    return [nights]


_WORK: dict[str, Any] = {
    "once": _reads_once,
    "expired": _reads_once,
    "nightly": _nightly,
}
