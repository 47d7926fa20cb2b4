"""Plan the next run before the key ends, with room for a rotation and for people: pure functions."""

from datetime import datetime, timedelta

# Room for a vendor that is away, and for a person who is asked something on a working day.
ROOM = timedelta(days=1)


def before_expiry(planned: datetime, expires_at: datetime | None, lead: timedelta) -> datetime:
    """Return `planned`, or `lead` before the end if that comes first; an unknown end moves nothing."""
    return planned if expires_at is None else min(planned, expires_at - lead)


def lead_of(life: timedelta, overlap_seconds: int, quiet_seconds: int) -> timedelta:
    """Return how long before its end a key must be replaced, given how long it has to live in all.

    Never more than half of that: a key that lives for hours must not be due as soon as it is made.
    """
    wanted = ROOM + timedelta(seconds=overlap_seconds + quiet_seconds)
    return min(wanted, max(life, timedelta(0)) / 2)
