"""The door to keys: everything that adds, releases or changes a key or one of its secrets.

Each act asks `may()`, then audits, then changes. Views, API, admin and commands call these and
nothing below them. State changes of versions stand in versions.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from keyvault.access.permissions import Permission, lock_member, may
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record, record_now
from keyvault.audit.models import Action
from keyvault.core import dates
from keyvault.core.errors import BadInput, Conflict, Denied, NotFound, Unavailable
from keyvault.core.hashing import fingerprint
from keyvault.core.secret import Secret
from keyvault.core.validators import require_clean
from keyvault.inventory import (
    secret_names,
    stored_secrets,
    vendor_id_format,
    vendor_match,
    versions,
)
from keyvault.inventory.vendor_gateway import check_secret
from keyvault.models import (
    LIVE_STATES,
    ApiKey,
    Application,
    Environment,
    KeyVersion,
    Member,
    VendorAccount,
    VersionState,
)
from keyvault.vendors.base import REFUSED, VALID, CheckResult


@dataclass
class Added:
    """A version that was stored, the vendor's verdict on it, and what was taken off the paste."""

    version: KeyVersion
    verdict: CheckResult
    notes: list[str] = field(default_factory=list)


@dataclass
class NewKey:
    """What a person says of a key that is to be recorded; owned by an application or a member."""

    account: VendorAccount
    environment: Environment
    name: str
    application: Application | None = None
    member: Member | None = None
    purpose: str = ""
    expires_at: datetime | None = None
    vendor_id: str = ""
    # A person's word that a name which looks like a secret is none.
    name_is_right: bool = False


def get_key(by: Member, key_id: int, verb: Permission = Permission.VIEW) -> ApiKey:
    """Return the key if `by` may do `verb` to it.

    Raises NotFound for an unknown key and for one that `by` may not know of, alike; Denied when
    it may be seen but not that be done to it.
    """
    key = (
        ApiKey.objects.select_related("account", "environment", "application", "member", "current")
        .filter(pk=key_id)
        .first()
    )
    if key is None or not may(by, Permission.VIEW, key):
        raise NotFound("There is no such key, or it is not yours to see.")
    if not may(by, verb, key):
        raise Denied(f"You may see this key, but your role does not let you {verb.label.lower()}.")
    return key


def register_key(
    by: Member, new: NewKey, text: str, *, unchecked: bool = False, as_it_is: bool = False
) -> Added:
    """Record a key that exists at the vendor already, with its secret as pasted in `text`.

    The secret is cleaned, compared with known ones, checked with the vendor, written to Vault, and
    only then do the rows appear. `unchecked` accepts a key when the vendor cannot be asked now,
    `as_it_is` one of which a person says that it is this vendor's, and really looks so.
    Raises BadInput, Conflict, Denied, NotFound, Unavailable; then nothing is recorded.
    """
    key = require_recordable(by, new)
    pasted = vendor_match.take(new.account, text, as_it_is=as_it_is)
    # guard: a key is not named by itself
    secret_names.refuse_own_secret(pasted.secret, (new.name, new.purpose, new.vendor_id))
    refuse_known(by, pasted.secret)
    vendor_id_format.require_free(by, new.account, new.vendor_id)
    verdict = check_secret(new.account, pasted.secret)
    require_valid(verdict, accept_unknown=unchecked)
    refuse_foreign_account(new.account, verdict)
    draft = versions.draft_version(key, pasted.secret, source="registered", added_by=by)
    draft.expires_at, draft.vendor_id = new.expires_at, new.vendor_id
    versions.note_verdict(draft, verdict)
    versions.put_secret(draft, pasted.secret, key)
    try:
        with stored_secrets.saving(draft.path):
            # guard: held while a key is recorded
            lock_member(by)
            # guard: a second live key with one id is looked for under a lock
            vendor_id_format.require_free(by, new.account, new.vendor_id)
            key.save()
            draft.key = key
            versions.save_first(draft)
            record(Action.KEY_REGISTERED, member_actor(by), key, version=1, answer=verdict.answer)
    except IntegrityError:
        raise _lost_race() from None
    return Added(draft, verdict, pasted.notes)


