"""An append-only file of JSON lines, replayed at start: what makes the vendor survive a SIGKILL."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """The file; not safe for threads by itself, its owner holds a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def replay(self) -> Iterator[Event]:
        """Yield every event; a last line that a SIGKILL left unfinished is cut off."""
        good = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                yield json.loads(line)
                good += len(line)
        os.truncate(self._file, good)

    def append(self, event: Event) -> None:
        """Hand the event to the operating system, in one write."""
        _write(self._file, _line(event))

    def rewrite(self, events: Iterable[Event]) -> None:
        """Replace the whole content, or nothing at all when it is cut short."""
        new = self.path.with_suffix(".new")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        _write(file, b"".join(map(_line, events)))
        os.replace(new, self.path)
        os.close(self._file)
        self._file = file

    def close(self) -> None:
        """Close the file; later writes fail."""
        file, self._file = self._file, -1
        os.close(file)


def _line(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
