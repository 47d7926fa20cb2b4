"""Retire a key: the rotation that brings no new version. Tell its holders, prove, end, destroy.

The same proofs as for a rotation's old key, and the same intents; until the intents to end its
versions commit, the key is given out as before, and the retirement can be cancelled.
"""

from django.db.models import QuerySet

from keyvault.core import db_clock
from keyvault.core.failpoints import reached
from keyvault.inventory import versions
from keyvault.inventory.vendor_gateway import check_secret, timing_of
from keyvault.models import LIVE_STATES, ApiKey, KeyVersion, VersionState
from keyvault.vendors.base import REFUSED
from rotation.consumers import webhooks
from rotation.consumers.adoption import Adoption
from rotation.engine import holds
from rotation.engine.lease import Claim
from rotation.engine.outcomes import Move, Outcome, Wait
from rotation.engine.steps.delete_old_key import (
    begin_delete,
    delete_intent,
    destroy,
    end_at_vendor,
    held_back,
    record_end,
)
from rotation.engine.steps.verify import wait_for_adoption, weigh
from rotation.models import Intent, Reason, Step, WaitingFor

EVENT = "key.retiring"


def begin(claim: Claim) -> Outcome:
    """Tell the consumers that the key is to go; from then on its use must stop."""
    rotation, old = claim.rotation, claim.rotation.old_version
    if rotation.cancelling:
        return Move(Step.ROLL_BACK, "Cancelled.")
    if old is not None:
        _look(claim, old)
    now = db_clock.now()
    with claim.transaction():
        if old is not None:
            webhooks.enqueue(rotation.key, old, EVENT)
        # There is no new key to verify, and from now on the old one is to fall quiet.
        claim.write(published_at=now, verified_at=now)
    return Move(Step.VERIFY, "Its consumers are told that the key is to be retired.")


def verify(claim: Claim) -> Outcome:
    """Wait until nothing is known to need the key, or a person says so."""
    if claim.rotation.cancelling:
        return _cancelled(claim)
    adoption = _weigh(claim)
    if isinstance(adoption, Wait):
        return adoption
    # guard: proofs before a retirement
    if not adoption.done:
        return wait_for_adoption(claim.rotation, adoption)
    claim.note(adopted_at=db_clock.now(), adopted_how=adoption.how[:300], bad_answers=0)
    return Move(Step.DELETE, adoption.how)


def delete(claim: Claim) -> Outcome:
    """End every live version at the vendor, prove it, and destroy the secrets."""
    rotation = claim.rotation
    if rotation.cancelling and not _begun(claim).exists():
        return _cancelled(claim)
    frozen = holds.wait_for_deletions()
    if frozen:
        return frozen
    if _live(claim).exclude(pk__in=_begun(claim).values("version")).exists():
        trouble = _permit(claim)
        if trouble:
            return trouble
    for intent in _begun(claim).select_related("version").order_by("pk"):
        trouble = _end(claim, intent)
        if trouble:
            return trouble
    return Move(Step.DONE, "The key is retired: the vendor refuses every version of it.")


def _weigh(claim: Claim) -> Adoption | Wait:
    """Return the proofs; a key that the vendor refuses steadily is needed by nobody."""
    rotation, old = claim.rotation, claim.rotation.old_version
    if old is None:
        return Adoption(True, "It never had a secret that was given out.")
    if old.check_answer != REFUSED and rotation.old_gone_at is None:
        return weigh(claim)
    if _look(claim, old) == REFUSED:
        timing = timing_of(rotation.key.account)
        claim.note(bad_answers=rotation.bad_answers + 1)
        if rotation.bad_answers < timing.steady_answers:
            text = "The vendor refuses the key already; asking once more to be sure."
            return Wait(WaitingFor.VENDOR, text, timing.steady_spacing_seconds)
        return Adoption(True, "The vendor refused the key before we ended it: nothing can use it.")
    if rotation.bad_answers:
        claim.note(bad_answers=0)
    return weigh(claim)


def _look(claim: Claim, old: KeyVersion) -> str:
    """Return what the vendor says of the key now; an empty text when Vault has not its secret."""
    try:
        verdict = check_secret(claim.rotation.key.account, versions.read_secret(old))
    except versions.LOST:
        return ""
    claim.note_check(old, verdict)
    return verdict.answer


def _permit(claim: Claim) -> Outcome | None:
    """Look at all anew, then commit the intents: from here on the key is given to nobody."""
    rotation, old = claim.rotation, claim.rotation.old_version
    if not _begun(claim).exists():
        held = holds.wait(rotation)
        if held:
            return held
        adoption = _weigh(claim)
        if isinstance(adoption, Wait):
            return adoption
        if not adoption.done:
            return wait_for_adoption(rotation, adoption)
    reached("retire_intent.before")
    with claim.transaction():
        # guard: cancel under the lock of a retirement
        if rotation.cancelling and not _begun(claim).exists():
            return Wait(WaitingFor.NOTHING, "Cancelled meanwhile.", 0.0)
        held = holds.wait_locked(rotation)
        if held:
            return held
        current = ApiKey.objects.values_list("current_id", flat=True).get(pk=rotation.key_id)
        if current not in (None, old.pk if old else None):
            return Wait(WaitingFor.PERSON, "The key's current version changed: it is left.", None)
        ApiKey.objects.filter(pk=rotation.key_id).update(current=None)
        for version in _live(claim).order_by("number"):
            if delete_intent(rotation, version) is None:
                versions.withdraw_version(version)
                begin_delete(claim, version)
        claim.write(bad_answers=0)
    reached("retire_intent.after")
    return None


def _end(claim: Claim, intent: Intent) -> Outcome | None:
    version = intent.version
    assert version is not None
    version.key = claim.rotation.key
    if version.state == VersionState.PREVIOUS:
        trouble = held_back(claim, version, intent) or end_at_vendor(claim, version, intent)
        if trouble:
            return trouble
        record_end(claim, version)
        claim.note(bad_answers=0)
    return None if version.destroyed_at else destroy(claim.rotation, version)


def _cancelled(claim: Claim) -> Outcome:
    """Tell the consumers that the key stays; told twice after a crash, which changes nothing."""
    rotation, old = claim.rotation, claim.rotation.old_version
    if old is not None and rotation.reason != Reason.LEAK:
        with claim.transaction():
            webhooks.enqueue(rotation.key, old)
    return Move(Step.ROLL_BACK, "Cancelled: the key stays in use.")


def _begun(claim: Claim) -> QuerySet[Intent]:
    return claim.rotation.intents.filter(kind=Intent.Kind.DELETE)


def _live(claim: Claim) -> QuerySet[KeyVersion]:
    return KeyVersion.objects.filter(key=claim.rotation.key_id, state__in=LIVE_STATES)
