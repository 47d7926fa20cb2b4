"""Delete: end the old key at the vendor once the new one is verified and adopted, and prove it refused.

Nothing is deleted on a "cannot tell".
"""

from datetime import timedelta

from django.db.models import QuerySet

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.failpoints import reached
from keyvault.core.secret import Secret
from keyvault.inventory import hold_status, versions
from keyvault.inventory.vendor_gateway import check_secret, provider_of, timing_of, vendor_account
from keyvault.models import LIVE_STATES, ApiKey, KeyVersion, Link, VersionState
from keyvault.vault import secret_store
from keyvault.vendors.base import CANNOT_TELL, REFUSED, UNSENDABLE, VALID, CheckResult
from rotation.consumers import holders
from rotation.engine import holds
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim, ClaimLost
from rotation.engine.outcomes import GiveUp, Move, Outcome, Park, Retry, Wait
from rotation.engine.steps import account_identity, id_proof, lost_secret
from rotation.engine.steps.verify import check_new, wait_for_adoption, weigh
from rotation.human_tasks import close_tasks, open_task
from rotation.models import TASK_TEXT, HumanTask, Intent, Rotation, Step, WaitingFor
from rotation.recovery import deletion_lock

_MANUAL_POLL, _LONGEST_POLL = 15.0, 900.0
_DELETED = "The vendor deleted the key."
# Also what another account's credential is told: the refusal of the secret alone proves the end.
_NOT_THERE = "The vendor said that it has no such key."
_ENDED = "The vendor refuses the secret."


def delete(claim: Claim) -> Outcome:
    """End the old key at the vendor and destroy its secret, once it is proven to be refused."""
    rotation, old = claim.rotation, claim.rotation.old_version
    if old is None:
        return Move(Step.DONE, "There was no old key to delete.")
    frozen = holds.wait_for_deletions()
    # guard: a freeze enables what was disabled for a proof
    # guard: freeze before delete
    if frozen:
        id_proof.let_go(claim, old)
        return frozen
    if old.state == VersionState.PREVIOUS:
        begun = delete_intent(rotation, old)
        back = lost_secret.way_back_from_delete(claim, begun)
        # guard: Vault looked at before a person deletes
        if back:
            return back
        held = held_back(claim, old, begun)
        if held:
            # For however long it waits: as long as the old key lives, it is the way back.
            return (None if begun else check_new(claim)) or held
        intent = begun or _permit(claim, old)
        trouble = end_at_vendor(claim, old, intent) if isinstance(intent, Intent) else intent
        if trouble:
            return trouble
        record_end(claim, old)
    held = None if old.destroyed_at else destroy(rotation, old)
    return held or Move(Step.DONE, f"The vendor refuses the old key since {_refused_at(old)}.")


def held_back(claim: Claim, version: KeyVersion, intent: Intent | None) -> Outcome | None:
    """Return the wait for a hold, with what was disabled on the way enabled; None where it is over."""
    if intent and intent.state != Intent.State.OPEN:
        return None
    # guard: hold at the delete step
    held = holds.wait(claim.rotation)
    if held:
        id_proof.let_go(claim, version, proven=True)
    return held


def _permit(claim: Claim, old: KeyVersion) -> Intent | Outcome:
    """Look at every precondition anew, then commit the intent to delete under the same lock."""
    rotation = claim.rotation
    trouble = check_new(claim)
    # guard: delete preconditions
    if trouble:
        return trouble  # also the way back: until the intent commits, the old key lives
    adoption = weigh(claim)
    if not adoption.done:
        return wait_for_adoption(rotation, adoption)
    reached("delete_intent.before")
    with claim.transaction():
        locked = ApiKey.objects.select_for_update().filter(pk=rotation.key_id)
        current = locked.values_list("current_id", flat=True)[0]
        # guard: current version under lock
        if current != rotation.new_version_id or current == old.pk:
            return Park("The key's current version changed: the old key is left alone.")
        # guard: hold under the lock of the intent to delete
        held = holds.wait_locked(rotation)
        if held:
            return held
        intent = begin_delete(claim, old)
    reached("delete_intent.after")
    return intent


def delete_intent(rotation: Rotation, version: KeyVersion) -> Intent | None:
    """Return what was committed before this version was to be ended, if it was."""
    return rotation.intents.filter(kind=Intent.Kind.DELETE, version=version).first()


