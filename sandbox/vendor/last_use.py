"""When the vendor says that a key was last used: as it is, or as vendors get it wrong.

An account's settings make it late (`last_use_lag`), coarse (`last_use_resolution`), told by a clock
that is behind (`last_use_behind`; all three in seconds), or never told at all (`last_use_shown` null).
"""

import bisect
from datetime import UTC, datetime

from sandbox.vendor.state import Account, Key, State, later, normal_time, now_text

EXACT, NULL = "exact", "null"


def shown(state: State, account: Account, key: Key) -> str | None:
    """Return the last use that the account's settings let be seen; None is shown as null."""
    used = _counted_by_now(state, account, key)
    if used is None or account.last_use_shown == NULL:
        return None
    return _rounded(later(used, -account.last_use_behind), account.last_use_resolution)


def _counted_by_now(state: State, account: Account, key: Key) -> str | None:
    """Return the last use that is old enough to have been counted."""
    latest = later(now_text(), -account.last_use_lag)
    if key.last_used_at is None or key.last_used_at <= latest:
        return key.last_used_at
    known = state.uses.get(key.id, [])
    place = bisect.bisect_right(known, latest)
    return known[place - 1] if place else None


def _rounded(time: str, seconds: float) -> str:
    """Return the time rounded down to a multiple of so many seconds since the epoch: 86400 is the day."""
    if not seconds:
        return time
    moment = datetime.fromisoformat(time).timestamp()
    return normal_time(datetime.fromtimestamp(moment - moment % seconds, UTC).isoformat())
