"""Update and verify: give consumers the new secret, then prove that it works and that they moved."""

from datetime import datetime, timedelta

from keyvault import versions
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.models import KeyVersion
from rotation import clock, outbox
from rotation.actors import worker_actor
from rotation.adoption import Adoption, judge
from rotation.checking import check_secret, provider_of, timing_of, vendor_account
from rotation.claims import Claim
from rotation.crashpoints import reached
from rotation.human_tasks import open_task
from rotation.models import HumanTask, Reason, Rotation, Step, WaitingFor
from rotation.outcomes import GiveUp, Move, Outcome, Park, Retry, Wait
from rotation.providers.base import CANNOT_TELL, REFUSED, VendorError
from rotation.steps import lost

TELL_A_PERSON_AFTER = timedelta(minutes=15)


def update(claim: Claim) -> Outcome:
    """Make the new version current and put the messages to consumers into the outbox: one commit."""
    rotation, version = claim.rotation, claim.rotation.new_version
    assert version is not None
    if rotation.key.current_id != version.pk:
        reached("publish.before")
        with claim.transaction():
            versions.publish(version)
            claim.write(published_at=clock.now())
            outbox.enqueue(rotation.key, version)
            record(Action.VERSION_PUBLISHED, worker_actor(rotation), version)
        reached("publish.after")
    return Move(Step.VERIFY, f"Version {version.number} is what consumers get from now on.")


def verify(claim: Claim) -> Outcome:
    """Check the published secret again, then wait for adoption and for the overlap to pass."""
    rotation = claim.rotation
    trouble = lost.way_back(claim) or _check_published(claim)
    if trouble:
        return trouble
    adoption = weigh(rotation)
    if not adoption.done:
        return _wait_for_adoption(rotation, adoption)
    if rotation.adopted_at is None:
        reached("adoption.before")
        claim.note(adopted_at=clock.now(), adopted_how=adoption.how[:300])
        reached("adoption.after")
    remaining = overlap_left(rotation)
    if remaining > 0:
        ends = clock.now() + timedelta(seconds=remaining)
        text = f"Consumers moved. Old and new key overlap until {ends:%Y-%m-%d %H:%M:%S} UTC."
        return Wait(WaitingFor.OVERLAP, text, min(remaining, lost.LOOK_EVERY))
    return Move(Step.DELETE, adoption.how)


def _check_published(claim: Claim) -> Outcome | None:
    rotation = claim.rotation
    if rotation.verified_at is not None:
        return None
    trouble = check_new(claim)
    if trouble:
        return trouble
    if rotation.key.current_id != rotation.new_version_id:
        return Park("The key's current version is not the one that this rotation published.")
    claim.note(verified_at=clock.now(), bad_answers=0)
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


def weigh(rotation: Rotation) -> Adoption:
    """Return whether consumers moved, asking the vendor for the old key's last use if it tells."""
    tells = last_use_is_told(rotation.key.account.provider, rotation.old_version)
    last_used: datetime | None = None
    if tells and rotation.old_version:
        account = vendor_account(rotation.key.account, manage=True)
        try:
            last_used = provider_of(rotation.key.account).last_used(
                account, rotation.old_version.vendor_id
            )
        except VendorError as error:
            if error.status not in (404, 410):
                raise
    return judge(rotation, last_used, tells)


def last_use_is_told(provider_code: str, version: KeyVersion | None) -> bool:
    """Return whether the vendor tells when this version was last used."""
    from rotation.providers import PROVIDERS

    provider = PROVIDERS[provider_code]
    return bool(provider.tells_last_use and version and version.vendor_id)


def overlap_left(rotation: Rotation) -> float:
    """Return the seconds for which old and new key must still live side by side."""
    if rotation.reason == Reason.LEAK or rotation.published_at is None:
        return 0.0
    ends = rotation.published_at + timedelta(seconds=rotation.overlap_seconds)
    return max(0.0, (ends - clock.now()).total_seconds())


def _wait_for_adoption(rotation: Rotation, adoption: Adoption) -> Outcome:
    long = rotation.published_at and clock.now() - rotation.published_at > TELL_A_PERSON_AFTER
    if long or "a person must confirm" in adoption.missing:
        open_task(worker_actor(rotation), rotation, HumanTask.Kind.CONFIRM, adoption.missing[:500])
    pause = min(60.0, max(1.0, rotation.quiet_seconds / 2))
    return Wait(adoption.waiting_for, adoption.missing, pause)
