"""The new secret is gone from Vault, or is another one there: back to the old key at once, if it lives.

Applications cannot fetch what is lost, while the old key was never overwritten. The lost secret's key
lives on at the vendor, and copies that fetched it in time may hold it: it is ended once they are back.
"""

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.errors import KeyServiceError
from keyvault.inventory import versions
from keyvault.inventory.vendor_gateway import check_secret, timing_of, vendor_account
from keyvault.models import KeyVersion, TokenKeyVersion, VersionState
from keyvault.vendors.base import REFUSED
from rotation import lost_secrets
from rotation.engine import holds
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim
from rotation.engine.outcomes import Move, Outcome, Park, Wait
from rotation.engine.steps import id_proof
from rotation.human_tasks import open_task
from rotation.models import HumanTask, Intent, Reason, Step, WaitingFor

# What waits for hours is looked at now and then; a fetch that finds nothing has it looked at at once.
LOOK_EVERY = 60.0
_HOLDERS_POLL = 30.0
_TOLD = 10
# What was enabled again may be refused for a moment.
_ENABLED_WITHIN = 5.0


def missing(version: KeyVersion) -> KeyServiceError | None:
    """Return why the secret cannot be had from Vault for good; None when it can.

    Raises StoreUnavailable or StoreDenied when Vault does not say.
    """
    try:
        versions.read_secret(version)
    except versions.LOST as error:
        return error
    return None


def way_back(claim: Claim) -> Outcome | None:
    """Return the way back when Vault has lost the published secret; None while it gives it.

    What was agreed about the old key is agreed no more. People are told at once.
    """
    rotation, new = claim.rotation, claim.rotation.new_version
    assert new is not None
    why = missing(new)
    if why is None:
        return None
    can_be_had = old_can_be_had(claim)
    if can_be_had is None:
        return _ask_again(claim)
    # guard: changed value concludes nothing alone
    if isinstance(why, versions.SecretChanged) and not can_be_had:
        return Park(why.message)  # as likely FINGERPRINT_KEY is another one: nothing is concluded
    does = (
        "Applications get the former key again at once."
        if can_be_had
        else "The former key cannot take its place: rotate the key anew, or paste one that works."
    )
    if can_be_had and rotation.reason == Reason.LEAK:
        does += " That one leaked: mark it as leaked once more, or rotate it, as soon as this has ended."
    ending = f" ending in {new.tail}" if new.tail else ""
    text = (
        f"The secret of {rotation.key}{ending} (version {new.number}) is lost: {why.message} {does} The key "
        "of the lost secret lives on at the vendor until whoever fetched it is back."
    )
    lost_secrets.tell_incident(worker_actor(rotation), new, text)
    # guard: waiver of the old key is none of the lost one
    claim.note(
        last_error=f"Vault lost the new secret. {does}"[:500],
        waived_by=None,
        waived_at=None,
        waived_holders=None,
        waiver_reason="",
    )
    return Move(Step.ROLL_BACK, f"Vault lost the new secret: {why.message} {does}")


def way_back_from_delete(claim: Claim, intent: Intent | None) -> Outcome | None:
    """Return the same while nothing is known to have ended the old key; the intent to end it is given up."""
    old, new = claim.rotation.old_version, claim.rotation.new_version
    assert new is not None
    if (intent and intent.state == Intent.State.DONE) or missing(new) is None:
        return None
    if intent and intent.disabling_at:
        # guard: old key enabled again for the way back
        id_proof.let_go(claim, old)
        text = "Vault lost the new secret: the old key was enabled again, and is looked at next."
        return Wait(WaitingFor.VENDOR, text, _ENABLED_WITHIN)
    back = way_back(claim)
    if isinstance(back, Move) and intent:
        with claim.transaction():
            Intent.objects.filter(pk=intent.pk, state=Intent.State.OPEN).update(
                state=Intent.State.ABANDONED,
                settled_at=db_clock.now(),
                outcome="Vault lost the new secret; the old key stays.",
            )
    return back


def old_can_be_had(claim: Claim) -> bool | None:
    """Return whether the old key can take the place of the lost one: Vault has it, the vendor takes it.

    None while the vendor's refusal is not steady: one node may be behind.
    """
    rotation, old = claim.rotation, claim.rotation.old_version
    if old is None or old.state != VersionState.PREVIOUS or missing(old):
        return False
    verdict = check_secret(rotation.key.account, versions.read_secret(old))
    claim.note_check(old, verdict)
    if verdict.answer != REFUSED:
        return True
    claim.note(bad_answers=rotation.bad_answers + 1)
    return None if rotation.bad_answers < timing_of(rotation.key.account).steady_answers else False


