"""Is the id on record that of the secret? Proven before a call by the id that nobody can take back.

An id that a person typed may be that of a key in use elsewhere. Where the vendor can disable, the key
of the id is disabled: the secret, accepted until then, must be refused from then on, else the key is
enabled again. Elsewhere the vendor's mask tells. What is not proven so is left to a person.
"""

from datetime import timedelta

from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock, secret_masks
from keyvault.core.failpoints import reached
from keyvault.core.secret import Secret
from keyvault.inventory import hold_status, versions
from keyvault.inventory.vendor_gateway import provider_of, timing_of, vendor_account
from keyvault.models import LIVE_STATES, KeyVersion, Link
from keyvault.vendors.base import CANNOT_TELL, REFUSED, CheckResult, KeyDead, ListedKey
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim, ClaimLost
from rotation.engine.outcomes import Outcome, Park, Retry, Wait
from rotation.models import Intent, Rotation, WaitingFor
from rotation.recovery import deletion_lock

_SPACING = 2.0
WHAT_TO_DO = (
    "Correct the id on the key's page, or take it away there and delete the key by hand at the "
    "vendor: this goes on by itself."
)


def record_link(
    claim: Claim, version: KeyVersion, intent: Intent, secret: Secret, verdict: CheckResult
) -> Outcome | None:
    """Go on proving the link, given the vendor's verdict just now; None where it cannot be proven.

    Not for a refused secret whose key was not disabled here: that one has ended already.
    """
    if intent.disabling_at:
        return _watch(claim, version, intent, verdict)
    if verdict.answer == CANNOT_TELL:
        return Retry(WaitingFor.VENDOR, verdict.text, verdict.retry_after)
    wrong = contradiction(claim.rotation, version, secret)
    if wrong:
        return refute(claim, version, wrong, intent)
    if provider_of(claim.rotation.key.account).can_disable:
        return _begin(claim, version, intent)
    if not shown_by_mask(claim.rotation, version, secret):
        return None
    with claim.transaction():
        versions.note_link(version, Link.MASK)
    return Wait(WaitingFor.NOTHING, "The vendor shows the end of this secret beside its id.", 0.0)


def contradiction(
    rotation: Rotation, version: KeyVersion, secret: Secret, *, works: bool = True
) -> str:
    """Return what shows, without any effect, that the id is not that of this secret, which `works`."""
    name = version.vendor_id
    try:
        found = _described(rotation, version)
    # guard: an id that the vendor does not know refutes
    except KeyDead:
        found = None
    if found is None:
        return (
            (
                f"with the account's management credential the vendor knows no key {name}, and it "
                "accepts the secret. The id is wrong, or the credential is of another account."
            )
            if works and _tells(rotation)
            else ""
        )
    # guard: a mask that does not fit refutes
    if secret_masks.fits(found.masked, secret) is False:
        return f"the vendor shows the key {name} as “{found.masked}”."
    if works and found.disabled:
        return f"the key {name} is disabled at the vendor, and the secret is accepted."
    return ""


def _tells(rotation: Rotation) -> bool:
    provider = provider_of(rotation.key.account)
    return provider.tells_rights or provider.can_list


def _described(rotation: Rotation, version: KeyVersion) -> ListedKey | None:
    """Return the key of the id as the vendor describes it; None when it has none of this id."""
    provider = provider_of(rotation.key.account)
    if not _tells(rotation):
        return None
    where = vendor_account(rotation.key.account, manage=True)
    if provider.tells_rights:
        return provider.describe(where, version.vendor_id)
    return next((k for k in provider.list_all(where) if k.vendor_id == version.vendor_id), None)


def shown_by_mask(rotation: Rotation, version: KeyVersion, secret: Secret) -> bool:
    """Return whether the vendor's whole list shows this secret's end beside this id and no other."""
    provider = provider_of(rotation.key.account)
    if not provider.can_list:
        return False
    listed = provider.list_all(vendor_account(rotation.key.account, manage=True))
    fitting = [key.vendor_id for key in listed if secret_masks.fits(key.masked, secret)]
    return fitting == [version.vendor_id]


def shared_with(version: KeyVersion) -> KeyVersion | None:
    """Return another live version of the account that carries the same id, as one of the two is wrong.

    A vendor that replaces in place may keep the id: a call by it would end the new key.
    """
    others = KeyVersion.objects.filter(
        key__account=version.key.account_id, vendor_id=version.vendor_id, state__in=LIVE_STATES
    )
    return others.exclude(pk=version.pk).select_related("key__account", "key__environment").first()


def _begin(claim: Claim, version: KeyVersion, intent: Intent) -> Outcome:
    """Disable the key of the id, under an intent: whoever comes after a crash enables or proves it."""
    if (
        not claim.still_ours()
        or deletion_lock.lock_reason()
        or hold_status.holds_on(claim.rotation.key_id)
    ):
        raise ClaimLost  # the next try says what it waits for
    reached("disable_intent.before")
    with claim.transaction():
        intent.disabling_at = db_clock.now()
        # guard: intent before the disabling
        intent.save(update_fields=["disabling_at"])
    reached("disable_intent.after")
    return disable(claim, version, intent)


