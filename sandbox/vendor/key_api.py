"""The key-management API under `/v1/keys`, opened by an account's management credential."""

import base64
import binascii
import math
from typing import Any

from sandbox.vendor import keys, last_use
from sandbox.vendor.answers import Answer, error, json_answer
from sandbox.vendor.calls import Call, Result
from sandbox.vendor.state import Account, Key, State, now_text

MOST_PER_PAGE = 100
LONGEST_LABEL = 200


class BadRequest(Exception):
    """The request makes no sense; the text says why."""


def create(state: State, call: Call) -> Result:
    """Make a key; its secret is in this answer and never again."""
    account = _account(call)
    try:
        label, scopes, days = _wanted(call)
        key = keys.make(state, account, label, scopes=scopes, expires_in_days=days)
    except keys.LimitReached:
        return Result(_error(409, "KEY_LIMIT_REACHED"), "limit_reached")
    told = ("id", "label", "created_at", "expires_at", "scopes")
    shown = _shown(state, account, key)
    answer = _success(201, {**{name: shown[name] for name in told}, "key": key.secret})
    return Result(answer, "created", key.id, key.label)


def rotate(state: State, call: Call) -> Result:
    """Replace a key by a new one; the old one is dead before this answer is."""
    result = _with_key(state, call, "rotated", keys.rotate)
    if result.outcome != "rotated":
        return result
    made = keys.present(state, _account(call))[-1]
    answer = _success(201, {**_shown(state, _account(call), made), "key": made.secret})
    return Result(answer, "rotated", made.id, made.label)


def list_keys(state: State, call: Call) -> Result:
    """Give one page of the keys, oldest first."""
    query, now = call.request.query, now_text()
    found = [
        key
        for key in keys.present(state, _account(call))
        if key.listed_from <= now and query.get("label") in (None, key.label)
    ]
    start, limit = _after(query.get("cursor", "")), _limit(query.get("limit", ""))
    rest = [key for key in found if (key.created_at, key.id) > start]
    page = rest[:limit]
    cursor = _cursor(page[-1]) if len(rest) > limit else None
    account = _account(call)
    shown = {"keys": [_shown(state, account, key) for key in page], "next_cursor": cursor}
    return Result(_success(200, shown), "ok", label=query.get("label"))


def get(state: State, call: Call) -> Result:
    """Give one key."""
    return _with_key(state, call, "ok", _nothing)


def disable(state: State, call: Call) -> Result:
    """Have a key refused until it is enabled again."""
    return _with_key(state, call, "disabled", keys.disable)


def enable(state: State, call: Call) -> Result:
    """Have a disabled key accepted again."""
    return _with_key(state, call, "enabled", keys.enable)


def delete(state: State, call: Call) -> Result:
    """Delete a key for good."""
    result = _with_key(state, call, "deleted", keys.delete)
    if result.outcome != "deleted":
        return result
    return Result(Answer(204), "deleted", result.key_id, result.label)


def unauthorized() -> Result:
    """Answer a wrong management credential."""
    return Result(_error(401, "UNAUTHORIZED", "Invalid management credential."), "refused")


def bad_request(message: str) -> Result:
    """Answer a request that makes no sense."""
    return Result(_error(400, "BAD_REQUEST", message), "bad_request")


def _with_key(state: State, call: Call, outcome: str, act: Any) -> Result:
    key = state.keys.get(call.target)
    if key is None or key.account != _account(call).id or key.deleted_at is not None:
        return Result(_error(404, "KEY_NOT_FOUND"), "not_found", call.target)
    act(state, key)
    answer = _success(200, _shown(state, _account(call), state.keys[key.id]))
    return Result(answer, outcome, key.id, key.label)


def _nothing(_state: State, _key: Key) -> None:
    pass


def _account(call: Call) -> Account:
    assert call.account is not None
    return call.account


def _wanted(call: Call) -> tuple[str, list[str], float | None]:
    body = call.request.json()
    label, scopes, days = body.get("label"), body.get("scopes") or [], body.get("expires_in_days")
    if not isinstance(label, str) or len(label) > LONGEST_LABEL:
        raise BadRequest(f"label must be a text of at most {LONGEST_LABEL} characters.")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise BadRequest("scopes must be a list of texts.")
    number = isinstance(days, int | float) and not isinstance(days, bool)
    if days is not None and not (number and math.isfinite(days) and 0 < days <= 36500):
        raise BadRequest("expires_in_days must be a number above 0.")
    return label, scopes, days


def _shown(state: State, account: Account, key: Key) -> dict[str, Any]:
    ends = key.expires_at or ("never" if account.says_never else None)
    return {
        "id": key.id,
        "label": None if account.hides_labels else key.label,
        "masked": key.masked if account.shows_masks else None,
        "created_at": key.created_at,
        "expires_at": ends,
        "disabled": key.disabled_at is not None,
        "last_used_at": last_use.shown(state, account, key),
        "scopes": key.scopes,
    }


def _limit(text: str) -> int:
    if not text:
        return MOST_PER_PAGE
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MOST_PER_PAGE:
        raise BadRequest(f"limit must be a number from 1 to {MOST_PER_PAGE}.")
    return int(text)


def _cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(f"{key.created_at} {key.id}".encode()).decode()


def _after(cursor: str) -> tuple[str, str]:
    try:
        created_at, _, key_id = base64.urlsafe_b64decode(cursor).decode().partition(" ")
    except (binascii.Error, ValueError):
        raise BadRequest("cursor is not one of ours.") from None
    return created_at, key_id


def _success(status: int, data: dict[str, Any]) -> Answer:
    return json_answer(status, {"success": True, "data": data})


def _error(status: int, code: str, message: str = "") -> Answer:
    return error("nested", status, code, message)
