"""Create a key at the vendor so that no crash, duplicate or lost answer leaves one unknown.

1. An intent commits, with the label the vendor will carry and the path in Vault.
2. The vendor creates the key. 3. The secret is written once at that path: this write decides.
4. The version's row commits and the intent is settled.

A worker that finds an open intent looks at the path first. A secret there is adopted. Else a mark
is written at the path, so that no late worker can put a secret there any more; then the vendor's
list is searched by label and what is found is deleted, since its secret is lost.
"""

import time
import uuid
from datetime import datetime, timedelta

from django.conf import settings

from keyvault.audit.actors import system_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import db_clock
from keyvault.core.errors import KeyServiceError
from keyvault.core.failpoints import reached
from keyvault.core.secret import Secret
from keyvault.inventory import versions
from keyvault.inventory.vendor_gateway import provider_of, timing_of, vendor_account
from keyvault.models import KeyVersion, Link, VendorAccount
from keyvault.vault import secret_store
from keyvault.vendors.base import CreatedKey, VendorError
from rotation.engine import holds
from rotation.engine.actors import worker_actor
from rotation.engine.lease import Claim, ClaimLost
from rotation.engine.outcomes import GiveUp, Outcome, Park, Retry, Wait
from rotation.engine.steps import compare_keys
from rotation.human_tasks import close_alert, is_open, open_alert
from rotation.models import HumanTask, Intent, Rotation, WaitingFor

MOST_CREATES = 3
_ABANDONED = {"abandoned": "yes"}
# A create that was under way when we looked may still come out; look once more after this.
LOOK_AGAIN = timedelta(minutes=10)
_WRITE_TRIES = 3
_DAY = timedelta(days=1)
_CLOCKS_APART = timedelta(minutes=10)
# The cap may be raised meanwhile, so it is looked at now and then.
_LOOK_AT_CAP = 600.0
_FULL = "KEY_LIMIT_REACHED"


def open_intent(rotation: Rotation) -> Intent | None:
    """Return the create call whose outcome is not settled, if there is one."""
    return rotation.intents.filter(kind=Intent.Kind.CREATE, state=Intent.State.OPEN).first()


def create(claim: Claim) -> Outcome | None:
    """Make a key at the vendor and bring its secret to Vault; None when the vendor has no room."""
    rotation = claim.rotation
    number = rotation.intents.filter(kind=Intent.Kind.CREATE).count() + 1
    if number > MOST_CREATES:
        return GiveUp(
            f"{MOST_CREATES} tries to make a key at the vendor failed. {rotation.last_error}"
        )
    over = _cap_reached(rotation.key.account)
    # guard: cap on new keys
    if over:
        return over
    account = vendor_account(rotation.key.account, manage=True)
    wanted = compare_keys.wanted(rotation)
    reached("intent.before")
    path = uuid.uuid4()
    with claim.transaction():
        # guard: labels of our own
        intent = Intent.objects.create(
            rotation=rotation,
            kind=Intent.Kind.CREATE,
            path=path,
            # What carries this label may be deleted as a stray, so no other installation at the same
            # vendor account, and no database restored to an earlier number, may ever come by it.
            label=f"kv-{rotation.pk}-{number}-{path.hex[:16]}",
            fence=claim.fence,
        )
    reached("intent.after")
    if not claim.still_ours():
        raise ClaimLost
    try:
        created = provider_of(rotation.key.account).create(account, intent.label, wanted)
    except VendorError as error:
        return _failed(claim, intent, error)
    reached("create.after")
    return _keep(claim, intent, created)


