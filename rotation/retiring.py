"""The door for keys that nobody needs any more: retired with proofs, then archived under their name.

An archived key is in no list unless asked for; its name may be used again. What happened stays.
"""

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from keyvault import approvals
from keyvault.approval_models import Act
from keyvault.approvals import Asked
from keyvault.audit.log import member_actor, record
from keyvault.audit.models import Action
from keyvault.errors import BadInput, Conflict, Denied
from keyvault.models import ApiKey, Member
from keyvault.permissions import Verb, may
from keyvault.redaction import one_line
from rotation import workflow
from rotation.models import Reason, Rotation

_REASON_LEAST = 5


def may_retire(by: Member, key: ApiKey) -> bool:
    """Return whether `by` owns the key, or what it belongs to."""
    return may(by, Verb.MANAGE, key) or (by.is_active and key.member_id == by.pk)


def retire(by: Member, key: ApiKey, reason: str) -> Rotation:
    """Begin to retire a key; it can be cancelled until its end at the vendor is ordered.

    Raises Denied, BadInput without a reason, NeedsApproval, Conflict while a rotation of it is open.
    """
    if not may_retire(by, key):
        raise Denied(_("Only an owner of this key may retire it. Nothing was changed."))
    reason = one_line(reason.strip(), 500)
    if len(reason) < _REASON_LEAST:
        raise BadInput(_("Say in a few words why nobody needs it; it goes on record."))
    what = f"Retire {key}: {reason}"
    approvals.require(by, Asked(Act.RETIRE, what, {"key": key.pk}, key=key, reason=reason))
    try:
        with transaction.atomic():
            held = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
            if held.archived_at:
                raise Conflict(_("{key} is retired already. Nothing was changed.").format(key=key))
            rotation = workflow.create(key, Reason.MANUAL, by)
            Rotation.objects.filter(pk=rotation.pk).update(retire_reason=reason)
            record(Action.KEY_RETIRING, member_actor(by), key, reason=reason, rotation=rotation.pk)
    except IntegrityError:
        raise Conflict(
            _("A rotation of {key} is open: let it end, or cancel it first.").format(key=key)
        ) from None
    rotation.refresh_from_db()
    workflow.nudge(rotation.pk)
    return rotation
