"""The door to pauses: no rotation starts by itself while one lasts; what runs goes on to its end."""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from keyvault.access.permissions import Permission, may, require_owner, visible_keys
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied, NotFound
from keyvault.models import ApiKey, Member, VendorAccount
from rotation.models import RotationPause

_REASON_LEAST = 5
LONGEST = timedelta(days=90)


def pause(
    by: Member,
    *,
    key: ApiKey | None = None,
    account: VendorAccount | None = None,
    reason: str,
    ends_at: datetime,
) -> RotationPause:
    """Pause a key, an account, or everything; a longer or shorter pause replaces the one there is.

    Raises Denied, BadInput without a reason or for an end that is past or beyond 90 days.
    """
    _require_right(by, key)
    if len(reason.strip()) < _REASON_LEAST:
        raise BadInput("Say in a few words why nothing may rotate; others will ask.")
    if not timezone.now() < ends_at <= timezone.now() + LONGEST:
        raise BadInput(f"A pause ends in the future, within {LONGEST.days} days: keys grow old.")
    try:
        with transaction.atomic():
            made, _new = RotationPause.objects.update_or_create(
                key=key,
                account=account,
                defaults={"reason": reason.strip()[:300], "ends_at": ends_at, "paused_by": by},
            )
            ends = ends_at.isoformat(timespec="minutes")
            record(Action.PAUSE_CHANGED, member_actor(by), made, reason=reason, ends_at=ends)
    except IntegrityError:
        raise Conflict("Somebody paused the same at this moment. Look again.") from None
    return made


def resume(by: Member, found: RotationPause) -> None:
    """End a pause; what became due meanwhile starts with the next ticks, never in a storm."""
    _require_right(by, found.key)
    with transaction.atomic():
        record(Action.PAUSE_CHANGED, member_actor(by), found, ended=True)
        if not RotationPause.objects.filter(pk=found.pk).delete()[0]:
            raise Conflict("This pause has ended already.")


def visible_pauses(by: Member) -> QuerySet[RotationPause]:
    """Return the pauses that last, and that `by` may know of: of visible keys, accounts, and all."""
    seen = Q(key__isnull=True) | Q(key__in=visible_keys(by))
    lasting = RotationPause.objects.filter(seen, ends_at__gt=timezone.now())
    return lasting.select_related("key__account", "key__environment", "account", "paused_by")


def get_pause(by: Member, pause_id: int) -> RotationPause:
    """Return a pause that `by` may know of; NotFound alike for unknown and foreign ones."""
    found = visible_pauses(by).filter(pk=pause_id).first()
    if found is None:
        raise NotFound("There is no such pause, or it is not yours to see.")
    return found


def lasting_on_key(key: ApiKey) -> QuerySet[RotationPause]:
    """Return the pauses that keep this key from rotating by itself: its own, and wider ones."""
    about = Q(key=key) | Q(account=key.account_id) | Q(key=None, account=None)
    lasting = RotationPause.objects.filter(about, ends_at__gt=timezone.now())
    return lasting.select_related("account", "paused_by")


def _require_right(by: Member, key: ApiKey | None) -> None:
    if key is None:
        require_owner(by, "pause an account or everything")
    elif not may(by, Permission.ROTATE, key):
        raise Denied("Your role does not let you pause this key.")
