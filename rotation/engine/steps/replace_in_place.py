"""Replace a key at a vendor whose call for a new one kills the old one at once: there is no overlap.

The one weakening of "a key that consumers can fetch works at every instant", so a person consents
first, with a reason. Consumers are told that a change is near, then one call is made under an intent.
There is no way back from it: what goes wrong afterwards waits for a key issued by hand.
"""

import uuid
from datetime import timedelta

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.failpoints import reached
from keyvault.inventory import hold_status, versions
from keyvault.inventory.vendor_gateway import (
    check_secret,
    no_overlap,
    provider_of,
    timing_of,
    vendor_account,
)
from keyvault.models import KeyVersion, Link
from keyvault.vault import secret_store
from keyvault.vendors.base import CANNOT_TELL, REFUSED, VALID, CreatedKey, ListedKey, VendorError
from rotation.consumers import webhooks
from rotation.engine import holds
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim, ClaimLost
from rotation.engine.outcomes import GiveUp, Move, Outcome, Park, Retry, Wait
from rotation.engine.steps import capacity, create_key, id_proof
from rotation.human_tasks import open_alert, open_task
from rotation.models import HumanTask, Intent, Reason, Rotation, Step, WaitingFor, WebhookDelivery
from rotation.recovery import findings

EVENT = "key.updating"
_TELL_WITHIN = timedelta(seconds=60)


def called(rotation: Rotation) -> bool:
    """Return whether the old key was, or may have been, ended by the call: there is no way back."""
    return (
        rotation.intents.filter(kind=Intent.Kind.SWAP)
        .exclude(state=Intent.State.ABANDONED)
        .exists()
    )


def replace(claim: Claim) -> Outcome | None:
    """Replace the old key in place; None where that is not the way: a person makes a key then."""
    rotation, old = claim.rotation, claim.rotation.old_version
    provider = provider_of(rotation.key.account)
    if not provider.replaces_in_place or old is None or not old.vendor_id:
        return None
    intent = rotation.intents.filter(kind=Intent.Kind.SWAP).first()
    if intent:
        # guard: the call in place is made once
        return _look(claim, intent, old)
    doubt = _prove(claim, old)
    if doubt:
        return doubt
    # Whoever said "leak" agreed to end this key, and not whichever one an unproven id names.
    # guard: a leak does not stand for an agreement to an unproven id
    # guard: a person agrees before a key dies
    if rotation.waived_at is None and not (rotation.reason == Reason.LEAK and old.is_linked):
        return _ask(rotation, old)
    # guard: no replacing while frozen
    return (
        holds.wait_for_deletions()
        or holds.wait(rotation)
        or _prepare(claim, old)
        or _call(claim, old)
    )


def _prove(claim: Claim, old: KeyVersion) -> Outcome | None:
    """Prove the id as far as that has no effect; None where it is proven or stays open.

    What stays open is told to the person who agrees. A call by an id that is wrong ends another key.
    """
    if old.is_linked:
        return None
    # guard: no replacing in place by a refuted id
    if old.link == Link.REFUTED:
        return id_proof.refuted(old)
    # guard: no replacing in place by an id that two versions have
    other = id_proof.shared_with(old)
    if other:
        return Park(
            f"The id {old.vendor_id} is on record for {other} as well, and one of the two is wrong. "
            f"Nothing was ended. {id_proof.WHAT_TO_DO}"
        )
    try:
        secret = versions.read_secret(old)
    except versions.LOST:
        return None  # nothing is left to compare the id with
    verdict = check_secret(claim.rotation.key.account, secret)
    claim.note_check(old, verdict)
    if verdict.answer == CANNOT_TELL:
        return Retry(WaitingFor.VENDOR, verdict.text, verdict.retry_after)
    wrong = id_proof.contradiction(claim.rotation, old, secret, works=verdict.answer == VALID)
    # guard: no replacing in place by an id that is shown to be wrong
    if wrong:
        return id_proof.refute(claim, old, wrong)
    if id_proof.shown_by_mask(claim.rotation, old, secret):
        with claim.transaction():
            versions.note_link(old, Link.MASK)
    return None


