"""The door to management credentials: try one before it is stored, and replace one that is in use.

A credential is tried by a harmless call, and its account at the vendor must be that of the keys on
record. The old one goes only then, from its own path in Vault; what works with it just now ends first.
"""

from dataclasses import replace

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from keyvault import approvals, belonging, leftovers
from keyvault.approval_models import Act
from keyvault.approvals import Asked
from keyvault.audit.log import member_actor, record
from keyvault.audit.models import Action
from keyvault.errors import BadInput, Conflict, Unavailable
from keyvault.fingerprints import fingerprint
from keyvault.models import LIVE_STATES, Account, KeyVersion, Member
from keyvault.permissions import hold, require_owner
from keyvault.secret_text import Secret
from rotation.checking import ACCOUNTS, provider_of, vendor_account
from rotation.models import OPEN_STEPS, Rotation, WaitingFor
from rotation.providers.base import Provider, VendorAccount, VendorError

# A list that lacks more than this part of the keys on record is another account's.
_BELIEVED = 0.5
_REFUSING = (401, 403)


def replace_credential(
    by: Member, account: Account, text: str, *, as_it_is: bool = False
) -> Account:
    """Work with another management credential at this account from now on, and destroy the old one.

    Raises Denied, BadInput for one that is refused or of another account, Conflict, Unavailable, or
    NeedsApproval; then the old one stays in use, and the new one is kept nowhere.
    """
    require_owner(by, "replace management credentials")
    if not provider_of(account).can_list:
        raise BadInput(
            _("{vendor} has no API to manage keys: there is no credential to replace.").format(
                vendor=provider_of(account).name
            ),
            code="no_credential",
        )
    secret = belonging.take(account, text, as_it_is=as_it_is).secret
    told = examine(account, secret)
    mark = fingerprint(secret)
    if mark == account.management_fingerprint:
        raise Conflict(
            _(
                "This is the credential that is in use. Nothing was changed: make another one first."
            ),
            code="same_credential",
        )
    what = f"Replace the management credential of the account “{account}”"
    parameters = {"account": account.pk, "credential": mark}
    approvals.require(by, Asked(Act.VENDOR, what, parameters))
    path = leftovers.write(ACCOUNTS, {"credential": secret.reveal()})
    with leftovers.saving(path):
        hold(by)
        changed = Account.objects.filter(
            pk=account.pk, management_path=account.management_path
        ).update(management_path=path, **facts_of(secret, told))
        if not changed:
            raise Conflict(
                _("Somebody else replaced this credential at this moment. Yours was not stored.")
            )
        leftovers.leave(ACCOUNTS, account.management_path)
        record(Action.ACCOUNT_CREDENTIAL_REPLACED, member_actor(by), account, vendor_account=told)
        _wake(account)
    account.refresh_from_db()
    return account


def facts_of(secret: Secret, vendor_account_id: str) -> dict[str, object]:
    """Return what an account's row notes of its management credential."""
    return {
        "management_fingerprint": fingerprint(secret),
        "management_since": timezone.now(),
        "vendor_account": vendor_account_id[:100],
    }


def examine(account: Account, credential: Secret) -> str:
    """Try a credential by a harmless call; return the vendor's id of its account, "" where none is told.

    Raises BadInput when it is refused or of another account than the keys on record, Unavailable when
    the vendor does not say.
    """
    provider = provider_of(account)
    if not provider.can_list:
        return ""
    where = replace(vendor_account(account), management=credential)
    try:
        told = provider.identify(where)
        if account.pk:
            _require_same_account(account, provider, where, told)
    except VendorError as error:
        if error.status in _REFUSING and error.code:
            raise BadInput(
                _(
                    "The vendor refuses this management credential: {text} Nothing was stored. Check "
                    "that it was copied whole, and that it may manage keys."
                ).format(text=error.text),
                code="refused_by_vendor",
            ) from None
        raise Unavailable(
            _(
                "The vendor could not be asked about this management credential: {text} Nothing was "
                "stored. Try again in a moment."
            ).format(text=error.text),
            code="vendor_cannot_tell",
        ) from None
    return told


def _require_same_account(
    account: Account, provider: Provider, where: VendorAccount, told: str
) -> None:
    """Raise BadInput when the vendor's word, or its list, shows another account than the keys'."""
    live = KeyVersion.objects.filter(key__account=account, state__in=LIVE_STATES)
    named = live.exclude(vendor_account="").values_list("vendor_account", flat=True)
    known = set(named.distinct())
    if told and known:
        if told not in known:
            raise _other(account, told, ", ".join(sorted(known)[:5]))
        return
    ids = set(live.exclude(vendor_id="").values_list("vendor_id", flat=True))
    there = {key.vendor_id for key in provider.list_all(where)} & ids if ids else ids
    if ids and len(there) < len(ids) * _BELIEVED:
        raise _other(account, _("one that lists none of them"), _("another one"))


def _other(account: Account, theirs: str, ours: str) -> BadInput:
    return BadInput(
        _(
            "This management credential belongs to another account at the vendor ({theirs}) than the "
            "keys of “{account}” ({ours}): new keys would be made in the wrong one. Nothing was stored; "
            "the old credential stays in use."
        ).format(theirs=theirs, account=account, ours=ours),
        code="other_account",
    )


def _wake(account: Account) -> None:
    """Have every rotation that may have waited for another credential look again now."""
    Rotation.objects.filter(
        key__account=account,
        step__in=OPEN_STEPS,
        waiting_for__in=(WaitingFor.PERSON, WaitingFor.VENDOR),
    ).update(due_at=Now(), wake=F("wake") + 1, attempt=0)
