"""Is a management credential good, and of which account at the vendor? Asked before it is stored."""

from dataclasses import replace

from django.utils import timezone

from keyvault.core.errors import BadInput, Unavailable
from keyvault.core.hashing import fingerprint
from keyvault.core.secret import Secret
from keyvault.inventory.vendor_gateway import provider_of, vendor_account
from keyvault.models import LIVE_STATES, KeyVersion, VendorAccount
from keyvault.vendors.base import Provider, VendorConnection, VendorError

# A list that lacks more than this part of the keys on record is another account's.
_BELIEVED = 0.5
_REFUSING = (401, 403)


def facts_of(secret: Secret, vendor_account_id: str) -> dict[str, object]:
    """Return what an account's row notes of its management credential."""
    return {
        "management_fingerprint": fingerprint(secret),
        "management_since": timezone.now(),
        "vendor_account": vendor_account_id[:100],
    }


def examine(account: VendorAccount, credential: Secret) -> str:
    """Try a credential by a harmless call; return the vendor's id of its account, "" where none is told.

    Raises BadInput when it is refused or of another account than the keys on record, Unavailable when
    the vendor does not say.
    """
    provider = provider_of(account)
    if not provider.can_list:
        return ""
    where = replace(vendor_account(account), management=credential)
    try:
        # guard: a credential is tried before it is kept
        told = provider.identify(where)
        # guard: another credential must be of the same account
        if account.pk:
            require_same_account(account, provider, where, told)
    except VendorError as error:
        if error.status in _REFUSING and error.code:
            raise BadInput(
                (
                    f"The vendor refuses this management credential: {error.text} Nothing was stored. Check "
                    "that it was copied whole, and that it may manage keys."
                ),
                code="refused_by_vendor",
            ) from None
        raise Unavailable(
            (
                f"The vendor could not be asked about this management credential: {error.text} Nothing was "
                "stored. Try again in a moment."
            ),
            code="vendor_cannot_tell",
        ) from None
    return told


def require_same_account(
    account: VendorAccount, provider: Provider, where: VendorConnection, told: str
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
        raise _other(account, "one that lists none of them", "another one")


def _other(account: VendorAccount, theirs: str, ours: str) -> BadInput:
    return BadInput(
        (
            f"This management credential belongs to another account at the vendor ({theirs}) than the "
            f"keys of “{account}” ({ours}): new keys would be made in the wrong one. Nothing was stored; "
            "the old credential stays in use."
        ),
        code="other_account",
    )
