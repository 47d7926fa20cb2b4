"""Show which keys the policies will rotate, and when."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils import timezone

from keyvault.management.base import ServiceCommand, table, wrong_usage
from rotation.models import RotationPolicy
from rotation.scheduling.forecast import coming
from rotation.scheduling.freeze_days import Freezes

_LONGEST_DAYS = 3650


class Command(ServiceCommand):
    help = "Show the coming runs of every rotation policy, and what is in the way of each."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=30, help="How far to look ahead (30).")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["days"] <= _LONGEST_DAYS:
            raise wrong_usage(f"--days must lie between 1 and {_LONGEST_DAYS}.")
        now = timezone.now()
        runs = planned(now, now + timedelta(days=options["days"]))
        self.say(options, runs, _table(runs))


def planned(now: datetime, until: datetime) -> list[dict[str, Any]]:
    """Return the runs up to `until` in their order; an overdue one counts as run now."""
    policies = RotationPolicy.objects.filter(enabled=True, next_run_at__lte=until).select_related(
        "key__account", "key__environment", "key__current"
    )
    freezes = Freezes()
    runs = [run for policy in policies for run in _runs(policy, freezes, now, until)]
    runs.sort(key=lambda run: (run["at"], run["key"]))
    _note_conflicts(runs)
    return runs


def _note_conflicts(runs: list[dict[str, Any]]) -> None:
    """Say of each run what stands in its way: its key's end, its siblings, a full account."""
    siblings = Counter((run["application"], run["at"]) for run in runs if run["application"])
    full = Counter((run["account"], run["at"]) for run in runs)
    for run in runs:
        found = []
        if run["ends"] and run["ends"] <= run["at"]:
            found.append(f"the key ends before it, at {run['ends']:%Y-%m-%d %H:%M}")
        if siblings[(run["application"], run["at"])] > 1:
            found.append("another key of its application is due at the same time: they take turns")
        if full[(run["account"], run["at"])] > settings.MAX_ROTATIONS_PER_ACCOUNT:
            found.append(f"more are due at {run['account']} than may run there at once: some wait")
        run["conflict"] = "; ".join(found)


def _runs(
    policy: RotationPolicy, freezes: Freezes, now: datetime, until: datetime
) -> Iterator[dict[str, Any]]:
    for run in coming(policy, freezes.of(policy.key.environment_id), now):
        if run.at > until:
            return
        yield {
            "at": run.at,
            "overdue": run.at < now,
            "moved": run.moved,
            "key": policy.key_id,
            "name": str(policy.key),
            "policy": str(policy),
            "account": str(policy.key.account),
            "application": policy.key.application_id,
            "ends": policy.key.current.expires_at if policy.key.current else None,
        }


def _table(runs: list[dict[str, Any]]) -> str:
    rows = (
        (
            f"{run['at']:%Y-%m-%d %H:%M}",
            "overdue" if run["overdue"] else "planned",
            run["key"],
            run["name"],
            run["policy"],
            run["conflict"] or "–",
        )
        for run in runs
    )
    return table(
        ("At (UTC)", "State", "Id", "Key", "Policy", "Conflict"), rows, empty="Nothing is planned."
    )
