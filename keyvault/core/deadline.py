"""End a vendor call for good when its time is up, wherever it hangs.

A read time-out starts anew with each byte, so an answer that drips, in its headers or its body, can
hold a worker for hours. The socket of the call under way is therefore noted and shut from outside.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import requests
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_local = threading.local()


class Deadline:
    """The moment by which one call must have ended."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    @property
    def passed(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() >= self._ends

    def watch(self, used: socket.socket | None) -> None:
        """Note the socket that the call is using."""
        with self._lock:
            self._socket = used

    def cut(self) -> None:
        """Shut the socket in use, so that whoever reads from it comes back at once."""
        with self._lock:
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Not the TLS socket's own method: it would drop the state that a read is using.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[Deadline]:
    """Bound every call that this thread makes inside the block by `seconds` in all."""
    deadline = Deadline(seconds)
    timer = threading.Timer(seconds, deadline.cut)
    timer.daemon = True
    _local.deadline = deadline
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()
        deadline.watch(None)
        _local.deadline = None


def _note(used: socket.socket | None) -> None:
    deadline = getattr(_local, "deadline", None)
    if deadline is not None:
        deadline.watch(used)


class _Plain(HTTPConnection):
    def getresponse(self) -> Any:
        _note(self.sock)
        return super().getresponse()


class _Secure(HTTPSConnection):
    def getresponse(self) -> Any:
        _note(self.sock)
        return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


def install(session: requests.Session) -> None:
    """Make the session's connections tell which socket they use."""
    for adapter in session.adapters.values():
        manager = adapter.poolmanager  # type: ignore[attr-defined]
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
