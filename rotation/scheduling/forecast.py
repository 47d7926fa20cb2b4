"""When will a key rotate? The coming runs of a policy, and why one is moved: pure over its dates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from rotation.models import RotationPolicy
from rotation.scheduling import next_run
from rotation.scheduling.freeze_days import Span


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
    zone = ZoneInfo(policy.time_zone)
    at, moved = policy.next_run_at, ""
    while policy.enabled and at is not None:
        yield Run(at, moved)
        last = max(at, now)
        wanted = next_run.following(last, policy)
        if wanted is None:
            return
        at = next_run.fit(last, wanted, policy, frozen)
        moved = _why(wanted, at, frozen, zone)


def _why(wanted: datetime, at: datetime | None, frozen: Sequence[Span], zone: ZoneInfo) -> str:
    if at is None or at == wanted:
        return ""
    if at < wanted:
        return "its maximum age"
    day = wanted.astimezone(zone).date()
    if any(first <= day <= last for first, last in frozen):
        return "a freeze"
    return "its window"
