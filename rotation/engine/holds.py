"""What a rotation does while its key is on hold: it waits, says why, and asks nobody to end anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import Permission, holders, may, visible_keys
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.errors import BadInput, Conflict, Denied, NotFound
from keyvault.core.redaction import one_line
from keyvault.inventory import hold_status
from keyvault.models import ApiKey, KeyVersion, Member, VersionState
from keyvault.models.approvals import ApprovalAction
from keyvault.models.holds import KeyHold
from rotation import queue
from rotation.engine.actors import worker_actor
from rotation.engine.outcomes import Wait
from rotation.human_tasks import close_alert, close_tasks, open_alert
from rotation.models import HumanTask, Intent, Reason, Rotation, WaitingFor
from rotation.recovery import deletion_lock

_LOOK_AGAIN = 1800.0


def wait(rotation: Rotation) -> Wait | None:
    """Return the wait of a step that would end or destroy a version; None when no hold stands."""
    return _told(rotation, hold_status.holds_on(rotation.key_id))


def wait_locked(rotation: Rotation) -> Wait | None:
    """Return the same inside a transaction, in which no hold can be set before it ends."""
    return _told(rotation, hold_status.lock_holds_on(rotation.key_id))


def _told(rotation: Rotation, holds: Sequence[KeyHold]) -> Wait | None:
    about = f"leaked on hold:{rotation.key_id}"
    if not holds:
        if rotation.waiting_for == WaitingFor.HOLD and rotation.reason == Reason.LEAK:
            actor = worker_actor(rotation)
            close_alert(actor, HumanTask.Kind.FINDING, about, "The hold is over.")
        return None
    actor, text = worker_actor(rotation), hold_status.describe_holds(holds)
    # Nobody may go on being asked to delete what must be kept.
    # guard: hold's task is taken back
    close_tasks(actor, rotation, text, kinds=(HumanTask.Kind.DELETE,))
    if rotation.reason == Reason.LEAK:
        leaked = f"A secret of {rotation.key} leaked and lives on. {text} An owner can lift it."
        open_alert(actor, HumanTask.Kind.FINDING, about, leaked, key=rotation.key)
    ends = [hold.ends_at for hold in holds]
    left = max((one - db_clock.now()).total_seconds() if one else _LOOK_AGAIN for one in ends)
    return Wait(WaitingFor.HOLD, text, min(_LOOK_AGAIN, max(1.0, left)))


# How soon (seconds) a step looks again while deletions are locked.
_LOCKED_LOOK_AGAIN = 60.0
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
        raise BadInput("A hold ends in the future, or only when it is lifted. None was set.")
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
    if not hold_status.active_holds().filter(pk=hold.pk).exists():
        raise _over()
    alone = not holders(Permission.MANAGE, key).exclude(pk=by.pk).exists()
    what = f"Lift the hold on {key} (“{hold.reason}”): {reason}"
    parameters = {"hold": hold.pk, "why": reason}
    asked = Asked(ApprovalAction.HOLD, what, parameters, key=key, reason=reason, always=not alone)
    # guard: second person lifts a hold
    approvals.require(by, asked)
    with transaction.atomic():
        lifted = hold_status.active_holds().filter(pk=hold.pk)
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
        raise NotFound("There is no such hold, or it is not yours to see.")
    return found


def _look_now(key: ApiKey) -> None:
    """Have an open rotation see what changed; if this is lost, it looks again by itself."""
    rotation = queue.open_rotation(key)
    if rotation:
        queue.look_now(rotation)


def _over() -> Conflict:
    return Conflict("This hold is over already. Nothing was changed.")


def _require_owner_of(by: Member, key: ApiKey) -> None:
    if not may(by, Permission.MANAGE, key):
        raise Denied("Only an owner of this key may set or lift a hold. Nothing was changed.")


def _require_reason(reason: str) -> str:
    if len(reason.strip()) < _REASON_LEAST:
        raise BadInput("Say in a few words why; it goes on record. Nothing was changed.")
    return reason.strip()


def wait_for_deletions() -> Wait | None:
    """Return the wait of a step that would delete something while deleting is frozen."""
    frozen = deletion_lock.lock_reason()
    if not frozen:
        return None
    text = f"Nothing is deleted for now. {frozen} Run `manage.py reconcilekeys`."
    return Wait(WaitingFor.RECONCILE, text, _LOCKED_LOOK_AGAIN)