def _ask(rotation: Rotation, old: KeyVersion) -> Outcome:
    text = no_overlap(rotation.key.account, old)
    open_task(worker_actor(rotation), rotation, HumanTask.Kind.CONFIRM, text)
    return Wait(WaitingFor.PERSON, text, None)


def _prepare(claim: Claim, old: KeyVersion) -> Outcome | None:
    """Tell consumers that the key is about to change; None when they know, or took too long."""
    rotation = claim.rotation
    told = WebhookDelivery.objects.filter(
        key=rotation.key, version=old, event=EVENT, created_at__gte=rotation.started_at
    )
    first = told.order_by("pk").first()
    if first is None:
        with claim.transaction():
            if not webhooks.enqueue(rotation.key, old, EVENT):
                return None
    elif (
        db_clock.now() - first.created_at > _TELL_WITHIN
        or not told.filter(state=WebhookDelivery.State.WAITING).exists()
    ):
        return None
    return Wait(WaitingFor.ADOPTION, "Consumers are being told that the key will change.", 1.0)


def _call(claim: Claim, old: KeyVersion) -> Outcome:
    rotation, path = claim.rotation, uuid.uuid4()
    account = vendor_account(rotation.key.account, manage=True)
    reached("swap_intent.before")
    with claim.transaction():
        if rotation.cancelling:
            return Wait(WaitingFor.NOTHING, "Cancelled meanwhile.", 0.0)
        # guard: hold under the lock of a replacement in place
        held = holds.wait_locked(rotation)
        if held:
            return held
        # Nothing can overlap, so nothing is waited for afterwards.
        claim.write(overlap_seconds=0)
        intent = Intent.objects.create(
            rotation=rotation,
            kind=Intent.Kind.SWAP,
            path=path,
            label=old.label,
            version=old,
            vendor_id=old.vendor_id,
            fence=claim.fence,
        )
    reached("swap_intent.after")
    if not claim.still_ours():
        raise ClaimLost
    # guard: hold right before a replacement in place
    if hold_status.holds_on(rotation.key_id):
        return _not_called(claim, intent)
    try:
        made = provider_of(rotation.key.account).replace(account, old.vendor_id)
    except VendorError as error:
        return _failed(claim, intent, old, error)
    reached("swap.after")
    return _keep(claim, intent, old, made)


def _not_called(claim: Claim, intent: Intent) -> Outcome:
    """Take the intent back, since a hold was set before the call went out: nothing was asked."""
    with claim.transaction():
        intent.delete()
    return Wait(WaitingFor.HOLD, "A hold was set on this key; nothing was replaced.", 0.0)


def _failed(claim: Claim, intent: Intent, old: KeyVersion, error: VendorError) -> Outcome:
    """Tell a clear no, after which the old key lives, from an answer that leaves it open."""
    if error.sent:
        return _lost(claim, intent, old, error.text)
    with claim.transaction():
        intent.delete()
    if error.retryable:
        return Retry(WaitingFor.VENDOR, error.text, error.retry_after)
    return GiveUp(f"The vendor does not replace the key: {error.text}")


def _keep(claim: Claim, intent: Intent, old: KeyVersion, made: CreatedKey) -> Outcome:
    """Bring the new secret to Vault; if that fails, it is lost, since the vendor tells it once."""
    fault = create_key.unusable(made.secret)
    # guard: odd key of an in-place vendor told
    if fault:
        return _lost(claim, intent, old, fault)
    data = create_key.as_stored(claim, intent, made)
    reached("swap_store.before")
    try:
        create_key.write(intent, data)
    except (secret_store.StoreDenied, secret_store.StoreUnavailable) as error:
        return _lost(claim, intent, old, error.message)
    reached("swap_store.after")
    return create_key.adopt(claim, intent, data)


def _look(claim: Claim, intent: Intent, old: KeyVersion) -> Outcome:
    """Adopt what a cut-off try brought to Vault; the call itself is never made again."""
    data = create_key.stored(intent)
    if "secret" in data:
        return create_key.adopt(claim, intent, data)
    return _lost(claim, intent, old, "No answer is on record.")


