"""Count tries in Postgres, in one statement each: fifty at once cannot slip through together.

Windows are fixed: the first try opens one, and it is over so many seconds later. Who
tries is kept as a keyed digest: what was typed may be a password in the wrong field.
"""

import ipaddress
from datetime import timedelta

from django.db import connection
from django.db.models import F
from django.utils import timezone

from keyvault.core.hashing import peppered
from keyvault.models.people import RateLimitCounter

_COUNT = """
    INSERT INTO keyvault_tally AS kept (what, who, began_at, count)
    VALUES (%(what)s, %(who)s, %(now)s, 1)
    ON CONFLICT (what, who) DO UPDATE SET
        count = CASE WHEN kept.began_at <= %(over)s THEN 1 ELSE kept.count + 1 END,
        began_at = CASE WHEN kept.began_at <= %(over)s THEN %(now)s ELSE kept.began_at END
    RETURNING count
"""


def count_attempt(what: str, who: str, seconds: int) -> int:
    """Count one more try and return how many there were in this window."""
    now = timezone.now()
    over = now - timedelta(seconds=seconds)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"what": what, "who": peppered(who), "now": now, "over": over})
        return int(cursor.fetchone()[0])


def subject_digest(who: str) -> str:
    """Return under which name somebody's tries are kept."""
    return peppered(who)


def return_attempt(what: str, who: str) -> None:
    """Take one counted try back: it turned out to be good."""
    RateLimitCounter.objects.filter(what=what, who=peppered(who), count__gt=0).update(
        count=F("count") - 1
    )


def clear_attempts(what: str, who: str) -> None:
    """Forget the tries of this one."""
    RateLimitCounter.objects.filter(what=what, who=peppered(who)).delete()


def network_of(source: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 that one IPv6 subscriber has."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return str(address)


def sweep() -> None:
    """Remove windows that are long over."""
    RateLimitCounter.objects.filter(began_at__lt=timezone.now() - timedelta(days=2)).delete()
