"""Fit a wanted run into windows and freezes, and before a key is too old: pure over its dates."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from rotation import windows
from rotation.schedule import Timing, next_run

Span = tuple[date, date]


class Opening(Timing, Protocol):
    """A policy's timing with its window."""

    window: str


def oldest(last: datetime, timing: Timing) -> datetime | None:
    """Return the moment at which the key is as old as it may be; None without such an age."""
    if timing.max_age_days is None:
        return None
    return next_run(last, timing.max_age_days, timing.at_time, timing.time_zone)


def fit(
    last: datetime, wanted: datetime, timing: Opening, frozen: Sequence[Span]
) -> datetime | None:
    """Return the first allowed moment at or after `wanted`, or the last one before it is too old.

    `last` is when the key rotated last. Where nothing is allowed before that age, the first moment
    after it; None where none comes in 400 days.
    """
    zone, window = ZoneInfo(timing.time_zone), windows.parse(timing.window)
    at = windows.next_open(wanted, window, frozen, zone)
    limit = oldest(last, timing)
    if limit is None or (at is not None and at <= limit):
        return at
    for days in range(timing.max_age_days or 0):
        early = windows.next_open(limit - timedelta(days=days), window, frozen, zone)
        if early is not None and last < early <= limit:
            return early
    return at
