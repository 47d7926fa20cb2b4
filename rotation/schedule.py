"""When is a key due? Pure functions over dates and time zones, and the little that stores them."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rotation.models import RotationPolicy


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


def plan_next(key_id: int) -> None:
    """Store when the key is due again, counted from its last rotation (or from now)."""
    policy = RotationPolicy.objects.select_related("key").filter(key=key_id).first()
    if policy is None:
        return
    last = policy.key.rotated_at or policy.key.created_at
    policy.next_run_at = next_run(last, policy.every_days, policy.at_time, policy.time_zone)
    policy.save(update_fields=["next_run_at"])
