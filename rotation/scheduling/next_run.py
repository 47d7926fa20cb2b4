"""When is a key due? Pure functions over dates, time zones, windows and freezes."""

import zlib
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from rotation import recurrence
from rotation.scheduling import windows
from rotation.scheduling.local_time import local_moment


class Timing(Protocol):
    """What a policy says of the days and the time of its runs."""

    key_id: int
    every_days: int | None
    rule: str
    at_time: time
    time_zone: str
    jitter_minutes: int
    max_age_days: int | None


def next_run(last: datetime, every_days: int, at: time, zone_name: str) -> datetime:
    """Return the UTC time of the run that follows `last`: N local days later at the local time."""
    zone = ZoneInfo(zone_name)
    day = last.astimezone(zone).date() + timedelta(days=every_days)
    return local_moment(day, at, zone)


def following(last: datetime, timing: Timing) -> datetime | None:
    """Return when (UTC) the run after `last` is wanted; None if nothing says how often.

    The rule names the day, or else the interval; the jitter spreads it, the same for the same key
    and day. The maximum age comes before all of that.
    """
    zone = ZoneInfo(timing.time_zone)
    day = _day_after(last.astimezone(zone).date(), timing)
    wanted = _spread(local_moment(day, timing.at_time, zone), timing) if day else None
    if timing.max_age_days is None:
        return wanted
    oldest = next_run(last, timing.max_age_days, timing.at_time, timing.time_zone)
    return min(wanted, oldest) if wanted else oldest


def _day_after(day: date, timing: Timing) -> date | None:
    if timing.rule:
        return recurrence.next_day(timing.rule, day)
    return day + timedelta(days=timing.every_days) if timing.every_days else None


def _spread(at: datetime, timing: Timing) -> datetime:
    seconds = timing.jitter_minutes * 60
    return at + timedelta(
        seconds=zlib.crc32(f"{timing.key_id}:{at:%Y%m%d}".encode()) % (seconds + 1)
    )


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


# Room for a vendor that is away, and for a person who is asked something on a working day.
ROOM = timedelta(days=1)


def before_expiry(planned: datetime, expires_at: datetime | None, lead: timedelta) -> datetime:
    """Return `planned`, or `lead` before the end if that comes first; an unknown end moves nothing."""
    # guard: planned before the end
    return planned if expires_at is None else min(planned, expires_at - lead)


def lead_of(life: timedelta, overlap_seconds: int, quiet_seconds: int) -> timedelta:
    """Return how long before its end a key must be replaced, given how long it has to live in all.

    Never more than half of that: a key that lives for hours must not be due as soon as it is made.
    """
    wanted = ROOM + timedelta(seconds=overlap_seconds + quiet_seconds)
    return min(wanted, max(life, timedelta(0)) / 2)
