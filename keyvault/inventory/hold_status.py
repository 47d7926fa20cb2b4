"""Is this key on hold? Asked before anything of it is ended; the door to holds is rotation/engine/holds.py.

The database's own time decides, so that no process with a wrong clock ends a hold early.
"""

from collections.abc import Iterable, Sequence

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from keyvault.core.errors import Conflict
from keyvault.models import ApiKey
from keyvault.models.holds import KeyHold


class OnHold(Conflict):
    """A hold stands on the key: nothing was ended."""

    code = "on_hold"


def active_holds() -> QuerySet[KeyHold]:
    """Return the holds that stand now."""
    lasting = Q(ends_at__isnull=True) | Q(ends_at__gt=Now())
    return KeyHold.objects.filter(lasting, lifted_at__isnull=True)


def holds_on(key_id: int) -> list[KeyHold]:
    """Return the holds that stand on a key, the first one first."""
    return list(active_holds().filter(key=key_id).select_related("set_by").order_by("pk"))


def lock_holds_on(key_id: int) -> list[KeyHold]:
    """Return the holds on a key, in a transaction that lets nobody set another one before it ends.

    Only what is asked so may be followed by an intent to end something.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("on_locked must be called inside a transaction")
    # A statement of its own: one that waits for the lock and reads at once reads what was before.
    ApiKey.objects.select_for_update(no_key=True).filter(pk=key_id).values_list("pk").first()
    return holds_on(key_id)


def require_no_hold(key_id: int) -> None:
    """Raise OnHold while a hold stands on the key."""
    found = holds_on(key_id)
    if found:
        raise OnHold(describe_holds(found))


def describe_holds(holds: Sequence[KeyHold]) -> str:
    """Return in words which holds keep every version of a key, and until when."""
    each = "; ".join(_one(hold) for hold in holds[:5])
    more = f"; and {len(holds) - 5} more" if len(holds) > 5 else ""
    return f"On hold, so no version of it is ended or destroyed: {each}{more}."


def _one(hold: KeyHold) -> str:
    until = f"until {hold.ends_at:%Y-%m-%d %H:%M} UTC" if hold.ends_at else "until it is lifted"
    who = hold.set_by or "somebody who left"
    return f"“{hold.reason}” ({who}, since {hold.set_at:%Y-%m-%d}, {until})"


def is_on_hold() -> Exists:
    """Match the keys that are on hold, in a query over keys."""
    return Exists(active_holds().filter(key=OuterRef("pk")))


def held_among(key_ids: Iterable[int]) -> set[int]:
    """Return which of these keys are on hold, in one statement."""
    wanted = list(key_ids)
    if not wanted:
        return set()
    return set(active_holds().filter(key__in=wanted).values_list("key_id", flat=True))
