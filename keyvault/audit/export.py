"""Write the log out as JSON Lines or CSV, with numbers and hashes, so that it verifies elsewhere."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, TextIO

from keyvault.audit.verify import BEGINNING, rows

_FIELDS = (
    "seq",
    "at",
    "action",
    "outcome",
    "actor_kind",
    "actor_id",
    "actor_label",
    "object_kind",
    "object_id",
    "object_label",
    "reason",
    "request_id",
    "source",
)
# Also in the wide form that some spreadsheets take for the same, and after a space that they drop.
_FORMULA = ("=", "+", "-", "@", "|", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\uff5c", "\0")
_SPACES = ("\t", "\r", "\n")


def json_line(row: dict[str, Any]) -> str:
    """Return a row as one line: the hashed text itself, the previous hash and the hash, in hex."""
    line = {
        "seq": row["seq"],
        "payload": row["payload"],
        "prev": row["prev"].hex(),
        "hash": row["hash"].hex(),
    }
    return json.dumps(line) + "\n"


def write_json_lines(out: TextIO, after: int = BEGINNING, until: int | None = None) -> int:
    """Write the rows after `after` up to `until` as JSON Lines; returns how many."""
    return sum(1 for line in json_lines(after, until) if out.write(line))


def json_lines(after: int = BEGINNING, until: int | None = None) -> Iterator[str]:
    """Yield the rows after `after` up to `until`, a line each."""
    return map(json_line, rows(after, until))


def write_csv(out: TextIO, after: int = BEGINNING, until: int | None = None) -> int:
    """Write the same as CSV, under a line of names; returns how many rows."""
    return sum(1 for line in csv_lines(after, until) if out.write(line)) - 1


def csv_lines(after: int = BEGINNING, until: int | None = None) -> Iterator[str]:
    """Yield the columns that people read, then payload and hashes; text can start no formula."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\r\n")
    writer.writerow([*_FIELDS, "payload", "prev", "hash"])
    for row in rows(after, until):
        yield _taken(line)
        said = json.loads(row["payload"])
        writer.writerow([*_cells(said), row["payload"], row["prev"].hex(), row["hash"].hex()])
    yield _taken(line)


def _taken(line: io.StringIO) -> str:
    text = line.getvalue()
    line.seek(0)
    line.truncate()
    return text


def _cells(said: dict[str, Any]) -> Iterator[Any]:
    for name in _FIELDS:
        value = said.get(name, "")
        yield safe_cell(value) if isinstance(value, str) else value


def safe_cell(text: str) -> str:
    """Return `text` with an apostrophe in front if a spreadsheet would take it for a formula."""
    bare = text.lstrip(" \u00a0\u2007\u202f\u3000\ufeff\u200b")
    return f"'{text}" if bare.startswith((*_FORMULA, *_SPACES)) else text
