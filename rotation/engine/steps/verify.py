"""Verify: prove that the new secret works and that the consumers moved to it."""

from dataclasses import replace
from datetime import timedelta

from keyvault.core import db_clock
from keyvault.core.failpoints import reached
from keyvault.inventory import versions
from keyvault.inventory.vendor_gateway import check_secret, timing_of
from keyvault.vendors.base import CANNOT_TELL, REFUSED
from rotation.consumers.adoption import Adoption, judge
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim
from rotation.engine.outcomes import GiveUp, Move, Outcome, Park, Retry, Wait
from rotation.engine.steps import lost_secret, old_key
from rotation.human_tasks import open_task
from rotation.models import HumanTask, Reason, Rotation, Step, WaitingFor

TELL_A_PERSON_AFTER = timedelta(minutes=15)
_CONTRADICTION = (
    "The vendor says that it has no such key or that it is disabled, and still accepts its secret: "
    "look there whether it was ended just now, or whether the id or the management credential on "
    "record is that of another account."
)


def verify(claim: Claim) -> Outcome:
    """Check the published secret again, then wait for adoption and for the overlap to pass."""
    rotation = claim.rotation
    # guard: Vault looked at while verify waits
    trouble = lost_secret.way_back(claim) or _check_published(claim)
    if trouble:
        return trouble
    adoption = weigh(claim)
    # guard: adoption
    if not adoption.done:
        return wait_for_adoption(rotation, adoption)
    if rotation.adopted_at is None:
        reached("adoption.before")
        claim.note(adopted_at=db_clock.now(), adopted_how=adoption.how[:300])
        reached("adoption.after")
    remaining = overlap_left(rotation)
    if remaining > 0:
        return _overlap(rotation, remaining)
    if rotation.old_gone_at:
        # What was seen before it died is not why it may be ended now.
        claim.note(adopted_how=adoption.how[:300])
    return Move(Step.DELETE, adoption.how)


def _overlap(rotation: Rotation, remaining: float) -> Outcome:
    ends = db_clock.now() + timedelta(seconds=remaining)
    text = f"Consumers moved. Old and new key overlap until {ends:%Y-%m-%d %H:%M:%S} UTC."
    # guard: long wait cut short
    remaining = min(remaining, lost_secret.LOOK_EVERY)
    if old_key.overlaps(rotation):
        remaining = min(remaining, max(1.0, old_key.due_in(rotation)))
    return Wait(WaitingFor.OVERLAP, text, remaining)


def _check_published(claim: Claim) -> Outcome | None:
    rotation = claim.rotation
    if rotation.verified_at is not None:
        return None
    trouble = check_new(claim)
    if trouble:
        return trouble
    if rotation.key.current_id != rotation.new_version_id:
        return Park("The key's current version is not the one that this rotation published.")
    claim.note(verified_at=db_clock.now(), bad_answers=0)
    return None


def check_new(claim: Claim) -> Outcome | None:
    """Ask the vendor about the secret that consumers get, as read from Vault; None when it is valid.

    A refusal must be steady before it counts; then the way is back to the old key.
    """
    rotation, version = claim.rotation, claim.rotation.new_version
    assert version is not None
    timing = timing_of(rotation.key.account)
    reached("post_verify.before")
    verdict = check_secret(rotation.key.account, versions.read_secret(version))
    claim.note_check(version, verdict)
    reached("post_verify.after")
    # guard: cannot tell takes nothing back
    if verdict.answer == CANNOT_TELL:
        return Retry(WaitingFor.VENDOR, verdict.text, verdict.retry_after)
    if verdict.answer == REFUSED:
        claim.note(bad_answers=rotation.bad_answers + 1)
        if rotation.bad_answers >= timing.steady_answers:
            return GiveUp(f"The vendor refuses the new key after the switch. {verdict.text}")
        text = f"The vendor refused the new key; asking again. {verdict.text}"
        return Wait(WaitingFor.VENDOR, text, timing.steady_spacing_seconds)
    if rotation.bad_answers:
        claim.note(bad_answers=0)
    return None


def weigh(claim: Claim) -> Adoption:
    """Return whether consumers moved, and look after the old key, which some may need still.

    VendorError when the vendor does not say clearly when that was last used, or whether it lives.
    """
    rotation = claim.rotation
    if not old_key.overlaps(rotation):
        return judge(rotation, None, vendor_tells=False)
    said = old_key.ask_vendor(claim)
    adoption = judge(rotation, said.last_used, said.tells and said.error is None)
    if old_key.check(claim):
        adoption = judge(rotation, None, vendor_tells=False)
    if rotation.old_gone_at is None:
        # guard: a gateway's 404 is no last use
        if said.error:
            raise said.error
        if rotation.old_refusals:
            text = "The vendor refused the old key, which nobody here has ended; asking again."
            return Adoption(False, missing=text, waiting_for=WaitingFor.VENDOR)
        if said.unknown and not adoption.done:
            return replace(adoption, missing=f"{adoption.missing} {_CONTRADICTION}")
    return adoption


def overlap_left(rotation: Rotation) -> float:
    """Return the seconds for which old and new key must still live side by side."""
    if rotation.reason == Reason.LEAK or rotation.published_at is None:
        return 0.0
    ends = rotation.published_at + timedelta(seconds=rotation.overlap_seconds)
    return max(0.0, (ends - db_clock.now()).total_seconds())


def wait_for_adoption(rotation: Rotation, adoption: Adoption) -> Outcome:
    """Return the wait for who has not moved, and ask a person when it takes long."""
    patience = TELL_A_PERSON_AFTER
    if adoption.waiting_for == WaitingFor.QUIET:
        patience += timedelta(seconds=rotation.quiet_seconds)
    long = rotation.published_at and db_clock.now() - rotation.published_at > patience
    # guard: who came after a waiver is told by name
    if long or rotation.waived_at or "a person must confirm" in adoption.missing:
        open_task(worker_actor(rotation), rotation, HumanTask.Kind.CONFIRM, adoption.missing[:500])
    pause = min(60.0, max(1.0, rotation.quiet_seconds / 2))
    if old_key.overlaps(rotation):
        pause = min(pause, max(1.0, old_key.due_in(rotation)))
    return Wait(adoption.waiting_for, adoption.missing, pause)
