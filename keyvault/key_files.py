"""Read many keys from what a person pastes: a CSV with a header line, or the text of a .env file.

Nothing is lost without a word: every line becomes a row, or is refused with its number. No message
repeats a value, since any of them may be a secret in the wrong place.
"""

import codecs
import csv
import io
from dataclasses import dataclass, field

from django.utils.translation import gettext as _
from dotenv.parser import parse_stream

from keyvault.errors import BadInput

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
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, ""),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass
class Row:
    """One key as it was written, with the number of its line; `problem` says why it is none."""

    line: int
    values: dict[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""


def decode(data: bytes) -> str:
    """Return the text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        raise BadInput(
            _("The file is neither UTF-8 nor UTF-16 text. Nothing was stored. Save it as UTF-8."),
            code="bad_encoding",
        ) from None


def read(text: str) -> list[Row]:
    """Return the rows of a CSV or a .env text, whichever it is; raises BadInput for neither."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise BadInput(_("There is nothing in it. Paste a CSV with a header line, or a .env text."))
    first = next(line for line in text.split("\n") if line.strip())
    names = [one.strip().strip('"').lower() for one in first.replace(";", ",").split(",")]
    rows = _csv(text) if "name" in names else _env(text)
    _refuse_doubles(rows)
    return rows


def _csv(text: str) -> list[Row]:
    first = next(line for line in text.split("\n") if line.strip())
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(cells)
            else:
                rows.append(_row(reader.line_num, header, cells))
    except csv.Error:
        rows.append(
            Row(reader.line_num, problem="A quotation mark is not closed, or stands wrong.")
        )
    return rows


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    for place, name in enumerate(names, start=1):
        if name not in COLUMNS:
            raise BadInput(
                _(
                    "The header of column {place} is not known. Nothing was stored. The columns "
                    "are {columns}."
                ).format(place=place, columns=", ".join(COLUMNS)),
                code="bad_header",
            )
        if names.count(name) > 1:
            raise BadInput(
                _("The column “{name}” stands there twice. Nothing was stored.").format(name=name)
            )
    return names


def _row(line: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return Row(line, problem=f"It has {len(cells)} cells, and the header has {len(header)}.")
    values = dict(zip(header, cells, strict=True))
    # A secret is cleaned by the door, which tells what it took off.
    trimmed = {name: value if name == "secret" else value.strip() for name, value in values.items()}
    return Row(line, trimmed, "" if trimmed["name"] else "It has no name.")


def _env(text: str) -> list[Row]:
    rows = []
    for binding in parse_stream(io.StringIO(text)):
        line, written = binding.original.line, binding.original.string
        # The parser gives what stands before a line, such as empty ones, together with it.
        line += len(written) - len(written.lstrip("\n"))
        if not written.strip() or (binding.key is None and not binding.error):
            continue
        if binding.error or binding.key is None:
            rows.append(Row(line, problem="It is not NAME=value."))
        elif not binding.value:
            rows.append(Row(line, {"name": binding.key}, "It has no value."))
        else:
            rows.append(Row(line, {"name": binding.key, "secret": binding.value}))
    return rows


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