def _cap_reached(account: VendorAccount) -> Outcome | None:
    """Stop at the account's cap of new keys a day: past it, a mistake is likelier than a need."""
    made = Intent.objects.filter(
        kind=Intent.Kind.CREATE,
        rotation__key__account=account,
        created_at__gt=db_clock.now() - _DAY,
    )
    about = f"create-cap:{account.pk}"
    actor = system_actor("cap on new keys")
    if made.count() < settings.MAX_KEYS_CREATED_PER_DAY:
        if is_open(HumanTask.Kind.FINDING, about):
            close_alert(actor, HumanTask.Kind.FINDING, about, "New keys may be made again.")
        return None
    first = made.order_by("created_at").values_list("created_at", flat=True)[0]
    text = (
        f"{settings.MAX_KEYS_CREATED_PER_DAY} keys were made at {account} within a day, which is the cap "
        f"(MAX_KEYS_CREATED_PER_DAY). The next one may be made at {first + _DAY:%Y-%m-%d %H:%M} UTC. "
        "Nothing is lost; look whether something rotates too often."
    )
    open_alert(actor, HumanTask.Kind.FINDING, about, text, account=account)
    left = (first + _DAY - db_clock.now()).total_seconds()
    return Wait(WaitingFor.TURN, text, min(_LOOK_AT_CAP, max(1.0, left)))


def _failed(claim: Claim, intent: Intent, error: VendorError) -> Outcome | None:
    """Tell a clear no, after which nothing exists, from an answer that leaves it open."""
    if error.sent:
        with claim.transaction():
            Intent.objects.filter(pk=intent.pk).update(unclear_since=db_clock.now())
        text = f"{error.text} It is not known whether a key was made: looking before trying again."
        return Retry(WaitingFor.VENDOR, text)
    with claim.transaction():
        if error.retryable or error.code == _FULL or error.status == 401:
            intent.delete()  # nothing was made: not one of the few tries
        else:
            resolve_intent(intent, Intent.State.ABANDONED, f"No key was made: {error.text}")
    if error.code == _FULL:
        return None
    if error.status == 401:
        return Park(
            f"The vendor refuses the management credential of {claim.rotation.key.account}: "
            f"{error.text} No key was made. Replace it on the account's page; this goes on by itself."
        )
    if error.retryable:
        return Retry(WaitingFor.VENDOR, error.text, error.retry_after)
    return GiveUp(f"The vendor does not make a key: {error.text}")


def _keep(claim: Claim, intent: Intent, created: CreatedKey) -> Outcome:
    """Write the new secret to Vault once; the loser of two writers deletes its own key only."""
    Intent.objects.filter(pk=intent.pk).update(vendor_id=created.vendor_id)
    fault = unusable(created.secret)
    # guard: key that cannot be sent refused
    if fault:
        return _refuse(claim, intent, created, fault)
    data = as_stored(claim, intent, created)
    reached("store.before")
    try:
        write(intent, data)
    except secret_store.StoreConflict:
        if secret_store.read(versions.AREA, intent.path) != data:
            reason = "Another worker was faster; the key made here was deleted."
            _delete_own(claim.rotation, created, reason)
            raise ClaimLost from None
    except secret_store.StoreDenied as error:
        # guard: keys without a home are taken back
        return _take_back(claim, intent, created, error)
    reached("store.after")
    return adopt(claim, intent, data)


def unusable(secret: Secret) -> str:
    """Return why no application could send this secret in a header; empty when it can be sent."""
    for position, character in enumerate(secret.reveal(), start=1):
        if not "!" <= character <= "~":
            return (
                f"The vendor made a key that cannot be sent in a request: character {position} of "
                f"{len(secret)} is U+{ord(character):04X}."
            )
    return ""


def _refuse(claim: Claim, intent: Intent, created: CreatedKey, fault: str) -> Outcome:
    """Delete a key that works for nobody; nothing of it was stored."""
    try:
        _delete_own(claim.rotation, created, f"{fault} It was deleted.")
    except VendorError as error:
        with claim.transaction():
            Intent.objects.filter(pk=intent.pk).update(unclear_since=db_clock.now())
        text = f"{fault} It could not be deleted ({error.text}): looking for it by its label."
        return Retry(WaitingFor.VENDOR, text, error.retry_after)
    with claim.transaction():
        resolve_intent(intent, Intent.State.ABANDONED, fault)
    return GiveUp(f"{fault} It was deleted there and stored nowhere; applications keep their key.")


