"""Is there room for one more key at the vendor? Our own left-overs go; what we do not know stays.

A vendor may hold few keys of an account, and old and new must live side by side. Looked at before the
create where the limit is known, and after it where the vendor says that it is full.
"""

from django.db.models import F
from django.db.models.functions import Now

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.failpoints import reached
from keyvault.core.redaction import one_line
from keyvault.inventory import hold_status
from keyvault.inventory.vendor_gateway import provider_of, vendor_account
from keyvault.models import LIVE_STATES, PROVEN_LINKS, KeyVersion, VendorAccount, VersionState
from keyvault.vendors.base import ListedKey
from rotation.engine import holds
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim
from rotation.engine.outcomes import Outcome, Park, Wait
from rotation.engine.steps.create_key import delete_strays
from rotation.models import OPEN_STEPS, Intent, Rotation, WaitingFor

_MOST_NAMED = 25
_LOOK_AGAIN = 15.0
_STUCK = (WaitingFor.PERSON, WaitingFor.DELETION, WaitingFor.RECONCILE, WaitingFor.HOLD)


def look(claim: Claim) -> Outcome | None:
    """Return what is waited for when a known limit is reached; None when a key may be made.

    Raises VendorError when the vendor does not list its keys.
    """
    account = claim.rotation.key.account
    provider = provider_of(account)
    where = vendor_account(account, manage=True)
    limit = provider.limit_of(where)
    if limit is None or not provider.can_list:
        return None
    listed = provider.list_all(where)
    return None if len(listed) < limit else _make(claim, listed, limit)


def when_full(claim: Claim) -> Outcome:
    """Return what is waited for now that the vendor has said that it is full."""
    account = claim.rotation.key.account
    provider = provider_of(account)
    if not provider.can_list:
        return Park(f"{_full(None)} Delete one there that nobody needs; this goes on by itself.")
    where = vendor_account(account, manage=True)
    freed = Wait(WaitingFor.VENDOR, "Left-over keys of ours were deleted.", 0.0)
    return _make(claim, provider.list_all(where), provider.limit_of(where)) or freed


def _make(claim: Claim, listed: list[ListedKey], limit: int | None) -> Outcome | None:
    """Delete what is left over of ours; None when that makes room, else what is waited for."""
    account = claim.rotation.key.account
    over = any(_left_over(account, listed))
    # guard: no left-over is deleted while frozen
    frozen = holds.wait_for_deletions() if over else None
    if frozen:
        return frozen
    removed = _remove(claim, listed) if over else 0
    if removed and (limit is None or len(listed) - removed < limit):
        return None
    return _others(claim.rotation, limit) or _ask(account, listed, limit)


def _left_over(
    account: VendorAccount, listed: list[ListedKey]
) -> tuple[list[Intent], list[KeyVersion]]:
    """Return what of the list is ours and over: strays of settled calls, and dead keys of ours.

    A dead key is one that the vendor was seen to refuse, and that it lists as disabled under an id
    that is proven to be this secret's: by another one somebody else's key would go.
    """
    known = KeyVersion.objects.filter(key__account=account)
    # guard: only settled calls leave orphans
    strays = Intent.objects.filter(
        kind=Intent.Kind.CREATE,
        state=Intent.State.ABANDONED,
        rotation__key__account=account,
        label__in=[key.label for key in listed if key.label],
    ).exclude(label__in=known.exclude(label="").values("label"))
    # guard: no room is made by an id that is not proven
    # guard: only dead keys of ours make room
    dead = known.filter(
        state__in=(VersionState.DELETED, VersionState.DISCARDED),
        refused_at__isnull=False,
        link__in=PROVEN_LINKS,
        vendor_id__in=[key.vendor_id for key in listed if key.disabled],
    ).exclude(vendor_id__in=known.filter(state__in=LIVE_STATES).values("vendor_id"))
    # A hold keeps the vendor's record of a dead key as well.
    dead = dead.exclude(key__in=hold_status.active_holds().values("key"))
    return list(strays.select_related("rotation__key__account")), list(dead)


