"""A sample application: how a program gets its API key from Key Vault, and survives its rotation.

`python -m sandbox.app --folder DIR` reads DIR/config.json, then

1. fetches its key at start with its service token, and keeps it in memory only (`KeyHolder.fetch`);
2. calls the vendor twice a second with whatever key it holds (`Caller`);
3. asks again every five seconds with If-None-Match, at once when a signed webhook says that the key has
   changed (`hook_handler`), and at once when the vendor refuses the key;
4. after it has switched, and once after start, acknowledges with a proof that it holds the new secret
   (`KeyHolder.acknowledge`). By then no call of its own uses the old one any more.

Each copy says which it is, by a random id in `X-Keyvault-Instance`: what it acknowledges, it says for itself.

When Key Vault is away it goes on with the key it holds. DIR/status.json tells how it is doing.
Copy it: a program of yours needs `KeyHolder`, and `hook_handler` if it can be reached.

config.json: {"keyvault_url", "key_id", "vendor_url", "token", "webhook_secret", "port"} (mode 0600).
"""

import argparse
import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

import requests
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

POLL_SECONDS = 5.0
RETRY_SECONDS = 1.0
CALL_SECONDS = 0.5
TIMEOUT_SECONDS = 5.0
MOST_HOOK_BYTES = 65536
REFUSING_CODES = ("INVALID_API_KEY", "EXPIRED_API_KEY", "UNAUTHORIZED")


@dataclass(frozen=True)
class Config:
    """What config.json says. Secrets never show in a repr."""

    keyvault_url: str
    key_id: int | str
    vendor_url: str
    token: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    port: int


@dataclass
class Status:
    """What status.json tells; never a secret. `fetches` counts Key Vault's answers, 304 included."""

    pid: int = field(default_factory=os.getpid)
    port: int = 0
    version_held: int | None = None
    calls: int = 0
    ok: int = 0
    refused: int = 0
    other: int = 0
    fetches: int = 0
    webhooks: int = 0
    acknowledged_version: int | None = None
    last_error: str = ""

    def write(self, folder: Path) -> None:
        """Replace status.json in one step, so that readers never see half of it."""
        new = folder / "status.json.new"
        new.write_text(json.dumps(vars(self)))
        new.replace(folder / "status.json")


class Trouble(Exception):
    """Key Vault did not give what was asked for; the text holds no secret."""


