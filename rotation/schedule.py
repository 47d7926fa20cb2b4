"""When is a key due? Pure functions over dates and time zones."""

import zlib
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from rotation import rules


class Timing(Protocol):
    """What a policy says of the days and the time of its runs."""

    key_id: int
    every_days: int | None
    rule: str
    at_time: time
    time_zone: str
    jitter_minutes: int
    max_age_days: int | None


def local_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the UTC moment of a local time: the first of a doubled one, the next of a missing one."""
    moment = datetime.combine(day, at, tzinfo=zone).replace(fold=0)
    back = moment.astimezone(UTC).astimezone(zone)
    if back.replace(tzinfo=None) == moment.replace(tzinfo=None):
        return moment.astimezone(UTC)
    # A clock change skips this time: with fold=0 the conversion lands after the gap.
    return _after_gap(day, at, zone)


def _after_gap(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the first moment after the gap that swallowed the local time."""
    before = datetime.combine(day, at, tzinfo=zone).replace(fold=1).astimezone(UTC)
    after = datetime.combine(day, at, tzinfo=zone).replace(fold=0).astimezone(UTC)
    low, high = min(before, after), max(before, after)
    # The offset changes somewhere between the two readings; that is where the gap ends.
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


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
        return rules.next_day(timing.rule, day)
    return day + timedelta(days=timing.every_days) if timing.every_days else None


def _spread(at: datetime, timing: Timing) -> datetime:
    seconds = timing.jitter_minutes * 60
    return at + timedelta(
        seconds=zlib.crc32(f"{timing.key_id}:{at:%Y%m%d}".encode()) % (seconds + 1)
    )