def as_stored(claim: Claim, intent: Intent, created: CreatedKey) -> dict[str, str]:
    """Return what is written to Vault of a new key: enough to adopt it, and to tell whose it is."""
    return {
        "secret": created.secret.reveal(),
        "vendor_id": created.vendor_id,
        "expires_at": created.expires_at.isoformat() if created.expires_at else "",
        "label": intent.label,
        **versions.owner_labels(claim.rotation.key),
    }


def write(intent: Intent, data: dict[str, str]) -> None:
    """Write with a few quick repeats: the secret exists nowhere else until this succeeds."""
    for last in (*[False] * (_WRITE_TRIES - 1), True):
        try:
            return secret_store.write_once(versions.AREA, intent.path, data)
        except secret_store.StoreUnavailable:
            if last:
                raise
            time.sleep(1.0)


def _take_back(
    claim: Claim, intent: Intent, created: CreatedKey, denied: secret_store.StoreDenied
) -> Outcome:
    """Delete a key whose secret Vault will not take: nobody else will ever have it."""
    try:
        _delete_own(claim.rotation, created, "Vault refused its secret; the key was deleted.")
    except (VendorError, KeyServiceError) as error:
        said = error.text if isinstance(error, VendorError) else error.message
        return Park(
            f"{denied.message} The new key {created.vendor_id} could not be deleted at the vendor "
            f"({said}): delete it there."
        )
    with claim.transaction():
        resolve_intent(intent, Intent.State.ABANDONED, "Vault refused the secret.")
    return GiveUp(denied.message)


def _delete_own(rotation: Rotation, created: CreatedKey, reason: str) -> None:
    account = vendor_account(rotation.key.account, manage=True)
    provider_of(rotation.key.account).delete(account, created.vendor_id)
    record(
        Action.VENDOR_KEY_STRAY,
        worker_actor(rotation),
        rotation,
        reason=reason,
        vendor_id=created.vendor_id,
    )


def adopt(claim: Claim, intent: Intent, data: dict[str, str]) -> Outcome:
    """Record the secret that lies in Vault as the rotation's new version."""
    rotation = claim.rotation
    draft = versions.draft_version(
        rotation.key, Secret(data["secret"]), source="created", added_by=None
    )
    draft.path, draft.label, draft.vendor_id = intent.path, intent.label, data["vendor_id"]
    if draft.vendor_id:
        draft.link, draft.linked_at = Link.ANSWER, db_clock.now()
    draft.expires_at = datetime.fromisoformat(data["expires_at"]) if data["expires_at"] else None
    reached("record.before")
    with claim.transaction():
        versions.save_next(draft)
        resolve_intent(intent, Intent.State.DONE, "The key was made.")
        claim.write(new_version=draft, proving_since=db_clock.now())
        record(
            Action.VENDOR_KEY_CREATED,
            worker_actor(rotation),
            draft,
            label=intent.label,
            vendor_id=draft.vendor_id,
        )
    reached("record.after")
    return Wait(WaitingFor.VENDOR, "A new key was made; it is checked next.", 0.0)


def recover(claim: Claim, intent: Intent) -> Outcome:
    """Settle a create call whose outcome is unknown: adopt, or delete what it left behind."""
    rotation = claim.rotation
    data = stored(intent)
    if "secret" in data:
        return adopt(claim, intent, data)
    provider = provider_of(rotation.key.account)
    if not provider.can_list:
        return Park(
            f"A call to make a key had no clear answer, and {provider.name} cannot list its keys. "
            f"Look there for a key named {intent.label}, delete it, then choose “Try again”."
        )
    if not data:
        try:
            # guard: mark against late writers
            secret_store.write_once(versions.AREA, intent.path, _ABANDONED)
        except secret_store.StoreConflict:
            return Wait(WaitingFor.VENDOR, "Another worker just stored the key.", 0.0)
        except secret_store.StoreDenied as error:
            which = intent.vendor_id or f"labelled {intent.label}"
            return Park(f"{error.message} A key {which} may live at the vendor, used by nobody.")
    return holds.wait_for_deletions() or _clear_away(claim, intent)


