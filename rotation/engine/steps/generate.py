"""Generate: get a new secret that the vendor accepts steadily, from a standby, the API or a person."""

from datetime import timedelta

from django.db.models import F

from keyvault.access.permissions import Permission, may
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.failpoints import reached
from keyvault.inventory import hold_status, versions
from keyvault.inventory.vendor_gateway import check_secret, provider_of, timing_of, vendor_account
from keyvault.models import KeyVersion, VersionState
from keyvault.vault import secret_store
from keyvault.vendors.base import CANNOT_TELL, REFUSED, UNSENDABLE, VALID
from rotation import lost_secrets
from rotation.consumers.holders import consumers_of
from rotation.engine import holds
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim
from rotation.engine.outcomes import GiveUp, Move, Outcome, Retry, Wait
from rotation.engine.steps import (
    account_identity,
    capacity,
    compare_keys,
    create_key,
    replace_in_place,
)
from rotation.human_tasks import open_task
from rotation.models import HumanTask, Rotation, Step, WaitingFor

# Rotations that start together share one test of Vault: it says the same of each of them.
_PROBE_TRUSTED_SECONDS = 5.0


def generate(claim: Claim) -> Outcome:
    """Bring about a new version that is proven to work, or say what is waited for."""
    rotation = claim.rotation
    intent = create_key.open_intent(rotation)
    # guard: intent before create
    if intent:
        return create_key.recover(claim, intent)
    if rotation.cancelling:
        return Move(Step.ROLL_BACK, "Cancelled.")
    if rotation.new_version:
        return replace_in_place.without_way_back(claim, prove(claim))
    problems = preflight(rotation)
    if problems:
        return GiveUp("Nothing was changed. " + " ".join(problems))
    standby = _take_standby(claim)
    if standby:
        return standby
    if provider_of(rotation.key.account).can_create:
        # guard: room before the create
        made = capacity.look(claim) or create_key.create(claim) or capacity.when_full(claim)
        return prove(claim) if rotation.new_version else made
    return replace_in_place.replace(claim) or _ask_person(rotation)


def preflight(rotation: Rotation) -> list[str]:
    """Return every reason why this rotation cannot succeed; empty when the way is open.

    Raises StoreUnavailable when Vault is away for the moment, which is no reason to give up.
    """
    problems: list[str] = []
    requester = rotation.requested_by
    if requester and not may(requester, Permission.ROTATE, rotation.key):
        problems.append(f"{requester} asked for this rotation and may no longer rotate this key.")
    problems += _store_problems()
    problems += _vendor_problems(rotation)
    for consumer in consumers_of(rotation.key):
        if consumer.webhook_url and consumer.webhook_path is None:
            problems.append(f"The consumer {consumer.name} has a webhook without a signing secret.")
    return problems


def _store_problems() -> list[str]:
    try:
        secret_store.probe(_PROBE_TRUSTED_SECONDS)
    except secret_store.StoreDenied as error:
        return [error.message]
    return []


def _vendor_problems(rotation: Rotation) -> list[str]:
    account = rotation.key.account
    provider = provider_of(account)
    if not (provider.can_create or provider.replaces_in_place):
        return []
    try:
        manager = vendor_account(account, manage=True).management
    except (secret_store.StoreDenied, secret_store.StoreMissing) as error:
        return [f"The management credential of {account} cannot be read: {error.message}"]
    if manager is None:
        return [f"The account {account} has no management credential; its vendor needs one."]
    return account_identity.problems(rotation)