def begin_delete(claim: Claim, version: KeyVersion) -> Intent:
    """Insert the intent in a transaction of the claim, which alone makes them: one cannot be there."""
    return Intent.objects.create(
        rotation=claim.rotation,
        kind=Intent.Kind.DELETE,
        version=version,
        fence=claim.fence,
        vendor_id=version.vendor_id,
        label=version.label,
    )


def end_at_vendor(claim: Claim, version: KeyVersion, intent: Intent) -> Outcome | None:
    """Delete the version's key at the vendor and prove it; None once it is steadily refused."""
    manager = account_identity.manages(version)
    # guard: a management credential is not ended as an old key
    if manager and intent.state == Intent.State.OPEN and not intent.disabling_at:
        return Park(account_identity.own_credential(manager))
    rotation, by_program = claim.rotation, _by_program(claim.rotation, version)
    # guard: no delete by an id that is not proven
    if intent.state == Intent.State.OPEN and by_program and version.is_linked:
        _delete_by_program(claim, intent, version)
    elif intent.disabling_at and not intent.disabled_at:
        return id_proof.disable(claim, version, intent)  # the answer to the first call was lost
    asked = _ask_about(claim, version)
    if asked is None:
        return _gone_without_proof(claim, version)
    secret, verdict = asked
    # guard: a dead secret proves no id
    if by_program and not version.is_linked and (intent.disabling_at or verdict.answer != REFUSED):
        trouble = _prove_id(claim, version, intent, secret, verdict)
        if trouble:
            return trouble
        by_program = False
    # guard: proof of refusal
    if verdict.answer == REFUSED:
        return _count_refusal(claim, version)
    if rotation.bad_answers:
        claim.note(bad_answers=0)
    if by_program:
        return _not_refused(rotation, version, verdict)
    return _by_hand(claim, intent, version, verdict)


def _not_refused(rotation: Rotation, version: KeyVersion, verdict: CheckResult) -> Outcome:
    if verdict.answer == CANNOT_TELL:
        return Retry(WaitingFor.VENDOR, verdict.text, verdict.retry_after)
    return _still_accepted(rotation, delete_intent(rotation, version))


def _prove_id(
    claim: Claim, version: KeyVersion, intent: Intent, secret: Secret, verdict: CheckResult
) -> Outcome | None:
    if not intent.disabling_at:
        _require_readable(claim.rotation, version)
    return id_proof.record_link(claim, version, intent, secret, verdict)


def _ask_about(claim: Claim, version: KeyVersion) -> tuple[Secret, CheckResult] | None:
    """Return the old secret and what the vendor says of it; None when nobody can ask.

    Vault may have lost it, or hold one that cannot be sent: then nobody can use it either. Raises
    SecretChanged if Vault holds another secret than the one on record.
    """
    reached("refused.before")
    try:
        secret = versions.read_secret(version)
    except versions.LOST as gone:
        if isinstance(gone, versions.SecretChanged) and not lost_secret.is_new(claim, version):
            id_proof.let_go(claim, version)
            raise
        return None
    verdict = check_secret(claim.rotation.key.account, secret)
    claim.note_check(version, verdict)
    reached("refused.after")
    return None if verdict.code == UNSENDABLE else (secret, verdict)


def _by_hand(claim: Claim, intent: Intent, version: KeyVersion, verdict: CheckResult) -> Outcome:
    """Have a person end the key, and take the way back where they ended the wrong one."""
    # guard: the wrong key deleted by hand
    if verdict.answer == VALID and _wrong_one_deleted(claim, intent, version):
        return GiveUp(
            "The new key is refused while the old one still works: the wrong one was deleted at "
            "the vendor. Applications get the old key again."
        )
    if version.link == Link.REFUTED:
        return id_proof.refuted(version)
    return _ask_person(claim.rotation, version, verdict.answer)


