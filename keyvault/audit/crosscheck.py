"""Compare Vault's own audit log with ours: a secret that was read behind our back is named.

Each request of ours to Vault carries our request's id, signed. A read without such a tag was not
ours; one of web's that no row of ours knows was not recorded; and a release on record that Vault
never saw means that one of the two logs is not whole.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings

from keyvault.audit.models import Action, AuditEvent
from keyvault.core.request_context import opened
from keyvault.models import KeyVersion

_BATCH = 2000
# How far apart the two logs' clocks, and a row and the read that follows it, may be.
_SLACK = timedelta(minutes=2)
_WORKER = "worker"


@dataclass(frozen=True)
class Read:
    """One read of a secret as Vault recorded it; `request_id` is ours, None without our tag."""

    at: datetime
    path: str
    role: str
    source: str
    request_id: str | None
    is_worker: bool


@dataclass(frozen=True)
class Finding:
    """What does not fit: `foreign` read, `unrecorded` read, or a release `unseen` by Vault."""

    kind: str
    at: datetime
    what: str
    who: str


@dataclass
class Report:
    """What was compared and what was found; `odd_lines` could not be read."""

    reads: int = 0
    odd_lines: int = 0
    findings: list[Finding] = field(default_factory=list)


def compare(lines: Iterable[str], since: datetime | None = None) -> Report:
    """Compare the lines of Vault's audit log from `since` on with ours, in both directions."""
    report = Report()
    seen: set[str] = set()
    first = last = None
    reads = _reads(lines, since, report)
    while batch := list(islice(reads, _BATCH)):
        first, last = first or batch[0].at, batch[-1].at
        seen |= {read.request_id for read in batch if read.request_id}
        report.reads += len(batch)
        report.findings += _unknown(batch)
    if first and last:
        report.findings += _unseen(seen, first, last)
    return report


def _reads(lines: Iterable[str], since: datetime | None, report: Report) -> Iterator[Read]:
    for line in lines:
        try:
            read = _read(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            report.odd_lines += 1
            continue
        if read and (since is None or read.at >= since):
            yield read


def _read(said: dict[str, Any]) -> Read | None:
    """Return the read of a secret that an entry tells of; None for anything else."""
    request = said["request"]
    area = f"{settings.VAULT_MOUNT}/data/keys/"
    if said["type"] != "response" or request["operation"] != "read":
        return None
    if not request["path"].startswith(area) or not (said.get("response") or {}).get("data"):
        return None
    auth = said.get("auth") or {}
    policies = [str(name) for name in auth.get("policies") or []]
    tags = (request.get("headers") or {}).get("x-request-id") or [""]
    return Read(
        # Nanoseconds are more than a datetime holds.
        at=datetime.fromisoformat(said["time"][:19] + "+00:00"),
        path=request["path"].removeprefix(area),
        role=f"{auth.get('display_name', '')} ({', '.join(policies)})",
        source=str(request.get("remote_address", "")),
        request_id=opened(str(tags[0])),
        is_worker=any(name.endswith(_WORKER) for name in policies),
    )


def _unknown(batch: list[Read]) -> Iterator[Finding]:
    """Yield the reads that are not ours, and those of web that no row of ours knows."""
    ours = [read.request_id for read in batch if read.request_id and not read.is_worker]
    around = (batch[0].at - _SLACK, batch[-1].at + _SLACK)
    rows = AuditEvent.objects.filter(at__range=around, request_id__any=ours)
    recorded = set(rows.values_list("request_id", flat=True))
    odd = [read for read in batch if _kind(read, recorded)]
    names = _names(odd)
    for read in odd:
        who = f"{read.role} from {read.source}"
        yield Finding(_kind(read, recorded), read.at, names.get(read.path, read.path), who)


def _kind(read: Read, recorded: set[str]) -> str:
    if read.request_id is None:
        return "foreign"
    return "" if read.is_worker or read.request_id in recorded else "unrecorded"


def _names(reads: list[Read]) -> dict[str, str]:
    """Return the version that lies at each path."""
    paths = [read.path for read in reads if len(read.path) == 36]
    versions = KeyVersion.objects.filter(path__any=paths).select_related(
        "key__account", "key__environment"
    )
    return {str(version.path): str(version) for version in versions}


def _unseen(seen: set[str], first: datetime, last: datetime) -> Iterator[Finding]:
    """Yield the releases on record between two times for which Vault tells of no read."""
    released = (Action.SECRET_FETCHED, Action.SECRET_REVEALED)
    rows = AuditEvent.objects.filter(
        at__range=(first + _SLACK, last - _SLACK), action__in=released, outcome="ok"
    )
    for row in rows.order_by("seq").iterator():
        from_memory = json.loads(row.payload)["detail"].get("from_memory")
        if row.request_id not in seen and not from_memory:
            yield Finding("unseen", row.at, row.object_label, f"{row.actor_label} (#{row.seq})")