def _lost(claim: Claim, intent: Intent, old: KeyVersion, why: str) -> Outcome:
    """Have a person issue the key by hand, unless the old one shows that nothing was done."""
    rotation, account = claim.rotation, claim.rotation.key.account
    since = intent.unclear_since or db_clock.now()
    verdict = check_secret(account, versions.read_secret(old))
    claim.note_check(old, verdict)
    window = timedelta(seconds=timing_of(account).propagation_seconds)
    untouched = verdict.answer == VALID and db_clock.now() - since >= window
    with claim.transaction():
        Intent.objects.filter(pk=intent.pk).update(unclear_since=since)
        if untouched:
            create_key.resolve_intent(
                intent, Intent.State.ABANDONED, "Not carried out: the old key works."
            )
        elif verdict.answer == REFUSED:
            create_key.resolve_intent(
                intent, Intent.State.DONE, "Carried out; the answer was lost."
            )
    if untouched:
        return GiveUp(f"The call to replace the key was not carried out; the old one works. {why}")
    text = _by_hand(rotation, old, verdict.answer, why)
    open_task(worker_actor(rotation), rotation, HumanTask.Kind.PASTE, text)
    return Park(text)


def _by_hand(rotation: Rotation, old: KeyVersion, answer: str, why: str) -> str:
    account = rotation.key.account
    state = {
        REFUSED: "The old key is refused: applications have none that works.",
        VALID: "The old key still works so far.",
    }.get(answer, "The vendor does not say whether the old key works.")
    lost = ", ".join(key.vendor_id for key in _name_lost(rotation))
    stray = f" The secret of {lost} is lost: delete that key there afterwards." if lost else ""
    tail = f" ending in {old.tail}" if old.tail else ""
    return (
        f"The key{tail} ({old.vendor_id}) must be re-issued by hand: the call to replace it was made "
        f"once and its answer is lost. {state} Make a key in the dashboard of {account} and paste it "
        f"here; the call is not repeated.{stray} {why}"
    )


def _name_lost(rotation: Rotation) -> list[ListedKey]:
    """Return the keys at the vendor that this run may have made, each with an alert of its own."""
    account = rotation.key.account
    provider = provider_of(account)
    if not provider.can_list:
        return []
    try:
        listed = provider.list_all(vendor_account(account, manage=True))
    except VendorError:
        return []  # the comparison of each night finds them too
    made = [key for key in listed if key.created_at and key.created_at >= rotation.started_at]
    lost = capacity.unknown_of(account, made)
    for key in lost:
        subject = f"account {account.pk} key {key.vendor_id}"
        what = f"{account}: key {key.vendor_id}, made by a call whose answer was lost"
        finding = findings.Finding(findings.UNKNOWN_KEY, subject, what, key.created_at, account)
        text = f"{what}. {finding.do} (Finding {finding.id}.)"
        actor = worker_actor(rotation)
        open_alert(actor, HumanTask.Kind.FINDING, finding.about, text, account=account)
    return lost


def without_way_back(claim: Claim, outcome: Outcome) -> Outcome:
    """Return what to do instead of giving up a new key when the old one is dead already.

    One that works goes out though it is unlike; one that is refused is put away, so that one issued
    by hand can take its place.
    """
    rotation, new, old = claim.rotation, claim.rotation.new_version, claim.rotation.old_version
    if not isinstance(outcome, GiveUp) or new is None or old is None or not called(rotation):
        return outcome
    if new.check_answer != REFUSED:
        # It works, and nothing else does: unlike or not, applications get it.
        actor, about = worker_actor(rotation), f"unlike:{new.pk}"
        open_alert(actor, HumanTask.Kind.FINDING, about, outcome.text, key=rotation.key)
        return Move(Step.UPDATE, "The new key is unlike the old one, which is dead.")
    frozen = holds.wait_for_deletions()
    if frozen:
        return frozen
    with claim.transaction():
        held = holds.wait_locked(rotation)
        if held:
            return held
        versions.discard_version(new)
        claim.write(new_version=None, proving_since=None)
        record(Action.VERSION_DISCARDED, worker_actor(rotation), new, reason=outcome.text)
    text = _by_hand(rotation, old, REFUSED, outcome.text)
    open_task(worker_actor(rotation), rotation, HumanTask.Kind.PASTE, text)
    return Park(text)
