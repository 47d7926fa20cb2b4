"""The door to vendor accounts: record one, and put its management credential into Vault."""

import uuid
from dataclasses import dataclass

from django.db import IntegrityError

from keyvault.access import approvals
from keyvault.access.approvals import Asked
from keyvault.access.permissions import require_owner
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core import outbound_addresses
from keyvault.core.errors import BadInput, Conflict
from keyvault.core.secret import Secret
from keyvault.inventory import catalog, credential_check, secret_names, stored_secrets, vendor_match
from keyvault.inventory.vendor_gateway import ACCOUNTS, check_secret
from keyvault.models import Member, VendorAccount
from keyvault.models.approvals import ApprovalAction
from keyvault.vendors import PROVIDERS
from keyvault.vendors.base import REFUSED, VALID


def add_account(
    by: Member,
    *,
    name: str,
    provider: str,
    base_url: str,
    dashboard_url: str = "",
    management_credential: str = "",
    as_it_is: bool = False,
) -> VendorAccount:
    """Record an account at a vendor; the credential goes straight to Vault and is never shown.

    `as_it_is` is a person's word that the credential is this vendor's and really looks so.

    Raises Denied, BadInput, Conflict on a used name, or an error of the secret store.
    """
    require_owner(by, "add accounts")
    if provider not in PROVIDERS:
        raise BadInput(f"“{provider}” is not a known vendor.")
    for url in filter(None, (base_url, dashboard_url)):
        outbound_addresses.require_safe(url, "A vendor's", path_only=True)
    secret_names.refuse_secret(name)
    parameters = {
        "name": name.strip(),
        "provider": provider,
        "base": base_url,
        "page": dashboard_url,
    }
    what = f"Send keys of the account “{name.strip()}” ({provider}) to {base_url}"
    approvals.require(by, Asked(ApprovalAction.VENDOR, what, parameters))
    account = VendorAccount(
        name=name.strip(), provider=provider, base_url=base_url, dashboard_url=dashboard_url
    )
    if management_credential:
        secret = vendor_match.take(account, management_credential, as_it_is=as_it_is).secret
        facts = credential_check.facts_of(secret, credential_check.examine(account, secret))
        account.management_path = stored_secrets.store_secret(
            ACCOUNTS, {"credential": secret.reveal()}
        )
        for name, value in facts.items():
            setattr(account, name, value)
    elif PROVIDERS[provider].can_create or PROVIDERS[provider].replaces_in_place:
        raise BadInput(f"{PROVIDERS[provider].name} needs a management credential to make keys.")
    try:
        with stored_secrets.saving(account.management_path):
            account.save()
            record(Action.ACCOUNT_CREATED, member_actor(by), account, provider=provider)
    except IntegrityError:
        raise Conflict(f"There is already an account named “{name}”.", code="name_used") from None
    return account


def change_account(
    by: Member, account: VendorAccount, seen: str | None = None, **changes: str
) -> VendorAccount:
    """Change an account's name or the address of its dashboard, not where keys are sent.

    Raises Denied, BadInput, or Conflict.
    """
    require_owner(by, "change accounts")
    if changes.get("dashboard_url"):
        # guard: an account's address stays
        outbound_addresses.require_safe(changes["dashboard_url"], "A vendor's", path_only=True)
    return catalog.save_changes(by, account, Action.ACCOUNT_CHANGED, changes, seen)


@dataclass(frozen=True)
class Connection:
    """Whether the vendor answers as it should, and what it said."""

    good: bool
    text: str


def try_connection(by: Member, account: VendorAccount) -> Connection:
    """Ask the vendor about a key that does not exist: it must answer, and refuse it."""
    require_owner(by, "test accounts")
    made_up = Secret(f"keyvault-connection-test-{uuid.uuid4().hex}")
    verdict = check_secret(account, made_up)
    if verdict.answer == REFUSED:
        return Connection(True, f"{account} answers, and refuses a made-up key as it should.")
    if verdict.answer == VALID:
        return Connection(
            False, f"{account.base_url} accepts any key: this is not the vendor's own address."
        )
    return Connection(False, f"{account.base_url} gave no clear answer: {verdict.text}")
