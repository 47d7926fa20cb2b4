"""The end that a person gives for a key: read, and refused when it cannot be one."""

from datetime import datetime

from django.utils.translation import gettext as _

from keyvault.errors import BadInput
from keyvault.moments import moment


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
            _(
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
            _(
                "The expiry {ends:%Y-%m-%d %H:%M} UTC has passed: a date alone ends at 00:00 "
                "UTC of that day. Nothing was stored. Leave it out if it is not known."
            ).format(ends=ends),
            code="past_expiry",
        )
