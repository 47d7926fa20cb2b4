"""A standby of Vault that lags: writes reach the active node, reads may be answered with the past."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

_INDEX = "X-Vault-Index"
# What this one answers itself; the active node need not know.
_OWN = ("host", "x-vault-index")


class Standby(ThreadingHTTPServer):
    """Relays to `target`; after `lag()` each path is answered as it was, so many times or for good."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.url = target, f"http://127.0.0.1:{self.server_port}"
        self.past: dict[str, tuple[int, bytes]] = {}
        self.stale = self.refuses = 0
        self.indexes: list[str | None] = []

    def lag(self, answers: int = 10**6) -> None:
        """Answer so many reads with the past."""
        self.stale = answers


class _Handler(BaseHTTPRequestHandler):
    server: Standby

    def _relay(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        secret = self.path.startswith("/v1/keyvault/data/")
        if self.command == "GET" and secret:
            self.server.indexes.append(self.headers.get(_INDEX))
            if self.server.refuses and self.headers.get(_INDEX):
                self.server.refuses -= 1
                return self._answer(412, b'{"errors": ["required index state not present"]}')
            if self.server.stale:
                self.server.stale -= 1
                return self._answer(*self.server.past.get(self.path, (404, b'{"errors": []}')))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        there = requests.request(
            self.command, self.server.target + self.path, data=body, headers=kept, timeout=10
        )
        if self.command == "GET" and secret:
            self.server.past[self.path] = (there.status_code, there.content)
        return self._answer(there.status_code, there.content)

    def do_GET(self) -> None:
        self._relay()

    def do_POST(self) -> None:
        self._relay()

    def do_PUT(self) -> None:
        self._relay()

    def do_DELETE(self) -> None:
        self._relay()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.command != "GET":
            self.send_header(_INDEX, "v1:state-of-that-write")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def standby(target: str) -> Iterator[Standby]:
    """Run one for the length of a block."""
    server = Standby(target)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
