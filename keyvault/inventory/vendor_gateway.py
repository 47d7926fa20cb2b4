"""Ask vendors: build the account a provider needs, and get its verdict on a secret."""

import time
import uuid

from django.conf import settings

from keyvault.core.errors import BadInput
from keyvault.core.redaction import one_line
from keyvault.core.secret import Secret
from keyvault.core.ttl_cache import TTLCache
from keyvault.models import KeyVersion, VendorAccount
from keyvault.vault import secret_store
from keyvault.vendors import PROVIDERS
from keyvault.vendors.base import CheckResult, Provider, Timing, VendorConnection

ACCOUNTS = "accounts"
_KEPT_SECONDS = 10.0
_credentials: TTLCache[uuid.UUID, Secret] = TTLCache(1000)


def provider_of(account: VendorAccount) -> Provider:
    """Return the provider that speaks to this account's vendor; BadInput for an unknown one."""
    try:
        return PROVIDERS[account.provider]
    except KeyError:
        raise BadInput(
            (
                f"The account “{account}” names the vendor “{account.provider}”, which this version "
                "does not know. Nothing was changed."
            ),
            code="unknown_provider",
        ) from None


def timing_of(account: VendorAccount) -> Timing:
    """Return how this account's vendor lags: the provider's word, adjusted by the account."""
    return provider_of(account).timing.adjusted(account.settings)


def vendor_account(account: VendorAccount, *, manage: bool = False) -> VendorConnection:
    """Return where and as whom to call; with `manage`, with the management credential from Vault."""
    management = None
    if manage and account.management_path:
        management = _credential(account.management_path)
    return VendorConnection(
        base_url=account.base_url,
        dashboard_url=account.dashboard_url,
        settings=account.settings,
        management=management,
        allow_loopback=settings.ALLOW_LOOPBACK_TARGETS,
    )


def _credential(path: uuid.UUID) -> Secret:
    """Return the credential at this path. What lies there never changes: another one gets another path.

    A step calls the vendor several times, and each rotation at an account needs the same one.
    """
    known = _credentials.get(path, time.monotonic())
    if known is None:
        known = Secret(secret_store.read(ACCOUNTS, path)["credential"])
        _credentials.put(path, known, time.monotonic() + _KEPT_SECONDS)
    return known


def forget() -> None:
    """Keep no credential any more."""
    _credentials.clear()


def check_secret(account: VendorAccount, secret: Secret) -> CheckResult:
    """Return the vendor's verdict on `secret`: valid, refused or cannot tell."""
    return provider_of(account).check(vendor_account(account), secret)


def no_overlap(account: VendorAccount, version: KeyVersion | None) -> str:
    """Return what a rotation at this account means for applications; empty when keys can overlap.

    `version` is the one that the vendor would end, by its id.
    """
    provider = provider_of(account)
    if not provider.replaces_in_place:
        return ""
    # guard: whoever agrees is told that the id is unproven
    return (
        f"No overlap: {provider.name} ends the old key as it makes the new one. Applications are "
        "refused from then until they have fetched the new key. A person must agree first, at a time "
        f"that suits.{unproven_id(version)}"
    )


def unproven_id(version: KeyVersion | None) -> str:
    """Return what agreeing to a call by the version's id risks, where nothing proves the id so far."""
    if version is None or not version.vendor_id or version.is_linked:
        return ""
    return (
        f" So far nothing proves that the id {one_line(version.vendor_id, 60)} is this key's: if it "
        "is another key's, that one is ended instead. Compare it with the vendor's dashboard first."
    )
