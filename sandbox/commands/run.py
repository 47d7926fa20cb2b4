"""Start everything and stay in the foreground until Ctrl-C, SIGTERM or `stop`."""

import argparse
import os
import signal
import sys
import threading
from typing import NoReturn

from sandbox.installation import OWNER_EMAIL, Installation
from sandbox.services.process import StartFailed, in_words

_LOOK_SECONDS = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopped(Exception):
    """Somebody asked the launcher to end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no further options."""


def main(options: argparse.Namespace) -> int:
    """Run the installation until somebody ends it."""
    os.umask(0o077)
    for number in _SIGNALS:
        signal.signal(number, _stop)
    installation = Installation(options.folder)
    with installation.held():
        try:
            _start_and_watch(installation)
        except _Stopped:
            return 0
        finally:
            # From here on a second Ctrl-C would only leave processes behind.
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            _say("Stopping.")
            installation.stop()
            _say(f"Stopped; the data stay in {installation.folder}")
    return 0


def _start_and_watch(installation: Installation) -> None:
    _say("Starting; the first time takes some twenty seconds.")
    try:
        installation.start()
    except StartFailed:
        if installation.owner_password:
            # The owner exists from now on, so this is the one time to say it.
            _say(f"Password of {OWNER_EMAIL}: {installation.owner_password}")
        raise
    _say(_welcome(installation))
    _watch(installation)


def _watch(installation: Installation) -> NoReturn:
    """Start again what ends by itself, until a signal comes."""
    pause, said = threading.Event(), ""
    while True:
        pause.wait(_LOOK_SECONDS)
        try:
            if installation.running():
                continue
            ended = installation.mend()
        # guard: the launcher outlives a full disk
        except (StartFailed, OSError) as error:
            # A full disk, for one: whoever frees some room finds everything running again.
            text = in_words(error) if isinstance(error, OSError) else str(error)
            if text != said:
                _say(f"{text} Trying again every {_LOOK_SECONDS:.0f} seconds.")
            said = text
        else:
            said = ""
            _say(f"Had ended and was started again: {', '.join(ended)}.")


def _stop(*_: object) -> None:
    raise _Stopped


def _welcome(installation: Installation) -> str:
    lines = ["", f"Console     {installation.url}", f"Sign in     {OWNER_EMAIL}"]
    if installation.owner_password:
        lines.append(f"Password    {installation.owner_password}   (shown only now)")
    else:
        lines.append("Password    as printed at the first start")
    sign_ins = installation.seeds.sign_ins()
    lines += ["", f"The vendor  {installation.vendor_url}"]
    for name, what in (("api", "automatic account"), ("manual", "account for people")):
        lines.append(f"  {what}: {sign_ins[name]['email']}, password {sign_ins[name]['password']}")
    return "\n".join([*lines, "", "Ctrl-C or `make stop` ends everything; the data stay."])


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except (BrokenPipeError, OSError):
        # The terminal is gone; what is left to do is to end in order.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