def _ask_again(claim: Claim) -> Wait:
    text = "Vault lost the new secret, and the vendor refused the old key; asking again."
    spacing = timing_of(claim.rotation.key.account).steady_spacing_seconds
    return Wait(WaitingFor.VENDOR, text, spacing)


def wait_for_holders(claim: Claim, new: KeyVersion) -> Outcome | None:
    """Wait for the copies that fetched the new secret; None when they are back, or nobody waits for them.

    It is ended at the vendor like an old one: after whoever holds it has fetched anew, or a person says
    that nothing does. One that the vendor refuses works for nobody, and is not waited for.
    """
    rotation = claim.rotation
    if rotation.published_at is None or rotation.reason == Reason.LEAK or rotation.waived_at:
        return None
    if missing(new) is None and _is_refused(claim, new):
        return None
    held = TokenKeyVersion.objects.filter(key=rotation.key, version=new).select_related("token")
    names = sorted({one.token.name for one in held[:500]})
    if not names:
        return None
    told = ", ".join(names[:_TOLD]) + (" and more" if len(names) > _TOLD else "")
    text = (
        f"Applications get the old key again. Not back from the new one yet: {told}. It is ended "
        "at the vendor when they have fetched anew, or when a person confirms that nothing holds it."
    )
    open_task(worker_actor(rotation), rotation, HumanTask.Kind.CONFIRM, text)
    return Wait(WaitingFor.ADOPTION, text, _HOLDERS_POLL)


def _is_refused(claim: Claim, version: KeyVersion) -> bool:
    return check_secret(claim.rotation.key.account, versions.read_secret(version)).answer == REFUSED


def is_new(claim: Claim, version: KeyVersion) -> bool:
    """Return whether this is the new version of a rotation that goes back."""
    rotation = claim.rotation
    return rotation.step == Step.ROLL_BACK and version.pk == rotation.new_version_id


def end_unproven(claim: Claim, version: KeyVersion) -> bool:
    """Have a person end the key of a lost new secret where no program can; whether that was the case."""
    rotation = claim.rotation
    if not is_new(claim, version):
        return False
    ending = f" ending in {version.tail}" if version.tail else ""
    where = vendor_account(rotation.key.account).dashboard_url or str(rotation.key.account)
    text = (
        f"The secret of the key{ending} (version {version.number} of {rotation.key}) is lost, so nobody "
        f"can see whether the vendor refuses it. Nothing is given it any more. Delete it at {where}."
    )
    lost_secrets.tell(
        worker_actor(rotation),
        version.fingerprint,
        text,
        key=rotation.key,
        account=rotation.key.account,
    )
    return True


def nothing_to_restore(claim: Claim, new: KeyVersion) -> Outcome | None:
    """End the rotation when new and old cannot be had, so that another one may bring a key that can."""
    why = missing(new)
    can_be_had = old_can_be_had(claim) if why else True
    if why is None or can_be_had:
        return None
    if can_be_had is None:
        return _ask_again(claim)
    if isinstance(why, versions.SecretChanged):
        return Park(why.message)
    frozen = holds.wait_for_deletions()
    if frozen:
        return frozen  # a restored Vault or database may bring either back
    if claim.rotation.old_version and claim.rotation.old_version.state == VersionState.PREVIOUS:
        _put_away(claim, claim.rotation.old_version)
    return Move(
        Step.FAILED,
        "Vault lost the new secret, and the old key cannot take its place: applications have no key. "
        "Rotate again, or paste a key that works.",
    )


def _put_away(claim: Claim, old: KeyVersion) -> None:
    """Retire an old version that the vendor refuses, or whose secret is lost as well."""
    actor, refused = worker_actor(claim.rotation), missing(old) is None
    with claim.transaction():
        if refused:
            versions.note_refused(old, db_clock.now())
            versions.mark_deleted(old)
            record(Action.VERSION_DELETED, actor, old, proof="refused")
        else:
            versions.discard_version(old)
            record(Action.VERSION_DISCARDED, actor, old, reason="Its secret is lost.")
    if not refused:
        text = (
            f"The secret of {old} is lost as well. Its key may live on at {old.key.account}: delete it "
            "there."
        )
        lost_secrets.tell(actor, old.fingerprint, text, key=old.key, account=old.key.account)
