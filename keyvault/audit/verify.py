"""Recompute the chain and name the first row that does not fit."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction

VERSION = b"\x01"
_COLUMNS = (
    "action",
    "outcome",
    "actor_kind",
    "actor_id",
    "actor_label",
    "object_kind",
    "object_id",
    "object_label",
    "key_id",
    "request_id",
)
_BATCH = 5000
# Below and above every number there can be; a forger may have written a negative one.
BEGINNING, END = -(2**62), 2**62


@dataclass(frozen=True)
class Report:
    """The outcome of a verification: rows read, last sequence number, and what is wrong, if any."""

    rows: int
    last_seq: int
    bad_seq: int | None = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Return whether every row fits."""
        return self.bad_seq is None


def row_hash(seq: int, prev: bytes, payload: str) -> bytes:
    """Return SHA-256(version ‖ seq as 8 bytes ‖ previous hash ‖ payload text in UTF-8)."""
    return hashlib.sha256(
        VERSION + seq.to_bytes(8, "big", signed=True) + prev + payload.encode()
    ).digest()


@dataclass(frozen=True)
class Anchor:
    """A place in the chain that is known to be right: verification goes on from there."""

    seq: int = 0
    hash: bytes = bytes(32)


def verify(since: Anchor | None = None) -> Report:
    """Read the log in order and check sequence, links, hashes, columns and the head.

    From the first row that was not archived, or from the row after `since`.
    """
    # One snapshot: rows that are appended meanwhile must not make the head look wrong.
    with transaction.atomic(using="audit"):
        with connections["audit"].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _verify(since or archived_up_to())


def archived_up_to() -> Anchor:
    """Return where the last archived month ended, as the log's own rows say; else the beginning.

    The rows that say so are verified with the rest, and signed like the rest.
    """
    query = "SELECT payload FROM audit_auditevent WHERE action = 'audit.archived'"
    with connections["audit"].cursor() as cursor:
        cursor.execute(query)
        said = [json.loads(payload)["detail"] for (payload,) in cursor.fetchall()]
    ends = [Anchor(int(one["last_seq"]), bytes.fromhex(one["last_hash"])) for one in said]
    with connections["audit"].cursor() as cursor:
        # An archived month may still be here, when the drop that follows its record was cut off.
        cursor.execute("SELECT min(seq) FROM audit_auditevent")
        first = cursor.fetchone()[0]
    gone = [end for end in ends if first is not None and end.seq < first]
    return max(gone, key=lambda end: end.seq, default=Anchor())


def _verify(since: Anchor) -> Report:
    prev, last, count = since.hash, since.seq, 0
    for row in rows(since.seq if since.seq else BEGINNING):
        count += 1
        problem = _problem(row, last, prev)
        if problem:
            return Report(count, last, row["seq"], problem)
        last, prev = row["seq"], row["hash"]
    head_seq, head_hash = _head()
    if head_seq is None:
        return Report(count, last, last + 1, "the head of the chain is missing")
    if (head_seq, head_hash) != (last, prev):
        return Report(count, last, last + 1, f"rows after #{last} are missing: head is #{head_seq}")
    return Report(count, last)


def _problem(row: dict[str, Any], last: int, prev: bytes) -> str:
    if row["seq"] != last + 1:
        return f"row #{last + 1} is missing"
    if row["prev"] != prev:
        return "the row is not linked to the one before it"
    if row_hash(row["seq"], prev, row["payload"]) != row["hash"]:
        return "the row's text was changed after it was written"
    said = json.loads(row["payload"])
    if said.get("seq") != row["seq"] or said.get("at") != row["at_text"]:
        return "the row's number or time was changed"
    for name in _COLUMNS:
        if said.get(name) != row[name]:
            return f"the column {name} was changed"
    return ""


def rows(after: int = BEGINNING, until: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows after `after` up to `until` in order.

    Each with seq, at_text, payload, prev, hash and the repeated columns.
    """
    names = ("seq", "at_text", "payload", "prev", "hash", *_COLUMNS)
    query = (  # constant column names only
        "SELECT seq, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), payload,"
        f" prev, hash, {', '.join(_COLUMNS)} FROM audit_auditevent WHERE seq > %s"
        " AND seq <= %s ORDER BY seq LIMIT %s"
    )
    last = after
    while True:
        with connections["audit"].cursor() as cursor:
            cursor.execute(query, [last, END if until is None else until, _BATCH])
            batch = cursor.fetchall()
        for values in batch:
            row = dict(zip(names, values, strict=True))
            row["prev"], row["hash"] = bytes(row["prev"]), bytes(row["hash"])
            yield row
        if len(batch) < _BATCH:
            return
        last = batch[-1][0]


def _head() -> tuple[int | None, bytes]:
    with connections["audit"].cursor() as cursor:
        cursor.execute("SELECT seq, hash FROM audit_chainhead WHERE id = 1")
        row = cursor.fetchone()
    return (int(row[0]), bytes(row[1])) if row else (None, b"")
