"""Put away a key that was retired: in the transaction in which its retirement ends."""

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import Permission, may
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.core.redaction import one_line
from keyvault.models import ApiKey, Member
from keyvault.models.approvals import ApprovalAction
from rotation import queue
from rotation.engine import lifecycle
from rotation.engine.actors import worker_actor
from rotation.human_tasks import close_tasks_about
from rotation.models import KeyCheckSchedule, Reason, Rotation, RotationPause, RotationPolicy


def archive(rotation: Rotation) -> None:
    """Hide the key, free its name, and let nothing plan, watch or remind of it any more."""
    actor, key = worker_actor(rotation), rotation.key
    ApiKey.objects.filter(pk=key.pk).update(archived_at=Now(), current=None)
    RotationPolicy.objects.filter(key=key).delete()
    KeyCheckSchedule.objects.filter(key=key).delete()
    RotationPause.objects.filter(key=key).delete()
    close_tasks_about(actor, key, "The key is retired.")
    record(Action.KEY_RETIRED, actor, key, reason=rotation.retire_reason)


_REASON_LEAST = 5


def may_retire(by: Member, key: ApiKey) -> bool:
    """Return whether `by` owns the key, or what it belongs to."""
    return may(by, Permission.MANAGE, key) or (by.is_active and key.member_id == by.pk)


def retire(by: Member, key: ApiKey, reason: str) -> Rotation:
    """Begin to retire a key; it can be cancelled until its end at the vendor is ordered.

    Raises Denied, BadInput without a reason, NeedsApproval, Conflict while a rotation of it is open.
    """
    if not may_retire(by, key):
        raise Denied("Only an owner of this key may retire it. Nothing was changed.")
    reason = one_line(reason.strip(), 500)
    if len(reason) < _REASON_LEAST:
        raise BadInput("Say in a few words why nobody needs it; it goes on record.")
    what = f"Retire {key}: {reason}"
    approvals.require(
        by, Asked(ApprovalAction.RETIRE, what, {"key": key.pk}, key=key, reason=reason)
    )
    try:
        with transaction.atomic():
            held = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
            if held.archived_at:
                raise Conflict(f"{key} is retired already. Nothing was changed.")
            rotation = lifecycle.create(key, Reason.MANUAL, by)
            Rotation.objects.filter(pk=rotation.pk).update(retire_reason=reason)
            record(Action.KEY_RETIRING, member_actor(by), key, reason=reason, rotation=rotation.pk)
    except IntegrityError:
        raise Conflict(f"A rotation of {key} is open: let it end, or cancel it first.") from None
    rotation.refresh_from_db()
    queue.nudge(rotation.pk)
    return rotation