def _remove(claim: Claim, listed: list[ListedKey]) -> int:
    """Delete what is left over of ours, and return how many keys that were."""
    rotation = claim.rotation
    strays, dead = _left_over(rotation.key.account, listed)
    removed = sum(delete_strays(intent) for intent in strays)
    provider = provider_of(rotation.key.account)
    if not (dead and provider.can_delete):
        return removed
    where = vendor_account(rotation.key.account, manage=True)
    for version in dead:
        reached("left_over.before")
        provider.delete(where, version.vendor_id)
        record(
            Action.VENDOR_KEY_DELETED,
            worker_actor(rotation),
            version,
            vendor_id=version.vendor_id,
            reason="Refused long since, and still in the vendor's list: it took up room.",
        )
    return removed + len(dead)


def _others(rotation: Rotation, limit: int | None) -> Outcome | None:
    """Wait for other rotations of the account, which end keys by their own proofs."""
    others = Rotation.objects.filter(
        key__account=rotation.key.account, step__in=OPEN_STEPS, new_version__isnull=False
    ).exclude(pk=rotation.pk)
    ending = list(others.select_related("key__account", "key__environment").order_by("pk")[:5])
    if not ending:
        return None
    names = ", ".join(f"{other.key} (rotation {other.pk})" for other in ending)
    if all(other.waiting_for in _STUCK for other in ending):
        return Park(
            f"{_full(limit)} What would free a place waits for a person: {names}. See its task."
        )
    if rotation.waiting_for != WaitingFor.TURN:
        # Once, so that a pause of theirs is not ours as well; their own back-off stays otherwise.
        ids = [other.pk for other in ending]
        Rotation.objects.filter(pk__in=ids, due_at__isnull=False).update(
            due_at=Now(), wake=F("wake") + 1
        )
    return Wait(WaitingFor.TURN, f"{_full(limit)} It waits for {names} to end a key.", _LOOK_AGAIN)


def _ask(account: VendorAccount, listed: list[ListedKey], limit: int | None) -> Park:
    """Name to a person what takes up the room; nothing of it is touched."""
    unknown = unknown_of(account, listed)
    if not unknown:
        return Park(
            f"{_full(limit)} Every one is in use here, so old and new key cannot overlap. Have the "
            "limit raised; or delete the old key at the vendor yourself: applications are refused "
            "from then until they have the new one, which is made at once when you choose “Try again”."
        )
    named = "; ".join(_named(key) for key in unknown[:_MOST_NAMED])
    more = f"; and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
    return Park(
        f"{_full(limit)} Delete there what nobody needs, or have the limit raised; it goes on by "
        f"itself. Not known here, and left alone: {named}{more}."
    )


def unknown_of(account: VendorAccount, listed: list[ListedKey]) -> list[ListedKey]:
    """Return the keys that are neither live versions of ours nor just being made."""
    live = KeyVersion.objects.filter(
        state__in=LIVE_STATES, key__account__provider=account.provider
    ).values_list("vendor_id", flat=True)
    ids = set(live.filter(vendor_id__in=[key.vendor_id for key in listed]))
    making = set(
        Intent.objects.filter(
            kind=Intent.Kind.CREATE, state=Intent.State.OPEN, label__in=[k.label for k in listed]
        ).values_list("label", flat=True)
    )
    return [key for key in listed if key.vendor_id not in ids and key.label not in making]


def _named(key: ListedKey) -> str:
    made = f"made {key.created_at:%Y-%m-%d}" if key.created_at else "made at an unknown time"
    used = (
        f"last used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "no use known"
    )
    return f"{one_line(key.vendor_id, 60)} “{one_line(key.label, 40)}” ({made}, {used})"


def _full(limit: int | None) -> str:
    number = f"{limit} key{'' if limit == 1 else 's'}" if limit else "no further key"
    return f"The vendor allows {number} in this account, and there is no room for a new one."