def require_recordable(by: Member, new: NewKey) -> ApiKey:
    """Return the unsaved row of a key that may be recorded so; raises as `register_key` does."""
    key = _new_key(by, new)
    secret_names.refuse_secret(key.name, is_right=new.name_is_right)
    _refuse_used_name(key)
    dates.refuse_past(new.expires_at, timezone.now())
    return key


def add_pasted(
    by: Member,
    key: ApiKey,
    text: str,
    state: VersionState,
    save: Callable[[KeyVersion], None] = versions.save_next,
    *,
    as_it_is: bool = False,
) -> Added:
    """Store a secret that a person made at the vendor, as `standby` or as a rotation's `pending`.

    `save` saves the version, in the transaction that keeps its secret, and may choose its state.
    Raises BadInput, Conflict or Unavailable; then nothing is stored.
    """
    if not may(by, Permission.PASTE, key):
        raise Denied("Your role does not let you add secrets to this key.")
    pasted = vendor_match.take(key.account, text, as_it_is=as_it_is)
    refuse_known(by, pasted.secret)
    verdict = check_secret(key.account, pasted.secret)
    require_valid(verdict)
    refuse_other_account(key, verdict)
    draft = versions.draft_version(key, pasted.secret, source="pasted", added_by=by)
    draft.state = state
    versions.note_verdict(draft, verdict)
    versions.put_secret(draft, pasted.secret, key)
    try:
        with stored_secrets.saving(draft.path):
            lock_member(by)
            save(draft)
            state = VersionState(draft.state)
            record(Action.VERSION_ADDED, member_actor(by), draft, state=state, source="pasted")
    except IntegrityError:
        raise _lost_race() from None
    return Added(draft, verdict, pasted.notes)


def change_key(by: Member, key: ApiKey, *, name: str, purpose: str) -> None:
    """Change what people call a key; no edit of this kind can reach its secret.

    Raises Denied, BadInput for an empty or odd name, Conflict for a used one.
    """
    if not may(by, Permission.REGISTER, key):
        raise Denied("Your role does not let you change this key.")
    key.name, key.purpose = name.strip(), purpose
    secret_names.refuse_secret(key.name)
    _refuse_used_name(key)
    try:
        with transaction.atomic():
            ApiKey.objects.filter(pk=key.pk).update(name=key.name, purpose=purpose)
            record(Action.KEY_CHANGED, member_actor(by), key)
    except IntegrityError:
        raise _lost_race() from None


def check_key(by: Member, key: ApiKey) -> CheckResult:
    """Ask the vendor about the current secret and note the answer."""
    if not may(by, Permission.VIEW, key):
        raise NotFound("There is no such key, or it is not yours to see.")
    if key.current is None:
        raise Conflict("This key has no current secret to check.")
    record_now(Action.KEY_CHECKED, member_actor(by), key, version=key.current.number)
    verdict = check_secret(key.account, versions.read_secret(key.current))
    versions.save_verdict(key.current, verdict)
    return verdict


def refuse_known(by: Member, secret: Secret) -> None:
    """Raise Conflict when this secret is recorded already; names the key only to who may see it."""
    known = (
        KeyVersion.objects.select_related("key__account", "key__environment", "key__application")
        .filter(fingerprint=fingerprint(secret))
        .order_by("-pk")
        .first()
    )
    if known is None:
        return
    which = (
        f" as “{known.key}”, version {known.number}" if may(by, Permission.VIEW, known.key) else ""
    )
    if known.state not in LIVE_STATES:
        raise Conflict(
            (
                f"This secret was recorded before{which} and has been retired. Nothing was "
                "stored. Make a new key at the vendor."
            ),
            code="retired_secret",
        )
    raise Conflict(
        (
            f"This secret is recorded already{which}. Nothing was stored. If you meant to "
            "replace a key, make a new one at the vendor first."
        ),
        code="duplicate",
    )