def _gone_without_proof(claim: Claim, version: KeyVersion) -> Outcome | None:
    """Settle a deletion whose record was lost after the secret was destroyed, as by a failover.

    The refusal cannot be seen any more; that the vendor's whole list lacks the key is proof as good.
    """
    rotation, account = claim.rotation, claim.rotation.key.account
    if not (_by_program(rotation, version) and provider_of(account).can_list):
        return _unseen(claim, version)
    listed = provider_of(account).list_all(vendor_account(account, manage=True))
    new = rotation.new_version
    other = rotation.old_version if new and new.pk == version.pk else new
    there = {key.vendor_id for key in listed}
    if (version.is_linked and version.vendor_id in there) or (
        other and other.vendor_id not in there
    ):
        return Retry(WaitingFor.VENDOR, "The vendor's list still has the old key, or is not whole.")
    # guard: no end by a list that names a key nobody knows
    # guard: no end of a retired key by an id that is not proven
    if not version.is_linked and not (other and _all_are_others(version, there)):
        return _unseen(claim, version)
    intent = delete_intent(rotation, version)
    # guard: no end of a proven id by a list without a key of ours
    if not (_others(version, there) or (intent and intent.outcome == _DELETED)):
        return _unseen(claim, version)
    versions.note_refused(version, db_clock.now())
    return None


def _unseen(claim: Claim, version: KeyVersion) -> Outcome | None:
    """Leave a key whose end nobody can see to a person."""
    id_proof.let_go(claim, version)
    if lost_secret.end_unproven(claim, version):
        return None
    return Park(
        "The old secret is gone from Vault, so nobody can see whether the vendor refuses it. "
        "Look there, delete the key if it is still listed, and choose “Try again”."
    )


def _all_are_others(version: KeyVersion, there: set[str]) -> bool:
    """Return whether each key of the vendor's whole list is another one on record.

    The version's own id is a person's word, so that this id is not listed would show nothing.
    """
    return there == _others(version, there)


def _others(version: KeyVersion, there: set[str]) -> set[str]:
    """Return the ids among these of our other live keys: they tell whose list it is."""
    others = KeyVersion.objects.filter(
        key__account=version.key.account_id, state__in=LIVE_STATES, vendor_id__any=list(there)
    ).exclude(pk=version.pk)
    return set(others.values_list("vendor_id", flat=True))


def _wrong_one_deleted(claim: Claim, intent: Intent, version: KeyVersion) -> bool:
    """Return whether a person deleted the new key in place of the old; the intent is given up then.

    The one way back from an intent to delete: nothing of ours has touched the old key, and it works.
    """
    rotation, new = claim.rotation, claim.rotation.new_version
    if new is None or new.pk == version.pk:
        return False
    secret = versions.read_secret(new)
    for _ in range(int(timing_of(rotation.key.account).steady_answers)):
        if check_secret(rotation.key.account, secret).answer != REFUSED:
            return False
    with claim.transaction():
        Intent.objects.filter(pk=intent.pk, state=Intent.State.OPEN).update(
            state=Intent.State.ABANDONED,
            settled_at=db_clock.now(),
            outcome="The new key was deleted by hand; the old one stays.",
        )
    return True


def _by_program(rotation: Rotation, version: KeyVersion) -> bool:
    """Return whether the vendor's API may be asked to end this key, once its id is proven."""
    if not (provider_of(rotation.key.account).can_delete and version.vendor_id):
        return False
    # guard: a refuted id is never called by again
    # guard: no delete by an id that two share
    return version.link != Link.REFUTED and id_proof.shared_with(version) is None


def _delete_by_program(claim: Claim, intent: Intent, version: KeyVersion) -> None:
    rotation = claim.rotation
    provider = provider_of(rotation.key.account)
    # guard: nothing is ended without the new secret
    account = vendor_account(rotation.key.account, manage=True)
    _require_readable(rotation, version)
    # guard: hold right before the vendor is called
    if (
        not claim.still_ours()
        or deletion_lock.lock_reason()
        or hold_status.holds_on(rotation.key_id)
    ):
        raise ClaimLost  # the next try says what it waits for
    reached("delete.before")
    if provider.can_disable and not intent.disabled_at:
        provider.disable(account, version.vendor_id)
    there = provider.delete(account, version.vendor_id)
    reached("delete.after")
    with claim.transaction():
        _settle(Intent.objects.filter(pk=intent.pk), _DELETED if there else _NOT_THERE)
        record(
            Action.VENDOR_KEY_DELETED,
            worker_actor(rotation),
            version,
            vendor_id=version.vendor_id,
            answer="deleted" if there else "no such key",
        )


def _require_readable(rotation: Rotation, version: KeyVersion) -> None:
    """Raise unless Vault gives the new secret now: what loses the old key must be able to fetch it.

    Where the new one itself is ended, it may be gone already; but Vault must say so.
    """
    new = rotation.new_version
    if new is None:
        return  # nothing takes the place of a key that is retired
    try:
        versions.read_secret(new)
    except versions.LOST:
        if new.pk != version.pk:
            raise secret_store.StoreMissing(
                "Vault has not the new key's secret any more: the old key is left alone. Look in "
                "Vault's audit log who removed it, and bring it back."
            ) from None


