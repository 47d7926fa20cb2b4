"""The control API under `/_sandbox/`: make accounts and keys, order faults, read the ledger.

For tests and the launcher, from this machine only, with the token of the vendor's folder in the header
X-Control-Token (`GET /_sandbox/health` needs none):

    POST accounts, GET | PATCH accounts/<id>      POST | GET keys, PATCH | DELETE keys/<id>
    GET | DELETE ledger                           POST | GET | DELETE faults, DELETE faults/<id>
    PATCH settings {"envelope"}: the error envelope for callers whose account is not known
"""

import dataclasses
import hmac
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any

from sandbox.vendor import keys, last_use
from sandbox.vendor.answers import Answer, Request, json_answer
from sandbox.vendor.faults import BadOrder, Faults
from sandbox.vendor.state import Account, Key, State, normal_time, now_text

PREFIX = "/_sandbox/"
_TIMES = ("expires_at", "valid_from", "stops_at", "last_used_at")
_CREATED = ("id", "name", "plan", "management_credential", "email", "password")


class _Wrong(Exception):
    """The request cannot be done; the status and a text that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return bool(number and math.isfinite(value) and value >= 0)


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": _is_text,
    "management_credential": _is_text,
    "plan": lambda value: value in ("free", "pro", "business", None),
    "is_unlimited": lambda value: isinstance(value, bool),
    "videos_limit": lambda value: value is None or _is_count(value),
    "videos_used": lambda value: value is None or _is_count(value),
    "credits_total": _is_count,
    "credits_used": _is_count,
    "retry_after": _is_count,
    "key_limit": lambda value: value is None or _is_count(value),
    "envelope": lambda value: value in ("flat", "nested"),
    "start_delay": _is_number,
    "stop_delay": _is_number,
    "list_lag": _is_number,
    "granted_expiry_days": lambda value: value is None or _is_number(value),
    "dropped_scopes": lambda value: _are_texts(value),
    "added_scopes": lambda value: _are_texts(value),
    "says_never": lambda value: isinstance(value, bool),
    "hides_labels": lambda value: isinstance(value, bool),
    "last_use_shown": lambda value: value in (last_use.EXACT, last_use.NULL),
    "last_use_resolution": _is_number,
    "last_use_lag": _is_number,
    "last_use_behind": _is_number,
    "tells_account": lambda value: isinstance(value, bool),
    "shows_masks": lambda value: isinstance(value, bool),
}


def answer(state: State, faults: Faults, token: str, request: Request) -> Answer:
    """Answer one control request."""
    path = request.path.removeprefix(PREFIX)
    if (request.method, path) == ("GET", "health"):
        return json_answer(200, {"status": "ok"})
    if not ipaddress.ip_address(request.peer).is_loopback:
        return json_answer(403, {"error": "Only from this machine."})
    if not hmac.compare_digest(request.headers.get("x-control-token", "").encode(), token.encode()):
        return json_answer(401, {"error": "X-Control-Token is missing or wrong."})
    try:
        return _routed(state, faults, path, request)
    except _Wrong as wrong:
        return json_answer(wrong.status, {"error": str(wrong)})
    except keys.LimitReached:
        return json_answer(409, {"error": "The account has reached its key limit."})
    except (BadOrder, ValueError) as problem:
        return json_answer(400, {"error": str(problem)})


def _routed(state: State, faults: Faults, path: str, request: Request) -> Answer:
    fault_answer = _fault_route(faults, path, request)
    if fault_answer is not None:
        return fault_answer
    for method, pattern, act in _ROUTES:
        match = re.fullmatch(pattern, path)
        if match and method == request.method:
            with state.lock:
                return act(state, request, *match.groups())
    raise _Wrong(404, "There is no such control route.")


def _fault_route(faults: Faults, path: str, request: Request) -> Answer | None:
    if path != "faults" and not path.startswith("faults/"):
        return None
    wanted = path.removeprefix("faults").removeprefix("/") or None
    if request.method == "POST" and wanted is None:
        return json_answer(201, {"id": faults.order(request.json()).id})
    if request.method == "GET" and wanted is None:
        return json_answer(200, {"faults": faults.all()})
    if request.method != "DELETE" or not faults.cancel(wanted):
        raise _Wrong(404, "There is no such fault.")
    return Answer(204)


def _create_account(state: State, request: Request) -> Answer:
    body = request.json()
    if "credits" in body:
        body["credits_total"] = body.pop("credits")
    _require_fields(body, _FIELDS)
    if "name" not in body:
        raise _Wrong(400, "name is missing.")
    account = Account(**body)
    state.save(account)
    return json_answer(201, {name: getattr(account, name) for name in _CREATED})


def _get_account(state: State, _request: Request, account_id: str) -> Answer:
    account = _account(state, account_id)
    hidden = ("management_credential", "password")
    row = dataclasses.asdict(account)
    return json_answer(200, {name: row[name] for name in row if name not in hidden})


def _patch_account(state: State, request: Request, account_id: str) -> Answer:
    body = request.json()
    _require_fields(body, _FIELDS)
    state.save(dataclasses.replace(_account(state, account_id), **body))
    return _get_account(state, request, account_id)


def _create_key(state: State, request: Request) -> Answer:
    body = request.json()
    _require_fields(body, {"account": _is_text, "label": _is_label, **_LIKENESS})
    account = _account(state, body.get("account", ""))
    expires_at = normal_time(body["expires_at"]) if body.get("expires_at") else None
    scopes = body.get("scopes")
    key = keys.make(state, account, body.get("label") or "", scopes=scopes, expires_at=expires_at)
    return json_answer(201, {**_shown(key), "key": key.secret})


def _list_keys(state: State, request: Request) -> Answer:
    account, digest = request.query.get("account"), request.query.get("sha256")
    found = [
        _shown(key)
        for key in state.keys.values()
        if account in (None, key.account) and digest in (None, key.sha256)
    ]
    return json_answer(200, {"keys": found})


def _patch_key(state: State, request: Request, key_id: str) -> Answer:
    body = request.json()
    switch = {"disabled": lambda value: isinstance(value, bool), "label": _is_label}
    switch["scopes"] = _are_texts
    times = {**dict.fromkeys(_TIMES, _is_time), "created_at": _is_text}
    _require_fields(body, {**switch, **times})
    key = _present(state, key_id)
    if "disabled" in body:
        (keys.disable if body.pop("disabled") else keys.enable)(state, key)
    for name in times:
        if body.get(name):
            body[name] = normal_time(body[name])
    if body.get("valid_from", "") is None:
        body["valid_from"] = key.created_at
    state.save(dataclasses.replace(state.keys[key_id], **body))
    return json_answer(200, _shown(state.keys[key_id]))


def _delete_key(state: State, _request: Request, key_id: str) -> Answer:
    keys.delete(state, _present(state, key_id))
    return Answer(204)


def _get_ledger(state: State, request: Request) -> Answer:
    query = request.query
    after = query.get("after") or "0"
    if not after.isascii() or not after.isdecimal():
        raise _Wrong(400, "after must be a whole number.")
    found = [
        entry
        for entry in state.entries(int(after))
        if query.get("account") in (None, entry["account"])
        and query.get("route") in (None, entry["route"])
    ]
    return json_answer(200, {"entries": found})


def _clear_ledger(state: State, _request: Request) -> Answer:
    state.clear_ledger()
    return Answer(204)


def _patch_settings(state: State, request: Request) -> Answer:
    body = request.json()
    _require_fields(body, {"envelope": _FIELDS["envelope"]})
    state.set_envelope(body.get("envelope", state.envelope))
    return json_answer(200, {"envelope": state.envelope})


_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("POST", "accounts", _create_account),
    ("GET", "accounts/([^/]+)", _get_account),
    ("PATCH", "accounts/([^/]+)", _patch_account),
    ("POST", "keys", _create_key),
    ("GET", "keys", _list_keys),
    ("PATCH", "keys/([^/]+)", _patch_key),
    ("DELETE", "keys/([^/]+)", _delete_key),
    ("GET", "ledger", _get_ledger),
    ("DELETE", "ledger", _clear_ledger),
    ("PATCH", "settings", _patch_settings),
)


def _require_fields(body: dict[str, Any], fields: dict[str, Callable[[Any], bool]]) -> None:
    for name, value in body.items():
        if name not in fields:
            raise _Wrong(400, f"There is no field {name}.")
        if not fields[name](value):
            raise _Wrong(400, f"{name} has no sensible value.")


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 200


def _is_time(value: Any) -> bool:
    return value is None or isinstance(value, str)


_LIKENESS: dict[str, Callable[[Any], bool]] = {"expires_at": _is_time, "scopes": _are_texts}


def _account(state: State, account_id: str) -> Account:
    if account_id not in state.accounts:
        raise _Wrong(404, "There is no such account.")
    return state.accounts[account_id]


def _present(state: State, key_id: str) -> Key:
    key = state.keys.get(key_id)
    if key is None or key.deleted_at is not None:
        raise _Wrong(404, "There is no such key.")
    return key


def _shown(key: Key) -> dict[str, Any]:
    row = dataclasses.asdict(key)
    del row["secret"]
    return {
        **row,
        "sha256": key.sha256,
        "state": _state(key),
        "accepted_now": keys.verdict(key) == "ok",
        "disabled": key.disabled_at is not None,
    }


def _state(key: Key) -> str:
    if key.deleted_at is not None:
        return "deleted"
    if key.disabled_at is not None:
        return "disabled"
    return "expired" if key.expires_at is not None and now_text() >= key.expires_at else "live"
