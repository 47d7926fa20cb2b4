"""The door to holds on keys: an owner sets one with a reason, and lifts it with a second person.

While one stands, no version of the key is ended or destroyed by any door; rotations go on up to the
switch and wait there. What was ended before cannot be brought back, and whoever sets one is told so.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from keyvault import approvals, kept
from keyvault.approval_models import Act
from keyvault.approvals import Asked
from keyvault.audit.log import member_actor, record
from keyvault.audit.models import Action
from keyvault.errors import BadInput, Conflict, Denied, NotFound
from keyvault.hold_models import KeyHold
from keyvault.models import ApiKey, KeyVersion, Member, VersionState
from keyvault.permissions import Verb, holders, may, visible_keys
from keyvault.redaction import one_line
from rotation import workflow
from rotation.models import Intent

_REASON_LEAST = 5


@dataclass(frozen=True)
class Placed:
    """A hold that was set, and the versions of which it came too late or may have come too late."""

    hold: KeyHold
    late: list[KeyVersion]


def place(by: Member, key: ApiKey, reason: str, ends_at: datetime | None = None) -> Placed:
    """Keep every version of a key alive, until `ends_at` or until the hold is lifted.

    Several may stand at once. Raises Denied, and BadInput without a reason or for a past end.
    """
    _require_owner_of(by, key)
    reason = one_line(_require_reason(reason), 500)
    if ends_at is not None and ends_at <= timezone.now():
        raise BadInput(_("A hold ends in the future, or only when it is lifted. None was set."))
    with transaction.atomic():
        # Whoever commits an intent to end a version holds the same lock, and looks for holds under it.
        ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
        hold = KeyHold.objects.create(key=key, reason=reason, set_by=by, ends_at=ends_at)
        late = _ending(key)
        record(
            Action.HOLD_SET,
            member_actor(by),
            key,
            hold=hold.pk,
            reason=reason,
            ends_at=ends_at.isoformat(timespec="minutes") if ends_at else "",
            late=[version.number for version in late],
        )
    _look_now(key)
    return Placed(hold, late)


def _ending(key: ApiKey) -> list[KeyVersion]:
    """Return the versions that are being ended: the vendor's call may be under way, or was made."""
    begun = Intent.objects.filter(
        rotation__key=key, kind__in=(Intent.Kind.DELETE, Intent.Kind.SWAP)
    ).exclude(state=Intent.State.ABANDONED)
    gone = (VersionState.DELETED, VersionState.DISCARDED)
    found = KeyVersion.objects.filter(key=key, pk__in=begun.values("version"))
    return list(found.exclude(state__in=gone).order_by("number"))


def lift(by: Member, hold: KeyHold, reason: str) -> None:
    """End a hold before its time, once a second person agreed, where there is one who could.

    What waited for it goes on. Raises Denied, BadInput, NeedsApproval, Conflict when it is over.
    """
    key = hold.key
    _require_owner_of(by, key)
    reason = one_line(_require_reason(reason), 500)
    if not kept.standing().filter(pk=hold.pk).exists():
        raise _over()
    alone = not holders(Verb.MANAGE, key).exclude(pk=by.pk).exists()
    what = f"Lift the hold on {key} (“{hold.reason}”): {reason}"
    parameters = {"hold": hold.pk, "why": reason}
    asked = Asked(Act.HOLD, what, parameters, key=key, reason=reason, always=not alone)
    approvals.require(by, asked)
    with transaction.atomic():
        lifted = kept.standing().filter(pk=hold.pk)
        if not lifted.update(lifted_at=timezone.now(), lifted_by=by, lifted_why=reason):
            raise _over()
        record(Action.HOLD_LIFTED, member_actor(by), key, hold=hold.pk, reason=reason, alone=alone)
    _look_now(key)


def visible_holds(by: Member) -> QuerySet[KeyHold]:
    """Return all holds, past ones too, on the keys that `by` may see."""
    found = KeyHold.objects.filter(key__in=visible_keys(by, archived=True).order_by().values("pk"))
    return found.select_related("key__account", "key__environment", "set_by", "lifted_by")


def get_hold(by: Member, hold_id: int) -> KeyHold:
    """Return a hold that `by` may know of; NotFound alike for unknown and foreign ones."""
    found = visible_holds(by).filter(pk=hold_id).first()
    if found is None:
        raise NotFound(_("There is no such hold, or it is not yours to see."))
    return found


def _look_now(key: ApiKey) -> None:
    """Have an open rotation see what changed; if this is lost, it looks again by itself."""
    rotation = workflow.open_rotation(key)
    if rotation:
        workflow.look_now(rotation)


def _over() -> Conflict:
    return Conflict(_("This hold is over already. Nothing was changed."))


def _require_owner_of(by: Member, key: ApiKey) -> None:
    if not may(by, Verb.MANAGE, key):
        raise Denied(_("Only an owner of this key may set or lift a hold. Nothing was changed."))


def _require_reason(reason: str) -> str:
    if len(reason.strip()) < _REASON_LEAST:
        raise BadInput(_("Say in a few words why; it goes on record. Nothing was changed."))
    return reason.strip()
