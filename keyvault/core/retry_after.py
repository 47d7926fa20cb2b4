"""How long a server asks us to wait: the header Retry-After, as seconds or as a date (RFC 9110)."""

import time
from email.utils import parsedate_to_datetime

_MOST_DIGITS = 12


def seconds(header: str) -> float | None:
    """Return the wait in seconds that the header's text asks for; None for anything else."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_MOST_DIGITS])  # a longer number is a long wait in any case
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
