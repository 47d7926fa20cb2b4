"""What the vendor's word on the old key's last use is worth, and whether the key is quiet by it.

The word counts only while it is calibrated: each check of ours is a use, so a vendor that says "never",
or names a time before our own accepted check, does not count this kind of use, counts it late, or
rounds it. Silence by such a word shows nothing. And our own checks are nobody's need of the key.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from keyvault.core import db_clock
from keyvault.vendors.base import VALID, Timing
from rotation.models import Rotation

# A time so far ahead is no difference between two clocks that are kept right.
_CLOCKS = timedelta(seconds=5)
# Beyond this a time that was noted before a call does not belong to the answer that was noted.
_LONGEST_CALL = timedelta(seconds=60)


@dataclass(frozen=True)
class Word:
    """The vendor's word, weighed.

    `why_not` says why it does not count; `others` is the last use since the switch that was not our
    own check; `since` is from when on there was none, `lasted` how much of that the vendor had time
    to tell, and `quiet` whether it is long enough.
    """

    counts: bool
    since: datetime
    why_not: str = ""
    others: datetime | None = None
    lasted: timedelta = timedelta()
    quiet: bool = False


def weigh(rotation: Rotation, last_used: datetime | None, timing: Timing) -> Word:
    """Weigh what the vendor says of the old key's last use; None is "never"."""
    others = _others(rotation, last_used, timing)
    starts = (rotation.published_at, rotation.quiet_from, others)
    since = max((one for one in starts if one), default=db_clock.now())
    why_not = _why_not(rotation, last_used, timing)
    # guard: a word that is not calibrated counts for nothing
    if why_not:
        return Word(False, since, why_not, others)
    period = max(1.0, rotation.quiet_seconds, 2 * timing.last_use_resolution_seconds)
    # guard: quiet with lag and resolution added
    lasted = db_clock.now() - since - blind(timing)
    return Word(True, since, "", others, lasted, lasted >= timedelta(seconds=period))


def blind(timing: Timing) -> timedelta:
    """Return for how long after a check of ours the vendor's word shows nobody else's use."""
    return timedelta(seconds=timing.last_use_resolution_seconds + timing.last_use_lag_seconds)


def own_check(rotation: Rotation) -> tuple[datetime, datetime] | None:
    """Return when the last check of the old key was sent and answered; None unless it was accepted."""
    old = rotation.old_version
    if old is None or old.checked_at is None or old.check_answer != VALID:
        return None
    sent = rotation.old_asked_at
    if sent is None or not timedelta(0) <= old.checked_at - sent <= _LONGEST_CALL:
        sent = old.checked_at
    return sent, old.checked_at


def _others(rotation: Rotation, last_used: datetime | None, timing: Timing) -> datetime | None:
    """Return the last use if it came after the switch and is not our own check."""
    if last_used is None or rotation.published_at is None or last_used <= rotation.published_at:
        return None
    own = own_check(rotation)
    near = timedelta(seconds=timing.last_use_resolution_seconds)
    ours = own is not None and last_used <= own[1] + near
    # guard: own checks are nobody's need
    return None if ours or _not_yet(last_used, timing) else last_used


def _not_yet(last_used: datetime, timing: Timing) -> bool:
    near = timedelta(seconds=timing.last_use_resolution_seconds)
    return last_used > db_clock.now() + near + _CLOCKS


def _why_not(rotation: Rotation, last_used: datetime | None, timing: Timing) -> str:
    own = own_check(rotation)
    if own is None:
        return "no check of ours that the vendor accepted is on record to compare it with"
    # guard: never is no word where we were accepted
    if last_used is None:
        return "it says “never”, although it accepted our own check"
    if last_used < own[0] - blind(timing):
        return f"it names {last_used:%Y-%m-%d %H:%M:%S} UTC, although it accepted our own check after that"
    if _not_yet(last_used, timing):
        return "it names a time that has not come yet"
    return ""