def require_valid(verdict: CheckResult, *, accept_unknown: bool = False) -> None:
    """Raise BadInput for a refused secret, and Unavailable when the vendor gave no verdict."""
    if verdict.answer == REFUSED:
        raise BadInput(
            (
                f"The vendor refuses this key: {verdict.text} Nothing was stored. Check that you copied "
                "the right key, and that it is active."
            ),
            code="refused_by_vendor",
        )
    if verdict.answer != VALID and not accept_unknown:
        raise Unavailable(
            (
                f"The vendor could not be asked about this key: {verdict.text} Nothing was stored. Try "
                "again in a moment."
            ),
            code="vendor_cannot_tell",
        )


def refuse_other_account(key: ApiKey, verdict: CheckResult) -> None:
    """Raise BadInput when the vendor describes another account than for the key's current secret.

    A current secret that Vault has lost tells nothing, and what is pasted is what mends that.
    """
    refuse_foreign_account(key.account, verdict)
    if key.current is None:
        return
    try:
        current = versions.read_secret(key.current)
    # guard: paste over a lost current secret
    except versions.LOST:
        return
    known = check_secret(key.account, current)
    told = known.account or key.current.vendor_account
    same = not (told and verdict.account) or told == verdict.account
    if same and (known.answer != VALID or known.facts == verdict.facts):
        return
    raise BadInput(
        (
            f"This key belongs to another account at the vendor: it reports "
            f"{_facts(verdict, verdict.account)}, the "
            f"current key reports {_facts(known, told)}. Nothing was stored. Sign in to the right "
            "account there and make the key again."
        ),
        code="other_account",
    )


def refuse_foreign_account(account: VendorAccount, verdict: CheckResult) -> None:
    """Raise BadInput when the vendor names another account than for the management credential."""
    known = account.vendor_account
    # guard: no key on record of another account than the credential's
    if not (known and verdict.account) or known == verdict.account:
        return
    raise BadInput(
        (
            f"This key belongs to the account {verdict.account} at the vendor, and the management credential "
            f"of “{account}” to {known}: its keys would be made in the wrong one. Nothing was stored. "
            "Choose the account that it belongs to, or replace the credential on the account's page."
        ),
        code="other_account",
    )


def _facts(verdict: CheckResult, account: str) -> str:
    said = {**verdict.facts, **({"account": account} if account else {})}
    return ", ".join(f"{name} {value}" for name, value in sorted(said.items()))


def _new_key(by: Member, new: NewKey) -> ApiKey:
    if (new.application is None) == (new.member is None):
        raise BadInput("A key belongs to an application or to a member: give one of them.")
    key = ApiKey(
        account=new.account,
        environment=new.environment,
        application=new.application,
        member=new.member,
        name=new.name.strip(),
        purpose=new.purpose,
        created_by=by,
    )
    if new.member is not None and new.member.pk != by.pk:
        raise Denied("A person's own key can be recorded by that person only.")
    if not may(by, Permission.REGISTER, key):
        raise Denied("Your role does not let you record keys for this application and environment.")
    return key


def _refuse_used_name(key: ApiKey) -> None:
    # What it belongs to came as rows, and need not be looked up again.
    require_clean(
        key, exclude=["current", "account", "environment", "application", "member", "created_by"]
    )
    taken = ApiKey.objects.filter(
        account=key.account,
        environment=key.environment,
        name__iexact=key.name,
        archived_at__isnull=True,
    ).exclude(pk=key.pk)
    if taken.exists():
        raise Conflict(
            (
                f"There is already a key named “{key.name}” in this account and environment. Nothing "
                "was stored. Choose another name."
            ),
            code="name_used",
        )


def _lost_race() -> Conflict:
    return Conflict(
        "Someone recorded the same key or name at this moment. Nothing was stored twice. "
        "Look at the list and try again if yours is missing."
    )
