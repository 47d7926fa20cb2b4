"""When does a key end? Vendors and people write it in many ways; kept is the earliest UTC moment.

A date alone has ended when it begins, at midnight UTC; a time without zone is UTC; an offset counts.
"""

import contextlib
import re
from datetime import UTC, datetime

from keyvault.core.errors import BadInput

# Nothing ends later than this: beyond it, no zone's local time could be told.
FARTHEST = datetime(9000, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1, 1, 3, tzinfo=UTC)
# Week dates and bare digits are ISO too, and more often a slip than a wish.
_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")


def moment(text: str) -> datetime:
    """Return what an ISO date or time stands for, in UTC; ValueError when it is none."""
    plain = text.strip().upper()
    if not _WRITTEN.fullmatch(plain):
        raise ValueError("neither a date nor a time")
    written = datetime.fromisoformat(plain)
    aware = written if written.tzinfo else written.replace(tzinfo=UTC)
    with contextlib.suppress(OverflowError):
        return min(max(aware.astimezone(UTC), _EARLIEST), FARTHEST)
    # An offset may carry the first and the last day of the calendar out of it.
    return FARTHEST if written.year > 1 else _EARLIEST


def end_as_typed(text: str, now: datetime) -> datetime | None:
    """Return the end that a person gave for a key; None for an empty text, which means unknown.

    Raises BadInput for what is no date, and for one that is not after `now`.
    """
    if not text.strip():
        return None
    try:
        ends = moment(text)
    except ValueError:
        raise BadInput(
            (
                "The expiry is not a date or time. Nothing was stored. Write 2027-03-10, which ends at "
                "00:00 UTC of that day, or a time with its offset: 2027-03-10T18:00+01:00."
            ),
            code="bad_expiry",
        ) from None
    refuse_past(ends, now)
    return ends


def refuse_past(ends: datetime | None, now: datetime) -> None:
    """Raise BadInput when a key would have ended already: it cannot be in use."""
    if ends is not None and ends <= now:
        raise BadInput(
            (
                f"The expiry {ends:%Y-%m-%d %H:%M} UTC has passed: a date alone ends at 00:00 "
                "UTC of that day. Nothing was stored. Leave it out if it is not known."
            ),
            code="past_expiry",
        )
