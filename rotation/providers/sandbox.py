"""The sandbox vendor: the Influtics API plus a key-management API, so that no person is needed."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from keyvault.secret_text import Secret
from rotation.providers.base import CreatedKey, ListedKey, Timing, VendorAccount, VendorError
from rotation.providers.http import Answer, request
from rotation.providers.influtics import Influtics, error_of

_MOST_PAGES = 1000
_GONE = (404, 410)


class Sandbox(Influtics):
    """A vendor that can create, list, disable and delete keys, and tells their last use."""

    code = "sandbox"
    name = "Sandbox vendor"
    can_create = can_list = can_disable = can_delete = tells_last_use = True
    timing = Timing(steady_spacing_seconds=0.5, list_lag_seconds=5.0)

    def create(self, account: VendorAccount, label: str) -> CreatedKey:
        """Make a key that carries `label`."""
        data = _data(_call(account, "POST", "/v1/keys", body={"label": label}), 201)
        if not all(isinstance(data.get(name), str) and data[name] for name in ("key", "id")):
            raise VendorError("The vendor's answer holds no key.", code="wrong_shape")
        return CreatedKey(Secret(data["key"]), data["id"], _time(data.get("expires_at")))

    def list_all(self, account: VendorAccount) -> list[ListedKey]:
        """Return every key of the account, from every page."""
        return _pages(account, {})

    def find(self, account: VendorAccount, label: str) -> list[ListedKey]:
        """Return all keys with this label, from every page."""
        return [key for key in _pages(account, {"label": label}) if key.label == label]

    def disable(self, account: VendorAccount, vendor_id: str) -> None:
        """Make the key refused but recoverable; one that is gone already is fine."""
        answer = _call(account, "POST", _path(vendor_id) + "/disable")
        if not _is_gone(answer):
            _data(answer, 200)

    def delete(self, account: VendorAccount, vendor_id: str) -> None:
        """Delete the key; one that is gone already is a success."""
        answer = _call(account, "DELETE", _path(vendor_id))
        if answer.status != 204 and not _is_gone(answer):
            _data(answer, 204)

    def last_used(self, account: VendorAccount, vendor_id: str) -> datetime | None:
        """Return when the key was last used, None for never."""
        data = _data(_call(account, "GET", _path(vendor_id)), 200)
        moment = _time(data.get("last_used_at"))
        if moment is None and data.get("last_used_at", "") is not None:
            # "Never used" lets an old key be deleted: only a clear null says so.
            raise VendorError("The vendor does not say when the key was used.", code="wrong_shape")
        return moment


def _pages(account: VendorAccount, query: dict[str, str]) -> list[ListedKey]:
    """Return the keys that the query lists, from every page; VendorError rather than a part."""
    found: list[ListedKey] = []
    cursor, seen = "", set[str]()
    for _ in range(_MOST_PAGES):
        params = query | {"limit": "100"} | ({"cursor": cursor} if cursor else {})
        data = _data(_call(account, "GET", "/v1/keys", params=params), 200)
        if not isinstance(data.get("keys"), list):
            raise VendorError("The vendor's list has an unknown shape.", code="wrong_shape")
        found += map(_listed, data["keys"])
        cursor = data.get("next_cursor") or ""
        if not cursor:
            return found
        if not isinstance(cursor, str):
            raise VendorError("The vendor's list has an unknown shape.", code="wrong_shape")
        if cursor in seen:
            break
        seen.add(cursor)
    raise VendorError("The vendor's list does not end.", code="endless_list")


def _call(account: VendorAccount, method: str, path: str, **options: Any) -> Answer:
    if account.management is None:
        raise VendorError(
            "The account has no management credential.",
            code="no_credential",
            retryable=False,
            sent=False,
        )
    return request(
        method,
        account.base_url.rstrip("/") + path,
        bearer=account.management,
        allow_loopback=account.allow_loopback,
        **options,
    )


def _data(answer: Answer, wanted: int) -> dict[str, Any]:
    """Return the `data` of a success; raise what the status means for anything else."""
    body = answer.body if isinstance(answer.body, dict) else {}
    data = body.get("data")
    if answer.status == wanted and body.get("success") is True and isinstance(data, dict):
        return data
    code, message = error_of(body)
    text = f"Status {answer.status}: {message or code or 'an answer of unknown shape'}"
    clear = answer.is_json and bool(code) and 400 <= answer.status < 500
    raise VendorError(
        text,
        code=code,
        status=answer.status,
        # A clear no will stay a no until someone acts; all else may have been carried out.
        retryable=not clear or answer.status in (408, 409, 425, 429),
        sent=not clear,
        retry_after=answer.retry_after,
    )


def _path(vendor_id: str) -> str:
    if not vendor_id.strip("."):
        raise VendorError("The key's id at the vendor is not known.", retryable=False, sent=False)
    return "/v1/keys/" + quote(vendor_id, safe="")


def _is_gone(answer: Answer) -> bool:
    """Return whether the vendor itself says so: a proxy's 404 page knows nothing of the key."""
    return answer.status in _GONE and bool(error_of(answer.body)[0])


def _listed(item: Any) -> ListedKey:
    if not (isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"]):
        raise VendorError("The vendor's list has an unknown shape.", code="wrong_shape")
    return ListedKey(
        vendor_id=item["id"],
        label=str(item.get("label") or ""),
        disabled=bool(item.get("disabled")),
        created_at=_time(item.get("created_at")),
        last_used_at=_time(item.get("last_used_at")),
    )


def _time(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
