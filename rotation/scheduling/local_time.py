"""Local times as UTC moments, through the changes of the clock."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


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
