"""Archive closed months of the log: write them out, prove that what was written verifies, drop them.

A month is dropped only when its file was read back and fits the chain on both sides, a signed
checkpoint covers it, and the drop itself is on record: the row that says so carries the last hash, so
the chain goes on across the gap. Only the role that owns the tables can do it.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connections, transaction
from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.audit.export import json_line
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, AuditEvent, Checkpoint, Partition
from keyvault.audit.verify import row_hash, rows
from keyvault.core.errors import Conflict


@dataclass(frozen=True)
class Archived:
    """One month that was archived: its file, its rows, and the hash that the next row builds on."""

    file: Path
    first_seq: int
    last_seq: int
    rows: int
    last_hash: str
    sha256: str


def rotate_partition() -> str:
    """Close the open partition if its month is over; returns its name, or an empty text."""
    with connections["audit"].cursor() as cursor:
        cursor.execute("SELECT audit_roll()")
        return str(cursor.fetchone()[0])


def due(before: datetime) -> list[Partition]:
    """Return the closed, not yet archived partitions that ended before this time, oldest first."""
    closed = Partition.objects.filter(closed_at__lt=before, archived_at__isnull=True)
    return list(closed.order_by("first_seq"))


def archive(partition: Partition, folder: Path, actor_reason: str) -> Archived:
    """Archive one closed partition into a file of `folder` and drop it.

    Raises Conflict, with nothing dropped, when the file or the chain does not fit or nothing signed
    covers the partition; OSError when the file cannot be written.
    """
    if partition.last_seq is None:
        raise Conflict("The open partition cannot be archived: it still grows.")
    if not Checkpoint.objects.filter(seq__gte=partition.last_seq).exists():
        raise Conflict(f"No signed checkpoint covers {partition} yet. Nothing was dropped.")
    file = folder / f"audit-{partition.first_seq}-{partition.last_seq}.jsonl.gz"
    _write(partition, file)
    done = _proven(partition, file)
    if not _recorded(done):
        detail = {**vars(done), "file": file.name}
        record_now(Action.AUDIT_ARCHIVED, system_actor(actor_reason), None, **detail)
    _drop(partition)
    return done


def _write(partition: Partition, file: Path) -> None:
    """Write the rows durably under another name first: a file of that name is always whole."""
    draft = file.with_suffix(".part")
    with draft.open("wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as out:
            for row in rows(partition.first_seq - 1, partition.last_seq):
                out.write(json_line(row).encode())
        raw.flush()
        os.fsync(raw.fileno())
    draft.replace(file)


def _proven(partition: Partition, file: Path) -> Archived:
    """Read the file back and follow its chain; Conflict names what does not fit."""
    last, prev, count = partition.first_seq - 1, None, 0
    for line in _lines(file):
        seq, hashed = int(line["seq"]), bytes.fromhex(line["hash"])
        before = bytes.fromhex(line["prev"])
        fits = seq == last + 1 and prev in (None, before)
        if not fits or row_hash(seq, before, line["payload"]) != hashed:
            raise Conflict(f"Row #{seq} does not fit the chain. Nothing was dropped.")
        last, prev, count = seq, hashed, count + 1
    if last != partition.last_seq or prev is None:
        raise Conflict(f"{file.name} ends at #{last}, not at #{partition.last_seq}.")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Archived(file, partition.first_seq, last, count, prev.hex(), digest)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as text:
        for line in text:
            yield json.loads(line)


def _recorded(done: Archived) -> bool:
    """Return whether an earlier try got as far as the record; then only the drop is left."""
    for event in AuditEvent.objects.filter(action=Action.AUDIT_ARCHIVED).order_by("-seq"):
        detail = json.loads(event.payload)["detail"]
        if (detail["last_seq"], detail["last_hash"]) == (done.last_seq, done.last_hash):
            return True
    return False


def _drop(partition: Partition) -> None:
    name = connections["owner"].ops.quote_name(partition.name)
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE audit_auditevent DETACH PARTITION {name}")
        cursor.execute(f"DROP TABLE {name}")
        cursor.execute(
            "UPDATE audit_partition SET archived_at = %s WHERE id = %s",
            [timezone.now(), partition.pk],
        )
