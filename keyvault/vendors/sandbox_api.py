"""How the sandbox vendor's key-management API speaks: calls, envelopes, pages and times."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from keyvault.core.dates import moment
from keyvault.vendors.base import KeyDead, ListedKey, VendorConnection, VendorError
from keyvault.vendors.http import Answer, request
from keyvault.vendors.influtics import error_of

ACCOUNT_HEADER = "X-Account-Id"
_MOST_PAGES = 1000
_GONE, _GONE_CODE = (404, 410), "KEY_NOT_FOUND"
_NEVER = "never"


def call(account: VendorConnection, method: str, path: str, **options: Any) -> Answer:
    """Send one request with the management credential; VendorError without one."""
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
        header=ACCOUNT_HEADER,
        **options,
    )


def data_of(answer: Answer, wanted: int) -> dict[str, Any]:
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


def path_of(vendor_id: str) -> str:
    """Return the path of one key; VendorError when its id is not known."""
    if not vendor_id.strip("."):
        raise VendorError("The key's id at the vendor is not known.", retryable=False, sent=False)
    return "/v1/keys/" + quote(vendor_id, safe="")


def data_of_key(answer: Answer) -> dict[str, Any]:
    """Return the `data` of a success about one key; KeyDead where the vendor has no such key.

    What else answers 404 knows nothing of the key: a gateway, or a wrong address. That may pass.
    """
    code, message = error_of(answer.body)
    if is_gone(answer):
        raise KeyDead(
            f"The vendor has no such key: {message or code}", code=code, status=answer.status
        )
    if answer.status in _GONE:
        raise VendorError(
            f"Status {answer.status}, which is not the vendor's own word on the key.",
            code=code,
            status=answer.status,
            retry_after=answer.retry_after,
        )
    return data_of(answer, 200)


def is_gone(answer: Answer) -> bool:
    """Return whether the vendor itself says so: a proxy's 404, page or JSON, knows nothing of the key."""
    # guard: gone is the vendor's own code
    return answer.status in _GONE and error_of(answer.body)[0] == _GONE_CODE


def identify(account: VendorConnection) -> str:
    """Return the id of the credential's account, as a list of one key tells it."""
    answer = call(account, "GET", "/v1/keys", params={"limit": "1"})
    if not isinstance(data_of(answer, 200).get("keys"), list):
        raise VendorError("The vendor's list has an unknown shape.", code="wrong_shape")
    return answer.told


def pages(account: VendorConnection, query: dict[str, str]) -> list[ListedKey]:
    """Return the keys that the query lists, from every page; VendorError rather than a part."""
    found: list[ListedKey] = []
    cursor, seen = "", set[str]()
    for _ in range(_MOST_PAGES):
        params = query | {"limit": "100"} | ({"cursor": cursor} if cursor else {})
        data = data_of(call(account, "GET", "/v1/keys", params=params), 200)
        if not isinstance(data.get("keys"), list):
            raise VendorError("The vendor's list has an unknown shape.", code="wrong_shape")
        found += map(listed, data["keys"])
        cursor = data.get("next_cursor") or ""
        if not cursor:
            return found
        if not isinstance(cursor, str):
            raise VendorError("The vendor's list has an unknown shape.", code="wrong_shape")
        if cursor in seen:
            break
        seen.add(cursor)
    raise VendorError("The vendor's list does not end.", code="endless_list")


def listed(item: Any) -> ListedKey:
    """Return a key as the vendor describes it; VendorError for another shape."""
    if not (isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"]):
        raise VendorError("The vendor's list has an unknown shape.", code="wrong_shape")
    return ListedKey(
        vendor_id=item["id"],
        label=str(item.get("label") or ""),
        disabled=bool(item.get("disabled")),
        created_at=time_of(item.get("created_at")),
        last_used_at=time_of(item.get("last_used_at")),
        rights=rights_of(item.get("scopes")),
        expires_at=time_of(item.get("expires_at")),
        never_expires=item.get("expires_at") == _NEVER,
        masked=mask_of(item.get("masked")),
    )


def mask_of(shown: Any) -> str:
    """Return what the vendor shows of the secret; empty for what is no short text."""
    return shown if isinstance(shown, str) and len(shown) <= 60 else ""


def rights_of(scopes: Any) -> frozenset[str] | None:
    """Return the rights; None, which is not told, for anything but a list of texts."""
    if isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes):
        return frozenset(scopes)
    return None


def time_of(text: Any) -> datetime | None:
    """Return the moment in UTC; None for what names none."""
    if not isinstance(text, str):
        return None
    try:
        return moment(text)
    except ValueError:
        return None