def stored(intent: Intent) -> dict[str, str]:
    """Return what lies at the intent's path in Vault; empty when nothing was ever written there."""
    try:
        return secret_store.read(versions.AREA, intent.path)
    except secret_store.StoreDeleted:
        return _ABANDONED
    except secret_store.StoreMissing:
        return {}


def _clear_away(claim: Claim, intent: Intent) -> Outcome:
    """Delete what the vendor lists under the label; wait out the list's lag before believing none."""
    rotation = claim.rotation
    found = delete_strays(intent)
    since = intent.unclear_since or db_clock.now()
    lag = timedelta(seconds=timing_of(rotation.key.account).list_lag_seconds)
    # guard: list lag
    if not found and db_clock.now() - since < lag:
        with claim.transaction():
            Intent.objects.filter(pk=intent.pk).update(unclear_since=since)
        text = "The vendor lists no key from the unclear call so far; looking again."
        return Wait(WaitingFor.VENDOR, text, min(2.0, lag.total_seconds()))
    # guard: a list without labels is no evidence
    nameless = [] if found else _nameless(intent)
    if nameless:
        return Park(
            f"A call to make a key had no clear answer. The vendor lists no key {intent.label}, but "
            f"shows keys without any name that were made since and that nobody here knows: "
            f"{', '.join(nameless[:5])}. One of them may come from that call. Delete it there, or "
            "record it here if it is somebody's, then choose “Try again”. Nothing was deleted."
        )
    with claim.transaction():
        resolve_intent(
            intent,
            Intent.State.ABANDONED,
            f"{found} stray key deleted." if found else "No key was made.",
            look_again_at=db_clock.now() + LOOK_AGAIN,
        )
    return Wait(WaitingFor.VENDOR, "The unclear call is settled; making a key anew.", 0.0)


def _nameless(intent: Intent) -> list[str]:
    """Return ids of unknown keys without a label that may come from the intent's call.

    Some vendors' lists leave labels out, be it for a while: then a search by label finds nothing,
    which says nothing. Raises VendorError rather than look at a part of the list.
    """
    account = intent.rotation.key.account
    listed = provider_of(account).list_all(vendor_account(account, manage=True))
    since = intent.created_at - _CLOCKS_APART
    possible = {
        key.vendor_id
        for key in listed
        if not key.label and (key.created_at is None or key.created_at >= since)
    }
    known = KeyVersion.objects.filter(key__account=account, vendor_id__any=list(possible))
    return sorted(possible - set(known.values_list("vendor_id", flat=True)))


def delete_strays(intent: Intent) -> int:
    """Delete every key that carries this intent's label; returns how many. Raises VendorError."""
    rotation = intent.rotation
    provider = provider_of(rotation.key.account)
    account = vendor_account(rotation.key.account, manage=True)
    if KeyVersion.objects.filter(label=intent.label, key=rotation.key).exists():
        return 0  # adopted after all: not a stray
    strays = provider.find(account, intent.label)
    for stray in strays:
        reached("stray.before")
        provider.delete(account, stray.vendor_id)
        record(
            Action.VENDOR_KEY_STRAY,
            worker_actor(rotation),
            rotation,
            reason="A key from an unclear call was deleted; nobody has its secret.",
            vendor_id=stray.vendor_id,
            label=intent.label,
        )
    return len(strays)


def resolve_intent(
    intent: Intent, state: Intent.State, outcome: str, look_again_at: datetime | None = None
) -> None:
    """Note what came of the call that an open intent announced."""
    Intent.objects.filter(pk=intent.pk, state=Intent.State.OPEN).update(
        state=state,
        outcome=outcome[:300],
        settled_at=db_clock.now(),
        look_again_at=look_again_at,
    )