def _take_standby(claim: Claim) -> Outcome | None:
    """Make the oldest standby that the vendor still accepts this rotation's new version.

    None when there is none; a standby that the vendor gives no verdict on is waited for.
    """
    rotation = claim.rotation
    standbys = KeyVersion.objects.filter(key=rotation.key, state=VersionState.STANDBY)
    # Whoever left still knows the one that they brought in.
    # guard: standby of a leaver
    standbys = standbys.exclude(added_by__left_at__isnull=False)
    # guard: standby from before somebody left
    standbys = standbys.exclude(added_by__returned_at__gt=F("created_at"))
    for version in standbys.order_by("number"):
        before = version.check_answer
        try:
            secret = versions.read_secret(version)
        except secret_store.StoreMissing as missing:
            # guard: lost standby put away
            _put_away_lost(claim, version, missing.message)
            continue
        verdict = check_secret(rotation.key.account, secret)
        claim.note_check(version, verdict)
        if verdict.answer == VALID:
            with claim.transaction():
                versions.take_standby(version)
                claim.write(new_version=version, proving_since=db_clock.now())
            return prove(claim)
        if verdict.answer == CANNOT_TELL:
            return Retry(WaitingFor.VENDOR, verdict.text, verdict.retry_after)
        # guard: a standby is refused twice
        if before != REFUSED:
            # Nodes of a vendor may disagree: a good key thrown away would live on unknown.
            text = f"The standby is refused; asking once more. {verdict.text}"
            spacing = timing_of(rotation.key.account).steady_spacing_seconds
            return Wait(WaitingFor.VENDOR, text, spacing)
        frozen = holds.wait_for_deletions()
        if frozen:
            return frozen
        with claim.transaction():
            # guard: hold keeps a refused standby
            if hold_status.lock_holds_on(rotation.key_id):
                continue  # refused or not, it is kept as it is
            versions.discard_version(version)
            record(
                Action.VERSION_DISCARDED,
                worker_actor(rotation),
                version,
                reason=f"The standby is refused: {verdict.text}",
            )
    return None


def _put_away_lost(claim: Claim, version: KeyVersion, why: str) -> None:
    """Use a standby whose secret is gone from Vault no more; its key lives on, so people are told.

    While deletion is frozen it stays: a restored Vault may be the one that lacks it.
    """
    if holds.wait_for_deletions():
        return
    actor, key = worker_actor(claim.rotation), claim.rotation.key
    with claim.transaction():
        versions.discard_version(version)
        record(Action.VERSION_DISCARDED, actor, version, reason=why)
    ending = f" ending in {version.tail}" if version.tail else ""
    text = (
        f"The secret of the standby{ending} (version {version.number}) is gone from Vault, and nobody "
        f"can bring it back. No application had it. Its key lives on at {key.account}: delete it there."
    )
    lost_secrets.tell(actor, version.fingerprint, text, key=key, account=key.account)


def _ask_person(rotation: Rotation) -> Outcome:
    name = provider_of(rotation.key.account).name
    text = f"{name} has no way to make a key by program: a person makes one and pastes it here."
    open_task(worker_actor(rotation), rotation, HumanTask.Kind.PASTE, text)
    return Wait(WaitingFor.KEY, text, None)


def prove(claim: Claim) -> Outcome:
    """Check the new secret until the vendor's answers are steady; compare its account with the old."""
    rotation, version = claim.rotation, claim.rotation.new_version
    assert version is not None
    timing = timing_of(rotation.key.account)
    reached("prove.before")
    verdict = check_secret(rotation.key.account, versions.read_secret(version))
    claim.note_check(version, verdict)
    reached("prove.after")
    # guard: stored key that cannot be sent given up
    if verdict.code == UNSENDABLE:
        return GiveUp(f"The new key holds characters that no request can carry. {verdict.text}")
    if verdict.answer == CANNOT_TELL:
        return Retry(WaitingFor.VENDOR, verdict.text, verdict.retry_after)
    if verdict.answer == REFUSED:
        claim.note(good_answers=0)
        return _not_yet(rotation, timing.propagation_seconds, verdict.text)
    claim.note(good_answers=rotation.good_answers + 1)
    if rotation.good_answers < timing.steady_answers:
        text = f"The vendor accepts the new key ({rotation.good_answers} of {timing.steady_answers} times)."
        return Wait(WaitingFor.VENDOR, text, timing.steady_spacing_seconds)
    return account_identity.compare(claim, verdict) or _compare_rights(rotation)


def _not_yet(rotation: Rotation, window: float, text: str) -> Outcome:
    """A new key may start late: a refusal counts only when the vendor's window has passed."""
    since = rotation.proving_since or rotation.step_since
    # guard: propagation window
    if db_clock.now() - since < timedelta(seconds=window):
        return Wait(WaitingFor.VENDOR, f"The new key is not accepted yet. {text}", 2.0)
    return GiveUp(f"The vendor refuses the new key after {window:.0f} seconds. {text}")


def _compare_rights(rotation: Rotation) -> Outcome:
    """Go on only with a key that may do what the old one may, and that lives long enough."""
    unlike = compare_keys.difference(rotation)
    if unlike:
        return GiveUp(f"{unlike} Applications keep the old key; the new one is taken back.")
    return Move(Step.UPDATE, "The vendor accepts the new key.")
