"""Show what the audit log says, newest first; the reading itself goes on record."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from keyvault.audit.actors import system_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, AuditEvent
from keyvault.management.base import ServiceCommand, key_id_of, system_user, table, wrong_usage

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_FILTERS = ("key", "actor", "action", "since", "limit")


class Command(ServiceCommand):
    help = "Show audit rows, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--key", help="Rows of this key: number, or account/environment/name.")
        parser.add_argument("--actor", help="Rows whose actor's name contains this.")
        parser.add_argument("--action", choices=Action.values, metavar="THING.VERB")
        parser.add_argument("--since", help="A date or time (UTC unless said), or 30m, 12h, 7d.")
        parser.add_argument("--limit", type=int, default=50, help="At most this many rows (50).")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["limit"] < 1:
            raise wrong_usage("--limit must be 1 or more.")
        wanted = _wanted(options)
        asked = [f"{name}={options[name]}" for name in _FILTERS if options[name] is not None]
        reader = system_actor(f"showaudit run by {system_user()}")
        seq = record_now(Action.AUDIT_READ, reader, filters=asked)
        rows = [_row(event) for event in wanted.filter(seq__lt=seq)[: options["limit"]]]
        self.say(options, rows, _table(rows))


def _wanted(options: dict[str, Any]) -> QuerySet[AuditEvent]:
    rows = AuditEvent.objects.order_by("-seq")
    if options["key"]:
        rows = rows.filter(key_id=key_id_of(options["key"]))
    if options["actor"]:
        rows = rows.filter(actor_label__icontains=options["actor"])
    if options["action"]:
        rows = rows.filter(action=options["action"])
    if options["since"]:
        rows = rows.filter(at__gte=_moment(options["since"]))
    return rows


def _moment(text: str) -> datetime:
    """Return the UTC time that `text` means: ISO 8601, or so long ago."""
    ago = re.fullmatch(r"([0-9]{1,5})([mhd])", text)
    if ago:
        return timezone.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment, day = parse_datetime(text), parse_date(text)
    except ValueError:
        moment = day = None
    if moment is None and day is None:
        raise wrong_usage(
            f"“{text}” is no time: give 2026-01-31, 2026-01-31T14:00, 30m, 12h or 7d."
        )
    if moment is None:
        assert day is not None
        moment = datetime(day.year, day.month, day.day)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _row(event: AuditEvent) -> dict[str, Any]:
    payload = json.loads(event.payload)
    return {
        "seq": event.seq,
        "at": event.at,
        "action": event.action,
        "outcome": event.outcome,
        "actor": event.actor_label,
        "object": event.object_label,
        "object_kind": event.object_kind,
        "object_id": event.object_id,
        "key_id": event.key_id,
        "reason": payload["reason"],
        "on_behalf_of": payload["on_behalf_of"],
        "source": payload["source"],
        "request_id": event.request_id,
        "detail": payload["detail"],
        "hash": bytes(event.hash).hex(),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    names = ("seq", "at", "action", "outcome", "actor", "object", "reason")
    shown = ({**row, "at": f"{row['at']:%Y-%m-%d %H:%M:%S}"} for row in rows)
    cells = ([row[name] for name in names] for row in shown)
    return table([name.capitalize() for name in names], cells, empty="No such rows.")
