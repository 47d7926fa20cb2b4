"""gunicorn's threaded worker, but a thread is given only to a request that has arrived whole.

Its own worker reads requests within its threads: as many connections that are silent, slow or cut
off as there are threads stop the service. Here the loop that accepts connections also collects what
arrives on them, and gunicorn's parser is handed one request from memory; it cannot wait for a client.

Start it by `gunicorn --worker-class keyvault.web_server.BufferingWorker`. TLS is a proxy's affair.
"""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

# How long a client may take to make room for the next part of an answer.
ANSWER_SECONDS = 20.0
MOST_HEAD, MOST_BODY = 64 * 1024, 1024 * 1024
# How long a connection that we end is still read from: else what we said last may be lost.
_LINGER_SECONDS = 2.0
_SWEEP_SECONDS = 1.0
_READ = 64 * 1024

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Refused(Exception):
    """The request is not read to its end; the text is the status line's."""


class Connection(TConn):
    """A connection, and what has arrived on it of the next request."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.arrived = bytearray()
        self.head = 0  # where the body begins; 0 while headers are missing
        self.chunk = 0  # where the next chunk's size is expected
        self.deadline = 0.0
        self.lingers = False

    def init(self) -> None:
        """Give the client of an answer so much time; nothing is read from the socket any more."""
        self.initialized = True
        # guard: an answer has an end
        self.sock.settimeout(ANSWER_SECONDS)

    def add(self, data: bytes) -> None:
        """Add what arrived; Refused when it is more than is read."""
        self.arrived += data
        if not self.head:
            self._find_head()

    def _find_head(self) -> None:
        end = self.arrived.find(_END)
        if max(end, len(self.arrived) if end < 0 else 0) > MOST_HEAD:
            raise Refused("431 Request Header Fields Too Large")
        if end < 0:
            return
        self.head = self.chunk = end + len(_END)
        if _EXPECTS.search(self.arrived, 0, self.head) and self.size() is None:
            self.sock.send(_CONTINUE)

    def size(self) -> int | None:
        """Return the length of the first request that is here; None while a part of it is missing.

        What is malformed is as long as what is here: the parser refuses it. Refused when too long.
        """
        if not self.head:
            return None
        if _CHUNKED.search(self.arrived, 0, self.head):
            return self._size_in_chunks()
        told = _LENGTH.search(self.arrived, 0, self.head)
        length = int(told[1]) if told else 0
        # guard: a body has a size
        if length > MOST_BODY:
            raise Refused("413 Content Too Large")
        size = self.head + length
        return size if size <= len(self.arrived) else None

    def _size_in_chunks(self) -> int | None:
        while True:
            if self.chunk - self.head > MOST_BODY:
                raise Refused("413 Content Too Large")
            line = self.arrived.find(b"\r\n", self.chunk)
            if line < 0:
                return None
            try:
                length = int(self.arrived[self.chunk : line].partition(b";")[0], 16)
            except ValueError:
                return len(self.arrived)
            if length <= 0:
                return self._end_of_trailers(line)
            if line + 4 + length > len(self.arrived):
                # Nothing moves on before this chunk is whole; its size alone may be too much.
                if length > MOST_BODY:
                    raise Refused("413 Content Too Large")
                return None
            self.chunk = line + 4 + length

    def _end_of_trailers(self, line: int) -> int | None:
        end = self.arrived.find(_END, line)
        if end - line > MOST_HEAD or (end < 0 and len(self.arrived) - line > MOST_HEAD):
            raise Refused("431 Request Header Fields Too Large")
        return end + len(_END) if end >= 0 else None

    def take(self, size: int) -> None:
        """Hand so many bytes to a parser, which finds its end behind them."""
        request = bytes(self.arrived[:size])
        del self.arrived[:size]
        self.head = self.chunk = 0
        self.parser = http.get_parser(self.cfg, iter([request]), self.client)
        self.data_ready = True


class BufferingWorker(ThreadWorker):
    """The worker: connections wait in `waiting`, in the order in which they began to."""

    # From the first byte on: all headers, and then the whole request with its body.
    head_seconds, request_seconds = 10.0, 30.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.waiting: dict[Connection, None] = {}
        self.swept_at = 0.0

    def accept(self, listener: Any) -> None:
        """Take a new connection; when there is no room for it, drop who has waited the longest."""
        try:
            client, address = listener.accept()
        except OSError:
            return  # gone again, or no file descriptor left: those that end make room
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections and self.waiting:
            # guard: room for the next connection
            self._drop(next(iter(self.waiting)))
        self._wait(Connection(self.cfg, client, address, listener.getsockname()), self.head_seconds)

    def _wait(self, conn: Connection, seconds: float) -> None:
        conn.sock.setblocking(False)
        conn.deadline = time.monotonic() + seconds
        self.waiting[conn] = None
        self.poller.register(conn.sock, EVENT_READ, partial(self._readable, conn))

    def _stop_waiting(self, conn: Connection) -> None:
        del self.waiting[conn]
        self.poller.unregister(conn.sock)

    def _drop(self, conn: Connection) -> None:
        self._stop_waiting(conn)
        self.nr_conns -= 1
        conn.close()

    def _readable(self, conn: Connection, _sock: Any) -> None:
        if conn not in self.waiting:
            return  # dropped by an earlier event of the same round
        try:
            data = conn.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(conn)
        elif not conn.lingers:
            self._arrived(conn, data)

    def _arrived(self, conn: Connection, data: bytes) -> None:
        now, begun, had_head = time.monotonic(), bool(conn.arrived), bool(conn.head)
        try:
            conn.add(data)
            size = conn.size()
        except Refused as refused:
            self._refuse(conn, str(refused))
        except OSError:
            self._drop(conn)
        else:
            # guard: a thread only for a whole request
            if size is not None:
                self._stop_waiting(conn)
                conn.take(size)
                self.enqueue_req(conn)
            elif conn.head and not had_head:
                conn.deadline = now + self.request_seconds
            # guard: a drip does not prolong a request
            elif not begun:
                conn.deadline = now + self.head_seconds

    def _refuse(self, conn: Connection, status: str) -> None:
        """Say why to who sends too much or too slowly, and end the connection."""
        said = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        self._stop_waiting(conn)
        with contextlib.suppress(OSError):
            conn.sock.send(said.encode())
        self._linger(conn)

    def _linger(self, conn: Connection) -> None:
        """Close our side; theirs is read, and thrown away, for a moment. Never in the loop's time."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.nr_conns -= 1
            conn.close()
            return
        conn.lingers = True
        self._wait(conn, _LINGER_SECONDS)

    def finish_request(self, conn: Connection, answered: "Future[Any]") -> None:
        """Go on with what has arrived behind the request, wait for the next one, or end it."""
        failed = answered.cancelled() or answered.exception() is not None
        if failed or answered.result() is not True or conn.parser.unreader.buf.getvalue():
            self._linger(conn)
            return
        self._wait(conn, self.cfg.keepalive if self.alive else _LINGER_SECONDS)
        if conn.arrived:
            behind = bytes(conn.arrived)
            conn.arrived.clear()
            self._arrived(conn, behind)

    def murder_pending(self) -> None:
        """End what has waited too long; what began a request is told so."""
        now = time.monotonic()
        if now - self.swept_at < _SWEEP_SECONDS:
            return
        self.swept_at = now
        for conn in self._late(now):
            if conn.arrived and not conn.lingers:
                self._refuse(conn, "408 Request Timeout")
            else:
                self._drop(conn)

    def _late(self, now: float) -> Iterator[Connection]:
        for conn in list(self.waiting):
            if not self.alive and not conn.arrived:
                conn.deadline = min(conn.deadline, now + _LINGER_SECONDS)
            # guard: slow requests end
            if conn.deadline <= now:
                yield conn
