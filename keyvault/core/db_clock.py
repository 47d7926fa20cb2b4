"""The database's time, for every decision of a rotation: workers' own clocks may be wrong.

Each claim brings the database's time along; until the next one it runs on by this machine's clock.
A worker whose clock is an hour off then neither ends an overlap early nor waits an hour too long.
"""

from datetime import datetime, timedelta

from django.utils import timezone

_ahead = timedelta(0)


def learn(database_now: datetime) -> None:
    """Take over how far the database's time is ahead of this machine's."""
    global _ahead
    _ahead = database_now - timezone.now()


def now() -> datetime:
    """Return the database's time, as far as this process knows it."""
    return timezone.now() + _ahead
