"""List keys with their owner, age, last check and next rotation; never with a secret."""

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Q, QuerySet
from django.utils import timezone

from keyvault.access.permissions import visible_keys
from keyvault.management.base import ServiceCommand, find, find_member, table
from keyvault.models import ApiKey, Application, Environment, VendorAccount
from rotation.models import OPEN_STEPS, Rotation

_TAIL = 4


class Command(ServiceCommand):
    help = "List keys; never shows a secret."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", help="Name or number.")
        parser.add_argument("--environment", help="Name or number.")
        parser.add_argument("--application", help="Name or number.")
        parser.add_argument("--search", help="Part of the name, or the secret's last four.")
        parser.add_argument("--overdue", action="store_true", help="Due or expired keys only.")
        parser.add_argument("--by", metavar="EMAIL", help="Only what this member may see.")

    def handle(self, *args: Any, **options: Any) -> None:
        keys = list(_wanted(options))
        steps = dict(Rotation.objects.filter(step__in=OPEN_STEPS).values_list("key_id", "step"))
        now = timezone.now()
        rows = [_row(key, steps.get(key.pk, ""), now) for key in keys]
        self.say(options, rows, _table(rows))


def _wanted(options: dict[str, Any]) -> QuerySet[ApiKey]:
    keys = (
        visible_keys(find_member(options["by"]))
        if options["by"]
        else ApiKey.objects.filter(archived_at=None)
    )
    for name, things in (
        ("account", VendorAccount.objects.all()),
        ("environment", Environment.objects.all()),
        ("application", Application.objects.all()),
    ):
        if options[name]:
            keys = keys.filter(**{name: find(things, options[name], name)})
    if options["search"]:
        keys = keys.filter(_matches(options["search"]))
    if options["overdue"]:
        keys = keys.filter(_overdue(timezone.now()))
    related = keys.select_related(
        "account", "environment", "application", "member", "current", "policy"
    )
    return related.order_by("account__name", "environment__position", "name", "pk")


def _matches(text: str) -> Q:
    by_name = Q(name__icontains=text)
    return by_name | Q(current__tail=text) if len(text) == _TAIL else by_name


def _overdue(now: datetime) -> Q:
    due = Q(policy__enabled=True, policy__next_run_at__lt=now)
    return due | Q(current__expires_at__lt=now)


def _row(key: ApiKey, step: str, now: datetime) -> dict[str, Any]:
    current, policy = key.current, getattr(key, "policy", None)
    next_run = policy.next_run_at if policy and policy.enabled else None
    expires_at = current.expires_at if current else None
    return {
        "id": key.pk,
        "account": key.account.name,
        "environment": key.environment.name,
        "name": key.name,
        "owner": str(key.application or key.member),
        "purpose": key.purpose,
        "version": current.number if current else None,
        "tail": current.tail if current else "",
        "published_at": current.published_at if current else None,
        "expires_at": expires_at,
        "checked_at": current.checked_at if current else None,
        "check": current.check_answer if current else "",
        "next_rotation_at": next_run,
        "overdue": any(moment is not None and moment < now for moment in (next_run, expires_at)),
        "rotating": step,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    headings = ("Id", "Account", "Environment", "Name", "Owner", "Version", "Last 4", "Check")
    names = ("id", "account", "environment", "name", "owner", "version", "tail", "check")
    cells = ([*(row[name] for name in names), _next(row), _state(row)] for row in rows)
    return table([*headings, "Next rotation", "State"], cells, empty="No keys.")


def _next(row: dict[str, Any]) -> str:
    moment = row["next_rotation_at"]
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _state(row: dict[str, Any]) -> str:
    rotating = f"rotating: {row['rotating']}" if row["rotating"] else ""
    return ", ".join(filter(None, ("overdue" if row["overdue"] else "", rotating))) or "ok"
