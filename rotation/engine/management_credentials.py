"""Replace a management credential: the new one is tried before it is stored."""

from django.db.models import F
from django.db.models.functions import Now

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import lock_member, require_owner
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput, Conflict
from keyvault.core.hashing import fingerprint
from keyvault.inventory import stored_secrets, vendor_match
from keyvault.inventory.credential_check import examine, facts_of
from keyvault.inventory.vendor_gateway import ACCOUNTS, provider_of
from keyvault.models import Member, VendorAccount
from keyvault.models.approvals import ApprovalAction
from rotation.models import OPEN_STEPS, Rotation, WaitingFor


def replace_credential(
    by: Member, account: VendorAccount, text: str, *, as_it_is: bool = False
) -> VendorAccount:
    """Work with another management credential at this account from now on, and destroy the old one.

    Raises Denied, BadInput for one that is refused or of another account, Conflict, Unavailable, or
    NeedsApproval; then the old one stays in use, and the new one is kept nowhere.
    """
    require_owner(by, "replace management credentials")
    if not provider_of(account).can_list:
        raise BadInput(
            f"{provider_of(account).name} has no API to manage keys: there is no credential to replace.",
            code="no_credential",
        )
    secret = vendor_match.take(account, text, as_it_is=as_it_is).secret
    told = examine(account, secret)
    mark = fingerprint(secret)
    if mark == account.management_fingerprint:
        raise Conflict(
            "This is the credential that is in use. Nothing was changed: make another one first.",
            code="same_credential",
        )
    what = f"Replace the management credential of the account “{account}”"
    parameters = {"account": account.pk, "credential": mark}
    approvals.require(by, Asked(ApprovalAction.VENDOR, what, parameters))
    path = stored_secrets.store_secret(ACCOUNTS, {"credential": secret.reveal()})
    with stored_secrets.saving(path):
        lock_member(by)
        # guard: of two replacements at once one counts
        changed = VendorAccount.objects.filter(
            pk=account.pk, management_path=account.management_path
        ).update(management_path=path, **facts_of(secret, told))
        if not changed:
            raise Conflict(
                "Somebody else replaced this credential at this moment. Yours was not stored."
            )
        # guard: the old credential leaves Vault
        stored_secrets.release_secret(ACCOUNTS, account.management_path)
        record(Action.ACCOUNT_CREDENTIAL_REPLACED, member_actor(by), account, vendor_account=told)
        # guard: another credential wakes what waits for one
        _wake(account)
    account.refresh_from_db()
    return account


def _wake(account: VendorAccount) -> None:
    """Have every rotation that may have waited for another credential look again now."""
    Rotation.objects.filter(
        key__account=account,
        step__in=OPEN_STEPS,
        waiting_for__in=(WaitingFor.PERSON, WaitingFor.VENDOR),
    ).update(due_at=Now(), wake=F("wake") + 1, attempt=0)