def _settle(intents: QuerySet[Intent], outcome: str) -> None:
    intents.filter(state=Intent.State.OPEN).update(
        state=Intent.State.DONE, settled_at=db_clock.now(), outcome=outcome
    )


def _count_refusal(claim: Claim, version: KeyVersion) -> Outcome | None:
    timing = timing_of(claim.rotation.key.account)
    claim.note(bad_answers=claim.rotation.bad_answers + 1)
    if claim.rotation.bad_answers < timing.steady_answers:
        text = "The vendor refuses the old key; asking once more to be sure."
        return Wait(WaitingFor.VENDOR, text, timing.steady_spacing_seconds)
    versions.note_refused(version, db_clock.now())
    return None


def _still_accepted(rotation: Rotation, intent: Intent | None) -> Outcome:
    """Old keys stop late: keep asking, and call a person when the vendor's window has passed."""
    window = timing_of(rotation.key.account).propagation_seconds
    settled = intent.settled_at if intent and intent.settled_at else db_clock.now()
    if db_clock.now() - settled < timedelta(seconds=window):
        return Wait(WaitingFor.VENDOR, "Deleted, but the vendor still accepts the old key.", 2.0)
    if intent and intent.outcome == _NOT_THERE:
        return Park(
            f"Asked to delete {intent.vendor_id}, the vendor said that it has no such key, and it "
            "still accepts the secret: nothing was ended. The account's management credential is "
            "probably of another account at the vendor: look on the account's page."
        )
    return Park(
        "The vendor said that the key is deleted, and still accepts it. Look into its dashboard; "
        "this goes on by itself when the key is refused."
    )


def _ask_person(rotation: Rotation, version: KeyVersion, answer: str) -> Outcome:
    """Open the task to delete by hand; ask the vendor again at growing intervals till it is done."""
    name = provider_of(rotation.key.account).name
    tail = f" ending in {version.tail}" if version.tail else ""
    text = f"Delete the key{tail} (version {version.number}) at {name}."
    # guard: who deletes by hand sees who holds the key
    whole = f"{text}{_still_holding(rotation, version)}"[:TASK_TEXT]
    open_task(worker_actor(rotation), rotation, HumanTask.Kind.DELETE, whole, version)
    waited = (db_clock.now() - (rotation.waiting_since or db_clock.now())).total_seconds()
    said = "It is still accepted." if answer == VALID else "The vendor could not be asked just now."
    return Wait(
        WaitingFor.DELETION, f"{text} {said}", min(_LONGEST_POLL, max(_MANUAL_POLL, waited / 4))
    )


def _still_holding(rotation: Rotation, version: KeyVersion) -> str:
    """Name whoever would be cut off, for the person who is about to delete the old key."""
    left = holders.left(rotation) if version.pk == rotation.old_version_id else []
    if not left:
        return ""
    return f" Not known to be on the new key: {holders.names(left, TASK_TEXT // 2)}."


def record_end(claim: Claim, version: KeyVersion) -> None:
    """Note that the vendor refuses the version, and close what people were asked for it."""
    rotation = claim.rotation
    with claim.transaction():
        versions.mark_deleted(version)
        _settle(rotation.intents.filter(kind=Intent.Kind.DELETE, version=version), _ENDED)
        close_tasks(
            worker_actor(rotation),
            rotation,
            "The vendor refuses the key.",
            kinds=(HumanTask.Kind.DELETE,),
        )
        record(Action.VERSION_DELETED, worker_actor(rotation), version, proof="refused")


def destroy(rotation: Rotation, version: KeyVersion) -> Outcome | None:
    """Destroy the secret of a version that is dead or never used; a hold is waited for."""
    held = holds.wait(rotation)
    if held:
        return held
    reached("destroy.before")
    versions.destroy_secret(version)
    reached("destroy.after")
    record(Action.VERSION_DESTROYED, worker_actor(rotation), version)
    return None


def _refused_at(version: KeyVersion) -> str:
    if version.refused_at is None:
        version.refresh_from_db(fields=["refused_at"])
    return f"{version.refused_at:%Y-%m-%d %H:%M:%S} UTC" if version.refused_at else "now"
