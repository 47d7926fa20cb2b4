"""The vendor's HTTP server: one thread a connection, HTTP/1.1 keep-alive, quick to end."""

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from sandbox.vendor import api, control, dashboard
from sandbox.vendor.answers import Answer, Request, json_answer
from sandbox.vendor.faults import Faults
from sandbox.vendor.state import State

MOST_BODY_BYTES = 1_000_000
IDLE_SECONDS = 120
_CHUNK = 65536


class VendorServer(ThreadingHTTPServer):
    """The server with all that its handlers share."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, state: State, token: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.state, self.token = state, token
        self.stopping = threading.Event()
        self.faults = Faults(self.stopping)
        self.sessions = dashboard.Sessions()

    def server_bind(self) -> None:
        """Bind without asking the name service who we are, as HTTPServer would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong by its kind alone: the text could hold a secret."""
        kind = sys.exc_info()[0]
        print(f"a request failed: {kind.__name__ if kind else 'unknown'}", file=sys.stderr)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path.startswith("/v1/"):
            return api.answer(self.state, self.faults, request)
        if request.path.startswith(control.PREFIX):
            return control.answer(self.state, self.faults, self.token, request)
        return dashboard.answer(self.state, self.sessions, request)


class Handler(BaseHTTPRequestHandler):
    """Reads a request wholly, has it answered, sends the answer in the manner that it asks for."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "influtics-sandbox", ""
    disable_nagle_algorithm = True
    wbufsize = _CHUNK
    timeout = IDLE_SECONDS
    server: VendorServer

    def handle_one_request(self) -> None:
        """Serve one request; a client that goes away is nothing to report."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _serve(self) -> None:
        request = self._read()
        if isinstance(request, Answer):
            self.close_connection = True
            self._send(request)
        else:
            self._send(self.server.answer(request))

    # The names that the base class looks for.
    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815

    def _read(self) -> Request | Answer:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            return json_answer(411, {"success": False, "error": "Content-Length is needed."})
        if int(length) > MOST_BODY_BYTES:
            return json_answer(413, {"success": False, "error": "The body is too long."})
        body = self.rfile.read(int(length))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        pairs = dict(parse_qsl(query, keep_blank_values=True))
        return Request(self.command, path, pairs, headers, body, str(self.client_address[0]))

    def _send(self, answer: Answer) -> None:
        if answer.cut:
            self.close_connection = True
            return
        length = len(answer.body) if answer.length is None else answer.length
        if length != len(answer.body):
            self.close_connection = True
        self.send_response(answer.status)
        if answer.status != 204:
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(length))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if answer.status != 204:
            self._send_body(answer)

    def _send_body(self, answer: Answer) -> None:
        size = 1 if answer.pace else _CHUNK
        for start in range(0, len(answer.body), size):
            self.wfile.write(answer.body[start : start + size])
            if answer.pace:
                self.wfile.flush()
                if self.server.stopping.wait(answer.pace):
                    return

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the ledger knows every call, and a request line could hold a secret."""
