"""When will a key rotate? The coming runs of a policy, and why one is moved: pure over its dates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from rotation import windows
from rotation.models import Freeze, RotationPolicy
from rotation.schedule import next_run

Span = tuple[date, date]


@dataclass(frozen=True)
class Run:
    """One coming run (UTC); `moved` says why it is not when the interval alone would have it."""

    at: datetime
    moved: str = ""


def coming(policy: RotationPolicy, frozen: Sequence[Span], now: datetime) -> Iterator[Run]:
    """Yield the runs of a policy in their order, each planned from the one before it.

    An overdue one counts as run now: however many windows were missed, one run makes up for them.
    Ends where no moment is allowed within 400 days.
    """
    zone, window = ZoneInfo(policy.time_zone), windows.parse(policy.window)
    at, moved = policy.next_run_at, ""
    while policy.enabled and at is not None:
        yield Run(at, moved)
        wanted = next_run(max(at, now), policy.every_days, policy.at_time, policy.time_zone)
        at = windows.next_open(wanted, window, frozen, zone)
        moved = _why(wanted, at, frozen, zone)


def _why(wanted: datetime, at: datetime | None, frozen: Sequence[Span], zone: ZoneInfo) -> str:
    if at is None or at == wanted:
        return ""
    day = wanted.astimezone(zone).date()
    if any(first <= day <= last for first, last in frozen):
        return "a freeze"
    return "its window"


class Freezes:
    """The frozen days of every environment, read once."""

    def __init__(self) -> None:
        self.rows = list(Freeze.objects.select_related("environment"))

    def of(self, environment_id: int) -> list[Span]:
        """Return the frozen days that count for an environment."""
        return [
            (one.first_day, one.last_day)
            for one in self.rows
            if one.environment_id in (None, environment_id)
        ]
