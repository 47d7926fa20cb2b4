"""A proxy before Postgres that lets a COMMIT through and keeps its answer back."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class CommitCutter:
    """Relays to a Postgres on a unix socket; after the `nth` COMMIT was sent it cuts both ways."""

    def __init__(self, target: str, nth: int) -> None:
        self.target, self.left, self.cut = target, nth, False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self._server.close()
        for link in self._open:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for link in self._open:
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.socket(socket.AF_UNIX)
                self._open += [client, server]
                server.connect(self.target)
                for work, ends in ((self._up, (client, server)), (self._down, (server, client))):
                    thread = threading.Thread(target=work, args=ends, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT" in data and self._is_the_one():
                    # Nothing of the answer may pass, so the way back is closed first.
                    client.shutdown(socket.SHUT_RDWR)
                    server.sendall(data)
                    # The server answers when it has committed; only then is the line cut.
                    server.recv(1)
                    server.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def _is_the_one(self) -> bool:
        with self._lock:
            self.left -= 1
            self.cut = self.cut or self.left == 0
            return self.left == 0


@contextlib.contextmanager
def commit_cutter(target: str, nth: int) -> Iterator[CommitCutter]:
    """Run the proxy for the length of a block."""
    proxy = CommitCutter(target, nth)
    try:
        yield proxy
    finally:
        proxy.close()
