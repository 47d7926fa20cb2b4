"""Show which keys the policies will rotate, and when."""

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from keyvault.cli import DoorCommand, table, wrong_usage
from rotation.models import RotationPolicy
from rotation.schedule import next_run

_LONGEST_DAYS = 3650


class Command(DoorCommand):
    help = "Show the coming runs of every rotation policy."

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
        "key__account", "key__environment"
    )
    runs = [run for policy in policies for run in _runs(policy, now, until)]
    return sorted(runs, key=lambda run: (run["at"], run["key"]))


def _runs(policy: RotationPolicy, now: datetime, until: datetime) -> list[dict[str, Any]]:
    runs = []
    at = policy.next_run_at
    while at is not None and at <= until:
        runs.append(
            {
                "at": at,
                "overdue": at < now,
                "key": policy.key_id,
                "name": str(policy.key),
                "policy": str(policy),
            }
        )
        # However many windows were missed, one run makes up for them.
        at = next_run(max(at, now), policy.every_days, policy.at_time, policy.time_zone)
    return runs


def _table(runs: list[dict[str, Any]]) -> str:
    rows = (
        (
            f"{run['at']:%Y-%m-%d %H:%M}",
            "overdue" if run["overdue"] else "planned",
            run["key"],
            run["name"],
            run["policy"],
        )
        for run in runs
    )
    return table(("At (UTC)", "State", "Id", "Key", "Policy"), rows, empty="Nothing is planned.")
