"""Roll back: give consumers the old version again, end the new one, and end the rotation."""

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.failpoints import reached
from keyvault.inventory import versions
from keyvault.inventory.vendor_gateway import check_secret
from keyvault.models import KeyVersion, VersionState
from keyvault.vendors.base import REFUSED
from rotation.consumers import webhooks
from rotation.engine import holds
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim
from rotation.engine.outcomes import Move, Outcome, Park
from rotation.engine.steps import create_key, id_proof, lost_secret
from rotation.engine.steps.delete_old_key import (
    begin_delete,
    delete_intent,
    destroy,
    end_at_vendor,
    held_back,
)
from rotation.human_tasks import close_tasks
from rotation.models import HumanTask, Step


def roll_back(claim: Claim) -> Outcome:
    """Give consumers the old version again, end the new key, and end the rotation."""
    rotation = claim.rotation
    intent = create_key.open_intent(rotation)
    if intent:
        return create_key.recover(claim, intent)
    new = rotation.new_version
    if new and rotation.key.current_id == new.pk:
        # guard: rotation without a key ends
        trouble = lost_secret.nothing_to_restore(claim, new) or _restore(claim, new)
        if trouble:
            return trouble
    # guard: freeze in roll back
    frozen = holds.wait_for_deletions() if new else None
    if frozen:
        id_proof.let_go(claim, new)
        return frozen  # the pointer is back; only ending the new key has to wait
    if new and new.state in (VersionState.PENDING, VersionState.PREVIOUS):
        # guard: holders of the lost key waited for
        trouble = lost_secret.wait_for_holders(claim, new) or _undo_new(claim, new)
        if trouble:
            return trouble
    if new and new.state == VersionState.DISCARDED and new.destroyed_at is None:
        held = destroy(rotation, new)
        if held:
            return held
    end = Step.CANCELLED if rotation.cancelling else Step.FAILED
    return Move(end, rotation.last_error or "Cancelled.")


def _restore(claim: Claim, new: KeyVersion) -> Outcome | None:
    rotation, old = claim.rotation, claim.rotation.old_version
    if old is None:
        return Park(
            "The new key is refused and there is no older one. Rotate again with a new key."
        )
    verdict = check_secret(rotation.key.account, versions.read_secret(old))
    claim.note_check(old, verdict)
    if verdict.answer == REFUSED:
        return Park(
            f"The vendor refuses the new key and the old one too ({verdict.text}). "
            "Add a working key by hand."
        )
    reached("restore.before")
    with claim.transaction():
        versions.restore(old, new)
        webhooks.enqueue(rotation.key, old)
        record(Action.VERSION_RESTORED, worker_actor(rotation), old, reason=rotation.last_error)
    reached("restore.after")
    return None


def _undo_new(claim: Claim, new: KeyVersion) -> Outcome | None:
    """End the unused new key; a standby that still works goes back into reserve instead."""
    rotation = claim.rotation
    if new.source == "pasted" and rotation.cancelling and new.state == VersionState.PENDING:
        with claim.transaction():
            versions.give_back_standby(new)
            claim.write(new_version=None)
        return Move(Step.CANCELLED, "Cancelled; the new key is kept as a standby.")
    intent = delete_intent(rotation, new)
    held = held_back(claim, new, intent)
    if held:
        return held
    if intent is None:
        with claim.transaction():
            held = holds.wait_locked(rotation)
            if held:
                return held
            intent = begin_delete(claim, new)
    trouble = end_at_vendor(claim, new, intent)
    if trouble:
        return trouble
    with claim.transaction():
        versions.discard_version(new)
        close_tasks(
            worker_actor(rotation),
            rotation,
            "The vendor refuses the key.",
            kinds=(HumanTask.Kind.DELETE,),
        )
        record(Action.VERSION_DISCARDED, worker_actor(rotation), new, reason=rotation.last_error)
    return None
