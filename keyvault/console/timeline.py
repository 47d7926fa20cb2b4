"""What happened to a key, newest first, as one stream: fetches in groups, everything else row by row."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from django.db.models import Q

from keyvault.audit.models import Action, AuditEvent
from keyvault.models import ApiKey, Grant, Role
from rotation.scheduling import inheritance

# Kinds that people choose among, and the acts in each.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rotations": (
        "Rotations",
        ("rotation.", "adoption.", "version.", "vendor_key.", "campaign.", "task."),
    ),
    "checks": ("Checks", ("key.checked",)),
    "reads": ("Reveals and fetches", ("secret.", "consumer.acknowledged", "approval.")),
    "deliveries": ("Deliveries", ("delivery.",)),
    "changes": (
        "Policy and roles",
        ("policy.", "grant.", "freeze.", "pause.", "hold.", "key.registered", "key.changed"),
    ),
}
_READ, _SHOWN, _GRANTS = 400, 40, 200


@dataclass
class Entry:
    """One row of the stream, or several fetches by the same token in a row."""

    event: AuditEvent
    count: int = 1
    since: datetime | None = None


@dataclass(frozen=True)
class Stream:
    """A page of the stream, and the number to go on below; 0 when this is the end."""

    entries: list[Entry] = field(default_factory=list)
    before: int = 0


def stream(key: ApiKey, kind: str = "", before: int | None = None) -> Stream:
    """Return the newest entries of a kind ("": of all) below the number `before`."""
    rows = AuditEvent.objects.filter(_about(key, kind))
    if before is not None:
        rows = rows.filter(seq__lt=before)
    found = list(rows.order_by("-seq")[:_READ])
    entries: list[Entry] = []
    for run in _runs(found):
        entries += _entries(run)
        if len(entries) >= _SHOWN and run[-1] is not found[-1]:
            return Stream(entries, run[-1].seq)
    return Stream(entries, found[-1].seq if len(found) == _READ else 0)


def _about(key: ApiKey, kind: str) -> Q:
    wanted = Q()
    for act in KINDS[kind][1] if kind in KINDS else ():
        wanted |= Q(action__startswith=act) if act.endswith(".") else Q(action=act)
    about = Q(key_id=key.pk) & wanted
    if kind not in KINDS or kind == "changes":
        about |= Q(seq__in=[*_grants(key), *_levels(key)])
    return about


def _grants(key: ApiKey) -> Iterator[int]:
    """Yield the numbers of the rows by which somebody got or lost a role that reaches the key."""
    scopes = [(None, None), (key.application, None), (None, key.environment)]
    scopes.append((key.application, key.environment))
    reaching = {
        str(Grant(role=role, application=application, environment=environment))
        for role in Role
        for application, environment in scopes
    }
    rows = AuditEvent.objects.filter(action=Action.GRANT_CHANGED).order_by("-seq")[:_GRANTS]
    for seq, payload in rows.values_list("seq", "payload"):
        if (json.loads(payload).get("detail") or {}).get("grant") in reaching:
            yield seq


def _levels(key: ApiKey) -> Iterator[int]:
    """Yield the numbers of the rows by which a policy above the key was changed."""
    above = [str(one) for one in inheritance.Levels().numbers_above(key)]
    rows = AuditEvent.objects.filter(object_kind="policyscope", object_id__in=above)
    yield from rows.order_by("-seq").values_list("seq", flat=True)[:_GRANTS]


def _runs(rows: list[AuditEvent]) -> Iterator[list[AuditEvent]]:
    """Yield the rows; fetches with nothing else between them together, everything else alone."""
    for fetched, group in groupby(rows, key=_fetched):
        run = list(group)
        yield from [run] if fetched else [[row] for row in run]


def _fetched(row: AuditEvent) -> bool:
    return row.action == Action.SECRET_FETCHED and row.outcome == "ok"


def _entries(run: list[AuditEvent]) -> list[Entry]:
    """Return one entry for each token of a run, the newest first."""
    found: dict[str, Entry] = {}
    for row in run:
        entry = found.setdefault(row.actor_label, Entry(row, 0))
        entry.count, entry.since = entry.count + 1, row.at
    return list(found.values())
