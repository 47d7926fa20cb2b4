#!/usr/bin/env python3
"""Run a program with keys in its environment, and run it anew when one of them was rotated.

    KEYVAULT_URL=https://keys.example.com KEYVAULT_TOKEN_FILE=/run/secrets/token \\
        keyvault_run.py --set INFLUTICS_API_KEY=7 -- python app.py

For programs that read a key once, at their start. Each key is fetched with a service token, given to
the program in the variable named, and looked at again every half minute. When a new version is there,
the program is ended and started anew with it. Only when it has stayed up (`--settled`, ten seconds), or
when a command of yours says that it works (`--ready`), is the version acknowledged: Keyvault may end the
old key then, and nothing uses it here any more. So is a job that ends well (0) before that; one that dies is
not, so that the old key stays. While Keyvault is away the program goes on with what it has.

Each copy acknowledges for itself, under a random id. A copy that keeps its name over restarts may say it
in KEYVAULT_INSTANCE; no two copies that run at once may have the same.

One file for Python 3.9 and newer, standard library alone: copy it where it is needed. Keys are written
to no file and stand in no argument; as of every variable, the program's own user can read them in /proc.

Exit codes: the program's own (128 and more: ended by a signal), 2 wrong usage, 69 Keyvault cannot be
reached, 77 it refuses the token or a key, 127 the program cannot be started.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import random
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

USAGE, AWAY, REFUSED, NOT_STARTED = 2, 69, 77, 127
TIMEOUT_SECONDS, READY_EVERY, MOST_BYTES = 10.0, 1.0, 100_000
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
OURS = ("KEYVAULT_URL", "KEYVAULT_TOKEN", "KEYVAULT_TOKEN_FILE", "KEYVAULT_INSTANCE")
INSTANCE = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Away(Exception):
    """Keyvault did not answer as it should; it may later."""


class Refused(Exception):
    """Keyvault says no, and will say so again."""


@dataclass
class Key:
    """A key that is given to the program, and what is known of it."""

    variable: str
    number: int
    secret: str = ""
    version: int = 0
    etag: str = ""
    acknowledged: bool = False


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow nothing: the token goes to the address that was given, and nowhere else."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        """Make an error of every redirect."""
        return None


class Service:
    """Keyvault, as the bearer of a service token sees it."""

    def __init__(self, url: str, token: str, instance: str) -> None:
        self._base = url.rstrip("/") + "/api/v1/keys/"
        self._token, self._instance = token, instance
        # No proxy of the environment either: it would see the token.
        no_proxy = urllib.request.ProxyHandler({})
        self._open = urllib.request.build_opener(no_proxy, NoRedirect).open

    def fetch(self, key: Key) -> bool:
        """Bring the key up to date; returns whether it is another version than before."""
        known = {"If-None-Match": key.etag} if key.etag else {}
        status, said, headers = self._ask(f"{key.number}/secret", headers=known)
        if status == 304 or said.get("version") == key.version:
            return False
        secret, version = said.get("secret"), said.get("version")
        if not (isinstance(secret, str) and secret and isinstance(version, int)):
            raise Away("the answer holds no key")
        key.secret, key.version, key.etag = secret, version, str(headers.get("ETag", ""))
        key.acknowledged = False
        return True

    def acknowledge(self, key: Key) -> None:
        """Prove that this version is in use here, and no older one any more."""
        path = f"{key.number}/acknowledge"
        _status, said, _headers = self._ask(path)
        if said.get("version") != key.version:
            return  # rotated again: the next look brings it
        nonce = str(said.get("nonce", ""))
        message = f"keyvault-ack:v1:{nonce}:{key.number}:{key.version}"
        proof = hmac.new(key.secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        self._ask(path, {"version": key.version, "nonce": nonce, "proof": proof})
        key.acknowledged = True

    def _ask(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], Any]:
        data = None if body is None else json.dumps(body).encode()
        # guard: the wrapper says which copy it is
        wanted = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "X-Keyvault-Instance": self._instance,
        }
        request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
            self._base + path, data, {**wanted, **(headers or {})}
        )
        try:
            with self._open(request, timeout=TIMEOUT_SECONDS) as answer:
                said = json.loads(answer.read(MOST_BYTES))
                if not isinstance(said, dict):
                    raise Away("the answer is not Keyvault's")
                return answer.status, said, answer.headers
        except urllib.error.HTTPError as error:
            if error.code == 304:
                return 304, {}, error.headers
            raise _refusal(error) from None
        except (OSError, ValueError) as error:
            raise Away(type(error).__name__) from None


def _refusal(error: urllib.error.HTTPError) -> Exception:
    """Tell what will not change from what may; the text is Keyvault's own, which holds no secret.

    A nonce that grew old, or a version that was just replaced (400, 409), is asked for again.
    """
    try:
        text = str(json.loads(error.read(MOST_BYTES))["message"])[:300]
    except (ValueError, KeyError, TypeError, OSError):
        return Away(f"it answered {error.code}, and not in Keyvault's way")
    kind = Refused if error.code in (401, 403, 404) else Away
    return kind(f"{text} ({error.code})")


@dataclass
class Wishes:
    """How to run the program: all in seconds, but the command that tells whether it is ready."""

    every: float
    wait: float
    grace: float
    settled: float
    ready: list[str]


class Runner:
    """The program with its keys: start it, watch it, start it anew."""

    def __init__(
        self, service: Service, keys: list[Key], command: list[str], wishes: Wishes
    ) -> None:
        self._service, self._keys, self._command, self._wishes = service, keys, command, wishes
        self._child: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._settled = False
        self._ending = 0
        self._said: dict[str, str] = {}

    def run(self) -> int:
        """Run until the program ends; returns what to exit with. Raises Away or Refused at the start."""
        for number in (*FORWARDED, signal.SIGINT):
            signal.signal(number, self._forward)
        self._fetch_all(time.monotonic() + self._wishes.wait)
        if self._ending:
            return 128 + self._ending
        child, next_look = self._start(), self._next_look()
        while True:
            try:
                return self._over(child.wait(self._pause(next_look)))
            except subprocess.TimeoutExpired:
                self._settle()
            if time.monotonic() < next_look:
                continue
            next_look = self._next_look()
            if self._look() and not self._ending:
                self._stop(child)
                if self._ending:
                    return 128 + self._ending
                child = self._start()
            elif self._settled:
                self._acknowledge()

    def _next_look(self) -> float:
        # A little apart from each other, however many were started together.
        return time.monotonic() + self._wishes.every * random.uniform(0.9, 1.1)  # noqa: S311

    def _pause(self, next_look: float) -> float:
        """Return for how long to wait for the program's end until something else is to be done."""
        now = time.monotonic()
        settle = now + READY_EVERY if self._wishes.ready else self._settles_at()
        return max(0.01, (next_look if self._settled else min(next_look, settle)) - now)

    def _settles_at(self) -> float:
        return self._started + self._wishes.settled

    def _settle(self) -> None:
        """Acknowledge what the program was given, once it has shown that it works with it."""
        if self._settled or self._ending:
            return
        # guard: a program is acknowledged when it stayed up
        if self._is_ready() if self._wishes.ready else time.monotonic() >= self._settles_at():
            # It may have died while it was asked, and another have answered in its place.
            self._settled = self._child is not None and self._child.poll() is None
        if self._settled:
            self._acknowledge()

    def _is_ready(self) -> bool:
        given = {name: value for name, value in os.environ.items() if name not in OURS}
        command, nowhere = self._wishes.ready, subprocess.DEVNULL
        try:
            asked = subprocess.run(  # noqa: S603 - what we are told to
                command, env=given, stdin=nowhere, timeout=TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._say_once("ready", f"--ready tells nothing ({type(error).__name__})")
            return False
        # guard: a program's own command is asked
        return asked.returncode == 0

    def _over(self, returned: int) -> int:
        """Say what it means that the program ended before it had settled; returns its code."""
        if self._settled or self._ending:
            return _code(returned)
        if returned == 0 and not self._wishes.ready:
            self._acknowledge()  # a job that did its work, and holds no key any more
            return 0
        _say(
            f"the program ended with {_code(returned)} after {time.monotonic() - self._started:.1f} s, "
            f"before it had shown that it works with {self._versions()}: not acknowledged, so the old "
            "key stays"
        )
        return _code(returned)

    def _versions(self) -> str:
        return ", ".join(f"{key.variable} version {key.version}" for key in self._keys)

    def _fetch_all(self, until: float) -> None:
        for key in self._keys:
            while not key.secret:
                try:
                    self._service.fetch(key)
                except Away:
                    if time.monotonic() > until or self._ending:
                        raise
                    time.sleep(1.0)

    def _start(self) -> subprocess.Popen[bytes]:
        given = {name: value for name, value in os.environ.items() if name not in OURS}
        given |= {key.variable: key.secret for key in self._keys}
        self._child = subprocess.Popen(self._command, env=given)  # noqa: S603 - what we are told to
        if self._ending:
            self._child.terminate()  # the signal came while there was none to hand it to
        self._started, self._settled = time.monotonic(), False
        _say(f"started with {self._versions()}")
        return self._child

    def _stop(self, child: subprocess.Popen[bytes]) -> None:
        _say("a key was rotated: starting anew")
        child.terminate()
        try:
            child.wait(self._wishes.grace)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _look(self) -> bool:
        """Return whether any key is another than the program has; all of them are looked at."""
        changed, trouble = False, []
        for key in self._keys:
            try:
                changed |= self._service.fetch(key)
            except (Away, Refused) as error:
                trouble.append(f"version {key.version} of {key.variable} ({error})")
        self._say_once("look", f"going on with {', '.join(trouble)}" if trouble else "")
        return changed

    def _say_once(self, about: str, said: str) -> None:
        """Say what lasts, as long as it lasts, once."""
        if said and said != self._said.get(about):
            _say(said)
        self._said[about] = said

    def _acknowledge(self) -> None:
        for key in self._keys:
            if key.acknowledged:
                continue
            try:
                self._service.acknowledge(key)
            except Away:
                continue  # the next look tries again
            except Refused as error:
                key.acknowledged = True
                _say(f"{key.variable} is not acknowledged: {error}")

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        """Hand a signal on to the program; what ends it ends us with it."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._ending = number
        # A terminal sends Ctrl-C to the program as well.
        if self._child and not (number == signal.SIGINT and sys.stdin and sys.stdin.isatty()):
            self._child.send_signal(number)


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned


def _say(text: str) -> None:
    sys.stderr.write(f"keyvault_run: {text}\n")
    sys.stderr.flush()


def _key(text: str) -> Key:
    match = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)=([0-9]{1,18})", text)
    if not match:
        raise argparse.ArgumentTypeError("write NAME=NUMBER, such as INFLUTICS_API_KEY=7")
    return Key(match[1], int(match[2]))


def _instance() -> str:
    """Return the name of this copy: one that was given to it, else the machine's with a random part."""
    given = os.environ.get("KEYVAULT_INSTANCE", "")
    if given and not re.fullmatch(INSTANCE, given):
        _say(
            "KEYVAULT_INSTANCE must be 1 to 64 letters, digits, dots, underscores, colons, hyphens"
        )
        raise SystemExit(USAGE)
    machine = re.sub(r"[^A-Za-z0-9.-]", "", socket.gethostname()).lstrip(".-")[:40]
    return given or f"{machine or 'run'}:{secrets.token_hex(8)}"


def _service() -> Service:
    """Return Keyvault as the environment says; SystemExit that names what is missing or unsafe."""
    url, token = os.environ.get("KEYVAULT_URL", ""), os.environ.get("KEYVAULT_TOKEN", "")
    path = os.environ.get("KEYVAULT_TOKEN_FILE", "")
    try:
        token = Path(path).read_text(encoding="utf-8") if path else token
    except (OSError, ValueError) as error:
        _say(f"KEYVAULT_TOKEN_FILE cannot be read: {type(error).__name__}")
        raise SystemExit(USAGE) from None
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        _say("KEYVAULT_URL must begin with https://")
        raise SystemExit(USAGE)
    if not re.fullmatch(r"[\x21-\x7e]+", token.strip()):
        _say("neither KEYVAULT_TOKEN nor KEYVAULT_TOKEN_FILE holds a token")
        raise SystemExit(USAGE)
    return Service(url, token.strip(), _instance())


def main() -> int:
    """Read the arguments and run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--set", dest="keys", metavar="NAME=NUMBER", type=_key, action="append", required=True)
    add("--every", type=float, default=30.0, help="seconds between two looks (30)")
    add("--wait", type=float, default=60.0, help="seconds to wait for Keyvault at the start (60)")
    add("--grace", type=float, default=10.0, help="seconds that the program has to end (10)")
    add("--settled", type=float, default=10.0, help="seconds that it must stay up to count (10)")
    ready = "a command in place of that, asked each second: 0 says that the program works"
    add("--ready", metavar="COMMAND", type=shlex.split, default=[], help=ready)
    add("command", nargs="+", help="the program and its arguments, after --")
    options = parser.parse_args()
    try:
        named = ("every", "wait", "grace", "settled", "ready")
        wishes = Wishes(**{name: getattr(options, name) for name in named})
        return Runner(_service(), options.keys, options.command, wishes).run()
    except (Away, Refused) as error:
        _say(f"{error}. Nothing was started.")
        return AWAY if isinstance(error, Away) else REFUSED
    except OSError as error:
        _say(f"the program cannot be started: {error.strerror} ({options.command[0]})")
        return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main())
