"""Read many keys from what a person pastes: a CSV with a header line, or the text of a .env file.

Nothing is lost without a word: every line becomes a row, or is refused with its number. A file of
another kind is refused as a whole and by its name. No message repeats a value, and a name is only what
has the form of one: any other text may be a secret in the wrong place.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from dotenv.parser import Binding, parse_stream

from keyvault.core.errors import BadInput
from keyvault.inventory import file_kinds, secret_patterns

COLUMNS = (
    "name",
    "account",
    "environment",
    "application",
    "secret",
    "vendor_id",
    "expires_at",
    "purpose",
)
_OURS = frozenset(COLUMNS)
# Also / . and -, which some tools allow; a name is kept whole or its line is refused.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,99}")
_NO_PAIR = "It is not NAME=value."
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, ""),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass
class Row:
    """One key as it was written, with the number of its line; `problem` says why it is none.

    `note` says what was left off.
    """

    line: int
    values: dict[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""
    note: str = ""


def decode(data: bytes) -> str:
    """Return the text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Raises BadInput for any other file, by its name where its first bytes tell.
    """
    kind = file_kinds.file_kind(data)
    if kind:
        raise _refused(kind)
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        raise BadInput(
            "The file is neither UTF-8 nor UTF-16 text. Nothing was stored. Save it as UTF-8.",
            code="bad_encoding",
        ) from None


def read(text: str, most: int | None = None) -> list[Row]:
    """Return the rows of a CSV or a .env text, whichever it is; raises BadInput for anything else.

    It stops at the row after `most`: who asks for few does not wait for many.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise BadInput("There is nothing in it. Paste a CSV with a header line, or a .env text.")
    # guard: a file is recognised before its lines are read
    kind = file_kinds.known_as(text, _OURS)
    if kind:
        raise _refused(kind)
    names = [one.strip().lower() for one in file_kinds.header_of(text)]
    found = _csv(text) if "name" in names else _env(text)
    rows = list(islice(found, None if most is None else most + 1))
    _refuse_doubles(rows)
    return rows


def _refused(kind: file_kinds.Kind) -> BadInput:
    return BadInput(
        f"This is {kind.name}. Nothing was stored. {kind.advice}",
        code="other_kind",
        details={"kind": kind.code},
    )


def _csv(text: str) -> Iterator[Row]:
    delimiter, text = file_kinds.delimiter_of(text), file_kinds.without_separator(text)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(cells)
            else:
                yield _row(reader.line_num, header, cells)
    except csv.Error:
        yield Row(reader.line_num, problem="A quotation mark is not closed, or stands wrong.")


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    for place, name in enumerate(names, start=1):
        if name not in COLUMNS:
            raise BadInput(
                (
                    "The header of column {place} is not known. Nothing was stored. The columns "
                    "are {columns}."
                ).format(place=place, columns=", ".join(COLUMNS)),
                code="bad_header",
            )
        if names.count(name) > 1:
            raise BadInput(f"The column “{name}” stands there twice. Nothing was stored.")
    return names


def _row(line: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return Row(line, problem=f"It has {len(cells)} cells, and the header has {len(header)}.")
    values = dict(zip(header, cells, strict=True))
    # A secret is cleaned by the door, which tells what it took off.
    trimmed = {name: value if name == "secret" else value.strip() for name, value in values.items()}
    if not trimmed["name"]:
        return Row(line, problem="It has no name.")
    # guard: swapped columns are seen
    if _is_swapped(trimmed["name"], trimmed.get("secret", "").strip()):
        return Row(line, problem="Its secret reads like a name: are the columns swapped?")
    return Row(line, trimmed)


def _is_swapped(name: str, secret: str) -> bool:
    """What should be the key is the name of a variable, and what should be the name is one long word."""
    variable = _NAME.fullmatch(secret) and "_" in secret and secret.upper() == secret
    return bool(
        variable and secret_patterns.is_words(secret) and len(name) >= 8 and not name.count(" ")
    )


def _env(text: str) -> Iterator[Row]:
    for binding in parse_stream(io.StringIO(text)):
        line, written = binding.original.line, binding.original.string
        # The parser gives what stands before a line, such as empty ones, together with it.
        line += len(written) - len(written.lstrip("\n"))
        if written.strip() and not (binding.key is None and not binding.error):
            yield _pair(line, binding)


def _pair(line: int, binding: Binding) -> Row:
    """A line without = is no name: it is a bare key as often as not, and = may be the end of one."""
    name, value = binding.key or "", binding.value
    # guard: a line without = is no name
    if binding.error or value is None or not _NAME.fullmatch(name):
        return Row(line, problem=_NO_PAIR)
    typed = binding.original.string.partition("=")[2].strip()
    # guard: the end of a bare key is no value
    if not value.strip(" =") or typed.startswith("#"):
        return Row(line, problem=_NO_PAIR if value.strip() else "It has no value.")
    return Row(line, {"name": name, "secret": value}, note=_cut(typed, value))


def _cut(typed: str, value: str) -> str:
    """Say what a comment took away: to some tools, what stands after # belongs to the value."""
    if typed[:1] in ("'", '"') or not typed[len(value) :].lstrip().startswith("#"):
        return ""
    # guard: a cut comment is said
    return "What stands after “ #” was left off as a comment; if it belongs to the key, quote it."


def _refuse_doubles(rows: list[Row]) -> None:
    """Two rows of one place and name: neither can be the right one without a person's word."""
    seen: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if row.problem:
            continue
        place = tuple(
            row.values.get(name, "").casefold() for name in ("account", "environment", "name")
        )
        first = seen.setdefault(place, row)
        if first is not row:
            row.problem = f"Its name stands in line {first.line} too."
            first.problem = first.problem or f"Its name stands in line {row.line} too."
