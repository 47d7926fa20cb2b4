"""Roll back: give consumers the old version again, end the new one, and end the rotation."""

from keyvault import versions
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.models import KeyVersion, VersionState
from rotation import freezing, on_hold, outbox
from rotation.actors import worker_actor
from rotation.checking import check_secret
from rotation.claims import Claim
from rotation.crashpoints import reached
from rotation.human_tasks import close_tasks
from rotation.models import HumanTask, Step
from rotation.outcomes import Move, Outcome, Park
from rotation.providers.base import REFUSED
from rotation.steps import creation, linking, lost
from rotation.steps.retire import begin_delete, delete_intent, destroy, end_at_vendor, held_back


def roll_back(claim: Claim) -> Outcome:
    """Give consumers the old version again, end the new key, and end the rotation."""
    rotation = claim.rotation
    intent = creation.open_intent(rotation)
    if intent:
        return creation.recover(claim, intent)
    new = rotation.new_version
    if new and rotation.key.current_id == new.pk:
        trouble = lost.nothing_to_restore(claim, new) or _restore(claim, new)
        if trouble:
            return trouble
    frozen = freezing.hold() if new else None
    if frozen:
        linking.let_go(claim, new)
        return frozen  # the pointer is back; only ending the new key has to wait
    if new and new.state in (VersionState.PENDING, VersionState.PREVIOUS):
        trouble = lost.wait_for_holders(claim, new) or _undo_new(claim, new)
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
        outbox.enqueue(rotation.key, old)
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
            held = on_hold.wait_locked(rotation)
            if held:
                return held
            intent = begin_delete(claim, new)
    trouble = end_at_vendor(claim, new, intent)
    if trouble:
        return trouble
    with claim.transaction():
        versions.discard(new)
        close_tasks(
            worker_actor(rotation),
            rotation,
            "The vendor refuses the key.",
            kinds=(HumanTask.Kind.DELETE,),
        )
        record(Action.VERSION_DISCARDED, worker_actor(rotation), new, reason=rotation.last_error)
    return None