def disable(claim: Claim, version: KeyVersion, intent: Intent) -> Outcome:
    """Make the call that disables, again after a lost answer; then the secret must be refused."""
    provider = provider_of(claim.rotation.key.account)
    reached("disable.before")
    there = provider.disable(
        vendor_account(claim.rotation.key.account, manage=True), version.vendor_id
    )
    reached("disable.after")
    if not there:
        why = f"the vendor knows no key {version.vendor_id} any more, and it accepted the secret."
        return refute(claim, version, why, intent)
    with claim.transaction():
        Intent.objects.filter(pk=intent.pk).update(disabled_at=db_clock.now())
        claim.write(bad_answers=0)
        record(
            Action.VENDOR_KEY_DISABLED,
            worker_actor(claim.rotation),
            version,
            vendor_id=version.vendor_id,
        )
    text = "The key of its id is disabled at the vendor: the old secret must be refused now."
    return Wait(WaitingFor.VENDOR, text, 0.0)


def _watch(claim: Claim, version: KeyVersion, intent: Intent, verdict: CheckResult) -> Outcome:
    """Judge what the disabling did: refused steadily, the id is proven; accepted on, it is refuted."""
    timing = timing_of(claim.rotation.key.account)
    if verdict.answer == REFUSED:
        claim.note(bad_answers=claim.rotation.bad_answers + 1)
        if claim.rotation.bad_answers < timing.steady_answers:
            text = "Disabled, the old key is refused; asking once more to be sure."
            return Wait(WaitingFor.VENDOR, text, timing.steady_spacing_seconds)
        reached("link.before")
        with claim.transaction():
            versions.note_link(version, Link.REFUSAL)
        reached("link.after")
        return Wait(WaitingFor.NOTHING, "Its id is proven: disabled, the old key is refused.", 0.0)
    claim.note(bad_answers=0)
    assert intent.disabled_at is not None
    if db_clock.now() - intent.disabled_at < timedelta(seconds=timing.propagation_seconds):
        text = "The key of its id is disabled, and the vendor still accepts the old key."
        if verdict.answer == CANNOT_TELL:
            text = f"The key of its id is disabled. {verdict.text}"
        return Wait(WaitingFor.VENDOR, text, _SPACING)
    # guard: without a verdict it is enabled again
    if verdict.answer == CANNOT_TELL:
        return _unclear(claim, version, intent, verdict)
    why = (
        f"with the key {version.vendor_id} disabled, the vendor accepted the secret for "
        f"{timing.propagation_seconds:.0f} seconds."
    )
    return refute(claim, version, why, intent)


def _unclear(claim: Claim, version: KeyVersion, intent: Intent, verdict: CheckResult) -> Outcome:
    """Without a verdict nobody's key stays disabled: enable it, and begin anew later."""
    again = intent.unclear_since is not None
    there = _enable(claim, intent)
    with claim.transaction():
        _note_enabled(claim, version, intent, there=there)
        Intent.objects.filter(pk=intent.pk).update(unclear_since=db_clock.now())
    text = f"Whether its id is the old key's could not be told. {_after(there)} {verdict.text}"
    return Park(text) if again else Retry(WaitingFor.VENDOR, text, verdict.retry_after)


def refute(claim: Claim, version: KeyVersion, why: str, intent: Intent | None = None) -> Park:
    """Leave everything as it was, and note that this id is never called by for this secret."""
    tail = f" ending in {version.tail}" if version.tail else ""
    text = f"The id {version.vendor_id} does not belong to this secret{tail}: {why}"
    # guard: what a false id disabled is enabled again
    there = _enable(claim, intent) if intent and intent.disabling_at else False
    if intent and intent.disabled_at:
        text = f"{text} {_after(there)}"
    with claim.transaction():
        if intent:
            _note_enabled(claim, version, intent, there=there)
        versions.note_link(version, Link.REFUTED, text)
    return refuted(version)


def refuted(version: KeyVersion) -> Park:
    """Return what a person is told of an id that is not the secret's."""
    return Park(f"{version.link_text} Nothing was ended. {WHAT_TO_DO}")


def let_go(claim: Claim, version: KeyVersion | None, *, proven: bool = False) -> None:
    """Enable what was disabled only to prove its id, now that the proof cannot go on.

    With `proven` also what was to be deleted next.
    """
    if version is None or (version.is_linked and not proven):
        return
    intent = claim.rotation.intents.filter(
        kind=Intent.Kind.DELETE, version=version, disabling_at__isnull=False
    ).first()
    if intent is None:
        return
    there = _enable(claim, intent)
    with claim.transaction():
        _note_enabled(claim, version, intent, there=there)


def _enable(claim: Claim, intent: Intent) -> bool:
    """Have the vendor accept it again; False when it has no key of this id any more."""
    reached("enable.before")
    account = claim.rotation.key.account
    there = provider_of(account).enable(vendor_account(account, manage=True), intent.vendor_id)
    reached("enable.after")
    return there


def _after(there: bool) -> str:
    """Return what became of the key that was disabled for the proof, as a sentence."""
    if there:
        return "That key was enabled again."
    return "The vendor has no key of this id any more, so none could be enabled again."


def _note_enabled(claim: Claim, version: KeyVersion, intent: Intent, *, there: bool) -> None:
    """Note, in a transaction of the claim, that nothing is disabled any more; or that it is gone."""
    if not intent.disabling_at:
        return
    Intent.objects.filter(pk=intent.pk).update(disabling_at=None, disabled_at=None)
    # guard: what the vendor no longer has is not recorded as enabled
    action = Action.VENDOR_KEY_ENABLED if there else Action.VENDOR_KEY_GONE
    record(action, worker_actor(claim.rotation), version, vendor_id=intent.vendor_id)
