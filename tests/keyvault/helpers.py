"""Small things that the tests of the core share."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


def windows(text: str, length: int) -> set[str]:
    """Return every piece of `length` characters, to look for parts of a secret."""
    return {text[start : start + length] for start in range(len(text) - length + 1)}


@dataclass
class Seen:
    """One request as a test server got it."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class TestServer:
    """A real HTTP server on loopback whose answers the test writes."""

    __test__ = False
    url: str
    port: int
    seen: list[Seen] = field(default_factory=list)


Answering = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answering, tls: Any = None) -> Iterator[TestServer]:
    """Run a server whose every request is answered by `answer`, with TLS if a context is given."""
    result: TestServer

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            result.seen.append(Seen(self.command, self.path, dict(self.headers.items())))
            answer(self)

        do_GET = do_POST = do_PUT = do_DELETE = do_LIST = _any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    port = server.server_address[1]
    result = TestServer(f"{scheme}://127.0.0.1:{port}", port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield result
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def saying(
    status: int = 200,
    body: Any = b"",
    kind: str = "application/json",
    **headers: str,
) -> Answering:
    """Return an answer with this status, body (bytes, or anything for JSON) and headers."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if kind:
            handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer
