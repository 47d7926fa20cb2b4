#!/usr/bin/env python3
"""Run a program with keys in its environment, and run it anew when one of them was rotated.

    KEYVAULT_URL=https://keys.example.com KEYVAULT_TOKEN_FILE=/run/secrets/token \\
        keyvault_run.py --set INFLUTICS_API_KEY=7 -- python app.py

For programs that read a key once, at their start. Each key is fetched with a service token, given to
the program in the variable named, and looked at again every half minute. When a new version is there,
the program is ended, started anew with it, and only then is it acknowledged: Keyvault may end the old
key, and nothing uses it here any more. While Keyvault is away the program goes on with what it has.

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
import signal
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
TIMEOUT_SECONDS, MOST_BYTES = 10.0, 100_000
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
OURS = ("KEYVAULT_URL", "KEYVAULT_TOKEN", "KEYVAULT_TOKEN_FILE")
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

    def __init__(self, url: str, token: str) -> None:
        self._base, self._token = url.rstrip("/") + "/api/v1/keys/", token
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
        wanted = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
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


class Runner:
    """The program with its keys: start it, watch it, start it anew."""

    def __init__(self, service: Service, keys: list[Key], command: list[str], grace: float) -> None:
        self._service, self._keys, self._command, self._grace = service, keys, command, grace
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = 0
        self._said = ""

    def run(self, every: float, wait: float) -> int:
        """Run until the program ends; returns what to exit with. Raises Away or Refused at the start."""
        for number in (*FORWARDED, signal.SIGINT):
            signal.signal(number, self._forward)
        self._fetch_all(time.monotonic() + wait)
        if self._ending:
            return 128 + self._ending
        child = self._start()
        while True:
            try:
                # A little apart from each other, however many were started together.
                return _code(child.wait(every * random.uniform(0.9, 1.1)))  # noqa: S311
            except subprocess.TimeoutExpired:
                if self._look() and not self._ending:
                    self._stop(child)
                    if self._ending:
                        return 128 + self._ending
                    child = self._start()
            self._acknowledge()

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
        versions = ", ".join(f"{key.variable} version {key.version}" for key in self._keys)
        _say(f"started with {versions}")
        self._acknowledge()
        return self._child

    def _stop(self, child: subprocess.Popen[bytes]) -> None:
        _say("a key was rotated: starting anew")
        child.terminate()
        try:
            child.wait(self._grace)
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
        said = f"going on with {', '.join(trouble)}" if trouble else ""
        if said and said != self._said:
            _say(said)  # once, as long as it lasts
        self._said = said
        return changed

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
    return Service(url, token.strip())


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
    add("command", nargs="+", help="the program and its arguments, after --")
    options = parser.parse_args()
    try:
        runner = Runner(_service(), options.keys, options.command, options.grace)
        return runner.run(options.every, options.wait)
    except (Away, Refused) as error:
        _say(f"{error}. Nothing was started.")
        return AWAY if isinstance(error, Away) else REFUSED
    except OSError as error:
        _say(f"the program cannot be started: {error.strerror} ({options.command[0]})")
        return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main())
