"""Find our own secrets in files: by keyed fingerprint, so that no plain secret is needed to search.

The database knows each secret's length, its last four characters (when it has 20 or more) and its
HMAC. Wherever those four characters end a run long enough, the HMAC of what stands there decides.
Text is also looked at as base64 and percent-encoding would hide it.
"""

import base64
import binascii
import gzip
import io
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import unquote_to_bytes

from django.db.models import QuerySet

from keyvault.core.hashing import fingerprint_of_bytes
from keyvault.models import KeyVersion

_CHUNK = 1 << 20
_LONGEST = 4096
_TAIL = 4
# The largest member of an archive that is unpacked; more is named as not searched.
_MOST_UNPACKED = 256 << 20
_RUN = re.compile(rb"[\x21-\x7e]{8,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_SKIPPED_FOLDERS = frozenset({".git", "node_modules", "__pycache__", ".venv"})
_WRONG_ARCHIVE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)


@dataclass(frozen=True)
class Hit:
    """One place where a secret of ours stands: version, file, line (from 1), and how it is written."""

    version_id: int
    file: str
    line: int
    form: str


@dataclass
class Report:
    """What was found, how much was searched, and what could not be."""

    hits: list[Hit] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    not_searched: list[str] = field(default_factory=list)


class Index:
    """What is known of our secrets, arranged for looking up by their ends."""

    def __init__(self, rows: Iterable[tuple[int, int, str, str]]) -> None:
        self._versions: dict[tuple[int, str], int] = {}
        self._by_tail: dict[bytes, set[int]] = defaultdict(set)
        self._without_tail: set[int] = set()
        for version_id, length, tail, digest in rows:
            self._versions[length, digest] = version_id
            if tail:
                self._by_tail[tail.encode()].add(length)
            else:
                self._without_tail.add(length)

    def __len__(self) -> int:
        return len(self._versions)

    def ends_in(self, run: bytes) -> Iterator[tuple[int, int]]:
        """Give version and offset of each of our secrets within a run of visible characters."""
        for end in range(_TAIL, len(run) + 1):
            lengths = self._by_tail.get(run[end - _TAIL : end], ())
            for length in (*lengths, *self._without_tail):
                if length > end:
                    continue
                digest = fingerprint_of_bytes(run[end - length : end])
                version_id = self._versions.get((length, digest))
                if version_id is not None:
                    yield version_id, end - length


def index(versions: QuerySet[KeyVersion]) -> Index:
    """Return the index over these versions; retired ones count too, since files outlive them."""
    rows = versions.values_list("pk", "length", "tail", "fingerprint")
    return Index(rows.iterator(chunk_size=5000))


def scan(paths: Iterable[Path], known: Index) -> Report:
    """Search files and whole trees; links are not followed, and what cannot be read is named."""
    report = Report()
    for path in paths:
        for file in _files(path):
            try:
                _scan_file(file, known, report)
            except _WRONG_ARCHIVE as error:
                report.not_searched.append(f"{file} ({type(error).__name__})")
    return report


def scan_stream(stream: IO[bytes], name: str, known: Index, report: Report) -> None:
    """Search one stream, in pieces that overlap by more than the longest secret."""
    report.files += 1
    seen: set[Hit] = set()
    carried, line = b"", 1
    while chunk := stream.read(_CHUNK):
        report.bytes += len(chunk)
        text = carried + chunk
        for hit in _hits(text, name, line, known):
            if hit not in seen:
                seen.add(hit)
                report.hits.append(hit)
        carried = text[-2 * _LONGEST :]
        line += text[: len(text) - len(carried)].count(b"\n")


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.is_symlink() or child.name in _SKIPPED_FOLDERS:
            continue
        if child.is_dir():
            yield from _files(child)
        elif child.is_file():
            yield child


def _scan_file(file: Path, known: Index, report: Report) -> None:
    with file.open("rb") as stream:
        start = stream.read(4)
        stream.seek(0)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(stream) as inner:
                scan_stream(_capped(inner, f"{file}", report), f"{file}", known, report)
        elif start == b"PK\x03\x04":
            _scan_zip(stream, f"{file}", known, report)
        else:
            scan_stream(stream, f"{file}", known, report)


def _scan_zip(stream: IO[bytes], name: str, known: Index, report: Report) -> None:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            inner_name = f"{name}!{member.filename}"
            with archive.open(member) as inner:
                scan_stream(_capped(inner, inner_name, report), inner_name, known, report)


class _Capped(io.RawIOBase):
    """Reads up to a number of bytes; a small archive may unpack to more than there is room for."""

    def __init__(self, inner: IO[bytes] | gzip.GzipFile, name: str, report: Report) -> None:
        self._inner, self._name, self._report = inner, name, report
        self._left = _MOST_UNPACKED

    def read(self, size: int = -1) -> bytes:
        data = self._inner.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        if not self._left and self._inner.read(1):
            self._report.not_searched.append(f"{self._name} (beyond {_MOST_UNPACKED >> 20} MB)")
        return data


def _capped(inner: IO[bytes] | gzip.GzipFile, name: str, report: Report) -> IO[bytes]:
    return _Capped(inner, name, report)  # type: ignore[return-value]


def _hits(text: bytes, name: str, first_line: int, known: Index) -> Iterator[Hit]:
    """Search one piece as it stands, then as base64, percent-encoding and UTF-16 would hide it."""
    yield from _plain(text, name, first_line, known, "as it is")
    if b"\x00" in text:
        yield from _plain(text.replace(b"\x00", b""), name, first_line, known, "UTF-16")
    if b"%" in text:
        yield from _plain(unquote_to_bytes(text), name, first_line, known, "percent-encoded")
    for match in _BASE64.finditer(text):
        line = first_line + text.count(b"\n", 0, match.start())
        for decoded in _decoded(match.group()):
            for hit in _plain(decoded, name, line, known, "base64"):
                yield Hit(hit.version_id, name, line, "base64")


def _plain(text: bytes, name: str, first_line: int, known: Index, form: str) -> Iterator[Hit]:
    line, counted = first_line, 0
    for run in _RUN.finditer(text):
        for version_id, _ in known.ends_in(run.group()):
            line += text.count(b"\n", counted, run.start())
            counted = run.start()
            yield Hit(version_id, name, line, form)


def _decoded(word: bytes) -> Iterator[bytes]:
    """Give what the word may stand for; a prefix can shift base64 by up to three characters."""
    plain = word.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    for shift in range(4):
        part = plain[shift:]
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        try:
            yield base64.b64decode(part + b"=" * (-len(part) % 4))
        except (binascii.Error, ValueError):
            continue
