"""Recompute the chain and name the first row that does not fit."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from operator import itemgetter
from typing import Any

import django
from django.db import connections, transaction
from psycopg import sql

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
UNLINKED = "the row is not linked to the one before it"
_REPEATED = itemgetter("seq", "at", *_COLUMNS)
# A row as it is read: number, time as text, text, hash before, hash, and the repeated columns.
Row = tuple[Any, ...]
_BATCH, PART, MOST_PROCESSES = 5000, 250_000, 8
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


def verify(since: Anchor | None = None, processes: int | None = None, part: int = PART) -> Report:
    """Read the log in order and check sequence, links, hashes, columns and the head.

    From the first row that was not archived, or from the row after `since`. A long log is shared out
    among as many processes as there are cores (or `processes`), eight at most; each reads in batches.
    """
    # One snapshot: rows that are appended meanwhile must not make the head look wrong.
    with transaction.atomic(using="audit"):
        with connections["audit"].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # While others read for it, this session only keeps the snapshot.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        start = since or archived_up_to()
        head_seq, head_hash = _head()
        many = processes or os.cpu_count() or 1
        if many > 1 and (head_seq or 0) - start.seq >= part * 2:
            found = _together(start, head_seq or 0, many, part)
        else:
            found = _follow(Part(start.seq, start.hash), read(start.seq or BEGINNING, END))
    return _report(found, head_seq, head_hash)


@dataclass(frozen=True)
class Part:
    """A stretch of the chain that was followed: its last row, how many there were, what is wrong."""

    last: int
    prev: bytes
    rows: int = 0
    # The first row, and what it says of the one before it, when that was not known.
    first: int = 0
    first_prev: bytes = b""
    bad_seq: int | None = None
    problem: str = ""


def _report(found: Part, head_seq: int | None, head_hash: bytes) -> Report:
    rows, last = found.rows, found.last
    if found.problem:
        return Report(rows, last, found.bad_seq, found.problem)
    if head_seq is None:
        return Report(rows, last, last + 1, "the head of the chain is missing")
    if (head_seq, head_hash) != (last, found.prev):
        return Report(rows, last, last + 1, f"rows after #{last} are missing: head is #{head_seq}")
    return Report(rows, last)


def _follow(start: Part, rows_of_log: Iterator[Row]) -> Part:
    """Follow the chain from the row after `start` through all these rows, up to one that is wrong."""
    last, prev, count, first, first_prev = start.last, start.prev, 0, 0, b""
    for row in rows_of_log:
        count += 1
        seq, _at, payload, before, digest = row[:5]
        if not prev:
            first, prev, first_prev = seq, before, before
            # Whether rows before the first one are missing shows when the parts are joined.
            last = max(last, seq - 1)
        fits = seq == last + 1 and before == prev and row_hash(seq, prev, payload) == digest
        if not fits or _said(payload) != (row[0], row[1], *row[5:]):
            return Part(last, prev, count, first, first_prev, seq, _problem(row, last, prev))
        last, prev = seq, digest
    return Part(last, prev, count, first, first_prev)


def _said(payload: str) -> tuple[Any, ...]:
    """Return what a row's text repeats of its columns."""
    try:
        return tuple(_REPEATED(json.loads(payload)))
    except (ValueError, KeyError, TypeError):
        return ()


def _together(start: Anchor, head: int, processes: int, size: int) -> Part:
    """Follow parts of the chain in processes of their own, all in this session's snapshot."""
    with connections["audit"].cursor() as cursor:
        cursor.execute("SELECT pg_export_snapshot()")
        snapshot = cursor.fetchone()[0]
    edges = [start.seq, *range(start.seq + size, head, size), END]
    jobs = [(snapshot, after, until) for after, until in itertools.pairwise(edges)]
    whole = Part(start.seq, start.hash)
    # Each takes some 70 MB, and beyond a few the database is what they wait for.
    many = min(processes, len(jobs), MOST_PROCESSES)
    with ProcessPoolExecutor(many, get_context("spawn"), django.setup) as pool:
        for part in pool.map(_part, jobs):
            whole = _joined(whole, part)
            if whole.problem:
                pool.shutdown(cancel_futures=True)
                break
    return whole


def _joined(whole: Part, part: Part) -> Part:
    """Return both as one, if the part begins where the whole ends."""
    if not part.rows:
        return whole
    gap = part.first > whole.last + 1
    # guard: parts of the chain meet
    if not gap and part.first_prev == whole.prev:
        return replace(part, rows=whole.rows + part.rows)
    problem = f"row #{whole.last + 1} is missing" if gap else UNLINKED
    return Part(whole.last, whole.prev, whole.rows + 1, bad_seq=part.first, problem=problem)


def _part(job: tuple[str, int, int]) -> Part:
    """Follow one part, in a process of its own."""
    snapshot, after, until = job
    with transaction.atomic(using="audit"):
        with connections["audit"].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Its name came from Postgres, and stands where no parameter may.
            cursor.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        return _follow(Part(after, b""), read(after or BEGINNING, until))


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


def _problem(row: Row, last: int, prev: bytes) -> str:
    seq, at_text, payload, before, digest = row[:5]
    if seq != last + 1:
        return f"row #{last + 1} is missing"
    if before != prev:
        return UNLINKED
    if row_hash(seq, prev, payload) != digest:
        return "the row's text was changed after it was written"
    if not _said(payload):
        return "the row's text is not whole"
    said = json.loads(payload)
    if said.get("seq") != seq or said.get("at") != at_text:
        return "the row's number or time was changed"
    for name, value in zip(_COLUMNS, row[5:], strict=True):
        if said.get(name) != value:
            return f"the column {name} was changed"
    return ""


def rows(after: int = BEGINNING, until: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows after `after` up to `until` in order.

    Each with seq, at_text, payload, prev, hash and the repeated columns.
    """
    names = ("seq", "at_text", "payload", "prev", "hash", *_COLUMNS)
    for values in read(after, END if until is None else until):
        yield dict(zip(names, values, strict=True))


def read(after: int, until: int) -> Iterator[Row]:
    """Yield the rows after `after` up to `until` in order, a batch in memory at a time."""
    query = (  # constant column names only
        "SELECT seq, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), payload,"
        f" prev, hash, {', '.join(_COLUMNS)} FROM audit_auditevent WHERE seq > %s"
        " AND seq <= %s ORDER BY seq LIMIT %s"
    )
    last = after
    while True:
        with connections["audit"].cursor() as cursor:
            cursor.execute(query, [last, until, _BATCH])
            batch = cursor.fetchall()
        yield from batch
        if len(batch) < _BATCH:
            return
        last = batch[-1][0]


def _head() -> tuple[int | None, bytes]:
    with connections["audit"].cursor() as cursor:
        cursor.execute("SELECT seq, hash FROM audit_chainhead WHERE id = 1")
        row = cursor.fetchone()
    return (int(row[0]), bytes(row[1])) if row else (None, b"")