class KeyHolder:
    """Holds the current secret in memory and keeps it current."""

    def __init__(self, config: Config, status: Status) -> None:
        self.config, self.status = config, status
        self.wake = threading.Event()
        self.ready = threading.Event()
        self._secret, self._etag = "", ""
        self._using = threading.Lock()
        self._instance = uuid.uuid4().hex
        base = config.keyvault_url.rstrip("/")
        self._url = f"{base}/api/v1/keys/{config.key_id}"

    @contextmanager
    def use(self) -> Iterator[str]:
        """Lend the secret for one call. A switch waits until the call is over.

        So an acknowledgement really means that the old secret is out of use here.
        """
        with self._using:
            yield self._secret

    def keep_current(self) -> None:
        """Fetch and acknowledge for ever: at intervals, and at once when `wake` is set."""
        while True:
            # Cleared first: a nudge that arrives while we fetch leads to one more fetch.
            self.wake.clear()
            try:
                self.fetch()
                if self.status.acknowledged_version != self.status.version_held:
                    self.acknowledge()
                self.status.last_error = ""
            except Trouble as trouble:
                if str(trouble) != self.status.last_error:
                    say(str(trouble))
                self.status.last_error = str(trouble)
            self.wake.wait(RETRY_SECONDS if self.status.last_error else POLL_SECONDS)

    def fetch(self) -> None:
        """Ask for the current secret, and switch to it if it is another than the one held."""
        known = {"If-None-Match": self._etag} if self._etag else {}
        response = self._ask("GET", "/secret", (200, 304), headers=known)
        self.status.fetches += 1
        if response.status_code == 304:
            return
        body = _object(response)
        secret, version = body.get("secret"), body.get("version")
        if not (isinstance(secret, str) and secret and isinstance(version, int)):
            raise Trouble("Key Vault's answer holds no key.")
        with self._using:
            self._secret, self._etag = secret, response.headers.get("ETag", "")
            self.status.version_held = version
        say(f"holds version {version}")
        self.ready.set()

    def acknowledge(self) -> None:
        """Prove to Key Vault that the secret held here is the current one."""
        body = _object(self._ask("GET", "/acknowledge", (200,)))
        nonce, version = str(body.get("nonce", "")), self.status.version_held
        if body.get("version") != version:
            # Rotated again meanwhile: fetch first.
            self.wake.set()
            return
        message = f"keyvault-ack:v1:{nonce}:{self.config.key_id}:{version}"
        proof = hmac.new(self._secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        answer = {"version": version, "nonce": nonce, "proof": proof}
        self._ask("POST", "/acknowledge", (200, 201, 204), json=answer)
        self.status.acknowledged_version = version
        say(f"acknowledged version {version}")

    def _ask(
        self, method: str, path: str, wanted: tuple[int, ...], **options: Any
    ) -> requests.Response:
        own = {
            "Authorization": f"Bearer {self.config.token}",
            "X-Keyvault-Instance": self._instance,
        }
        headers = {**own, **options.pop("headers", {})}
        try:
            response = send(method, self._url + path, headers=headers, **options)
        except requests.RequestException as error:
            raise Trouble(f"Key Vault cannot be reached ({type(error).__name__}).") from None
        if response.status_code not in wanted:
            raise Trouble(f"Key Vault answered {response.status_code} to {method} {path}.")
        return response


class Caller:
    """Does what the application is there for: calls the vendor, twice a second."""

    def __init__(self, config: Config, status: Status, holder: KeyHolder) -> None:
        self.status, self.holder = status, holder
        self._url = config.vendor_url.rstrip("/") + "/v1/videos/track"

    def run(self) -> None:
        """Call for ever, from the moment on when there is a key."""
        self.holder.ready.wait()
        due = time.monotonic()
        while True:
            self.call()
            # Calls that a slow vendor held up are not made up for.
            due = max(due + CALL_SECONDS, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def call(self) -> None:
        """Make one call and count what came of it."""
        outcome = self._outcome()
        setattr(self.status, outcome, getattr(self.status, outcome) + 1)
        self.status.calls += 1
        if outcome == "refused":
            # Perhaps the key was replaced and we have not heard: ask at once.
            self.holder.wake.set()

    def _outcome(self) -> str:
        video = {"url": "https://videos.example/watch/1"}
        try:
            with self.holder.use() as secret:
                headers = {"Authorization": f"Bearer {secret}"}
                response = send("POST", self._url, headers=headers, json=video)
        except requests.RequestException:
            return "other"
        if response.status_code == 200:
            return "ok"
        return "refused" if response.status_code == 401 and _is_refusal(response) else "other"


def hook_handler(holder: KeyHolder) -> type[BaseHTTPRequestHandler]:
    """Return the handler for Key Vault's webhooks; the message holds no secret, only news."""
    config, verifier = holder.config, Webhook(holder.config.webhook_secret)

    class Hook(BaseHTTPRequestHandler):
        """Takes one signed message: 204, or 401 when the signature is not Key Vault's."""

        timeout = TIMEOUT_SECONDS

        def do_POST(self) -> None:
            """Check the signature over the raw body, then have the key fetched."""
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdecimal() and int(length) <= MOST_HOOK_BYTES):
                return self._answer(413)
            body = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                message = verifier.verify(body, headers)
            except (WebhookVerificationError, ValueError):
                return self._answer(401)
            if isinstance(message, dict) and _is_news(message, config.key_id):
                holder.status.webhooks += 1
                holder.wake.set()
            return self._answer(204)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: status.json counts."""

    return Hook


def send(method: str, url: str, **options: Any) -> requests.Response:
    """Send one request: five seconds at most to connect and to answer, no redirect, no proxy."""
    with requests.Session() as session:
        # Neither ~/.netrc nor a proxy of the environment may see or replace the key.
        session.trust_env = False
        return session.request(
            method, url, timeout=TIMEOUT_SECONDS, allow_redirects=False, **options
        )


def say(text: str) -> None:
    """Write a line for whoever reads the log; never with a secret."""
    print(text, file=sys.stderr, flush=True)


def _is_news(message: dict[str, Any], key_id: int | str) -> bool:
    return message.get("type") == "key.updated" and str(message.get("key_id")) == str(key_id)


def _is_refusal(response: requests.Response) -> bool:
    """Return whether the vendor itself refuses the key, in either of its error envelopes."""
    try:
        body = _object(response)
    except Trouble:
        return False
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else body.get("code")
    return code in REFUSING_CODES


def _object(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Trouble("The answer is not the JSON that was expected.")
    return body


def _end(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


def main() -> None:
    """Run the application until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.app", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="holds config.json")
    folder: Path = parser.parse_args().folder
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    config = Config(**json.loads((folder / "config.json").read_text()))
    status = Status()
    holder = KeyHolder(config, status)
    hooks = ThreadingHTTPServer(("127.0.0.1", config.port), hook_handler(holder))
    status.port = hooks.server_port
    caller = Caller(config, status, holder)
    for work in (holder.keep_current, caller.run, hooks.serve_forever):
        threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            status.write(folder)
            time.sleep(CALL_SECONDS)
    finally:
        status.write(folder)


if __name__ == "__main__":
    main()
