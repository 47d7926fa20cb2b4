"""When may a person be written to? Pure functions over their preferences."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rotation.models import NotificationPreference
from rotation.scheduling.local_time import local_moment


def due_for(wish: NotificationPreference, now: datetime, *, urgent: bool) -> datetime:
    """Return when a message may go out: now, or when the person's quiet hours end."""
    if urgent or wish.quiet_from is None or wish.quiet_to is None:
        return now
    if wish.quiet_from == wish.quiet_to:
        return now
    zone = ZoneInfo(wish.time_zone)
    local = now.astimezone(zone)
    inside = (
        wish.quiet_from <= local.time() < wish.quiet_to
        if wish.quiet_from < wish.quiet_to
        else local.time() >= wish.quiet_from or local.time() < wish.quiet_to
    )
    if not inside:
        return now
    day = local.date()
    if local.time() >= wish.quiet_to:
        day += timedelta(days=1)
    return local_moment(day, wish.quiet_to, zone)
