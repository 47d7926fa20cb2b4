"""The sandbox vendor: the Influtics API plus a key-management API, so that no person is needed."""

from datetime import datetime
from typing import Any

from keyvault.core.secret import Secret
from keyvault.vendors.base import (
    NOTHING_WANTED,
    CreatedKey,
    KeyDead,
    ListedKey,
    Timing,
    VendorConnection,
    VendorError,
    Wanted,
)
from keyvault.vendors.influtics import Influtics
from keyvault.vendors.sandbox_api import (
    ACCOUNT_HEADER,
    call,
    data_of,
    data_of_key,
    identify,
    is_gone,
    listed,
    pages,
    path_of,
    time_of,
)

_DAY = 86400.0


class Sandbox(Influtics):
    """A vendor that can create, list, disable and delete keys, and tells their last use and rights."""

    code = "sandbox"
    name = "Sandbox vendor"
    env_names = ("Influtics", "Sandbox")
    can_create = can_list = can_disable = can_delete = tells_last_use = tells_rights = True
    account_header = ACCOUNT_HEADER
    timing = Timing(
        steady_spacing_seconds=0.5, list_lag_seconds=5.0, last_use_resolution_seconds=0.1
    )

    def create(
        self, account: VendorConnection, label: str, wanted: Wanted = NOTHING_WANTED
    ) -> CreatedKey:
        """Make a key that carries `label`, with the rights and the life that are wanted."""
        body: dict[str, Any] = {"label": label}
        if wanted.rights is not None:
            body["scopes"] = sorted(wanted.rights)
        if wanted.lifetime is not None:
            body["expires_in_days"] = wanted.lifetime.total_seconds() / _DAY
        return created(data_of(call(account, "POST", "/v1/keys", body=body), 201))

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

    def disable(self, account: VendorConnection, vendor_id: str) -> bool:
        """Make the key refused but recoverable; False when the vendor has none of this id."""
        return self._switch(account, vendor_id, "/disable")

    def enable(self, account: VendorConnection, vendor_id: str) -> bool:
        """Have a disabled key accepted again; False when the vendor has none of this id."""
        return self._switch(account, vendor_id, "/enable")

    def delete(self, account: VendorConnection, vendor_id: str) -> bool:
        """Delete the key; False when the vendor has none of this id."""
        answer = call(account, "DELETE", path_of(vendor_id))
        if answer.status != 204 and not is_gone(answer):
            data_of(answer, 204)
        return answer.status == 204

    @staticmethod
    def _switch(account: VendorConnection, vendor_id: str, to: str) -> bool:
        answer = call(account, "POST", path_of(vendor_id) + to)
        if is_gone(answer):
            return False
        data_of_key(answer)
        return True

    def last_used(self, account: VendorConnection, vendor_id: str) -> datetime | None:
        """Return when the key was last used, None for never."""
        return last_used(account, vendor_id)


def created(data: dict[str, Any]) -> CreatedKey:
    """Return the new key of a vendor's answer; VendorError when it holds none."""
    if not all(isinstance(data.get(name), str) and data[name] for name in ("key", "id")):
        raise VendorError("The vendor's answer holds no key.", code="wrong_shape")
    return CreatedKey(Secret(data["key"]), data["id"], time_of(data.get("expires_at")))


def last_used(account: VendorConnection, vendor_id: str) -> datetime | None:
    """Return when the key was last used, None for never.

    Raises KeyDead for a key that is gone or disabled, VendorError when it is not clear.
    """
    data = data_of_key(call(account, "GET", path_of(vendor_id)))
    if data.get("disabled") is True:
        raise KeyDead("The vendor says that the key is disabled.", code="DISABLED", status=200)
    used = time_of(data.get("last_used_at"))
    if used is None and data.get("last_used_at", "") is not None:
        # "Never used" lets an old key be deleted: only a clear null says so.
        raise VendorError("The vendor does not say when the key was used.", code="wrong_shape")
    return used
