"""The sandbox vendor as one whose only way to a new key ends the old one at once."""

from datetime import datetime

from keyvault.vendors.base import CreatedKey, ListedKey, Timing, VendorConnection
from keyvault.vendors.influtics import Influtics
from keyvault.vendors.sandbox import created, last_used
from keyvault.vendors.sandbox_api import (
    ACCOUNT_HEADER,
    call,
    data_of,
    data_of_key,
    identify,
    listed,
    pages,
    path_of,
)


class SandboxInPlace(Influtics):
    """A vendor that lists its keys and replaces one in place; it makes and deletes none by program."""

    code = "sandbox_inplace"
    name = "Sandbox vendor, in place"
    env_names = ("Influtics", "Sandbox")
    can_list = tells_last_use = tells_rights = replaces_in_place = True
    account_header = ACCOUNT_HEADER
    timing = Timing(
        steady_spacing_seconds=0.5, list_lag_seconds=5.0, last_use_resolution_seconds=0.1
    )

    def replace(self, account: VendorConnection, vendor_id: str) -> CreatedKey:
        """Replace the key; one call, since each kills the key before it."""
        return created(data_of(call(account, "POST", path_of(vendor_id) + "/rotate"), 201))

    def identify(self, account: VendorConnection) -> str:
        """Return the id of the management credential's account, "" where the vendor tells none."""
        return identify(account)

    def list_all(self, account: VendorConnection) -> list[ListedKey]:
        """Return every key of the account, from every page."""
        return pages(account, {})

    def find(self, account: VendorConnection, label: str) -> list[ListedKey]:
        """Return all keys with this label, from every page."""
        return [key for key in pages(account, {"label": label}) if key.label == label]

    def describe(self, account: VendorConnection, vendor_id: str) -> ListedKey:
        """Return the key with its rights and its end."""
        return listed(data_of_key(call(account, "GET", path_of(vendor_id))))

    def last_used(self, account: VendorConnection, vendor_id: str) -> datetime | None:
        """Return when the key was last used, None for never."""
        return last_used(account, vendor_id)
