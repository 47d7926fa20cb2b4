"""Write the log out as JSON Lines or CSV, with numbers and hashes, so that it verifies elsewhere."""

import csv
import json
from collections.abc import Iterator
from typing import Any, TextIO

from keyvault.audit.verify import rows

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
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")


def write_json_lines(out: TextIO) -> int:
    """Write one object a row: the hashed text itself, the previous hash and the hash, in hex."""
    count = 0
    for row in rows():
        line = {
            "seq": row["seq"],
            "payload": row["payload"],
            "prev": row["prev"].hex(),
            "hash": row["hash"].hex(),
        }
        out.write(json.dumps(line) + "\n")
        count += 1
    return count


def write_csv(out: TextIO) -> int:
    """Write the columns that people read, then payload and hash; text can start no formula."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*_FIELDS, "payload", "hash"])
    count = 0
    for row in rows():
        said = json.loads(row["payload"])
        writer.writerow([*_cells(said), row["payload"], row["hash"].hex()])
        count += 1
    return count


def _cells(said: dict[str, Any]) -> Iterator[Any]:
    for name in _FIELDS:
        value = said.get(name, "")
        yield safe_cell(value) if isinstance(value, str) else value


def safe_cell(text: str) -> str:
    """Return `text` with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
