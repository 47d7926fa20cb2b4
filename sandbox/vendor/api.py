"""From a request under `/v1/` to its answer: find the route and the caller, apply faults, act, note.

A call is carried out and noted in one locked stretch, so that the ledger is in the true order.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

from sandbox.vendor import account_api, faults, key_api, keys
from sandbox.vendor.answers import Answer, Request, error
from sandbox.vendor.calls import Call, Result
from sandbox.vendor.faults import Faults
from sandbox.vendor.state import Account, State

Act = Callable[[State, Call], Result]

_KEY = r"/v1/keys/(?P<target>[^/]+)"
ROUTES: tuple[tuple[str, str, str, Act], ...] = (
    ("GET", r"/v1/account/usage", "usage", account_api.usage),
    ("GET", r"/v1/account/limits", "limits", account_api.limits),
    ("POST", r"/v1/videos/track", "track", account_api.track),
    ("POST", r"/v1/keys", "create", key_api.create),
    ("GET", r"/v1/keys", "list", key_api.list_keys),
    ("GET", _KEY, "get", key_api.get),
    ("DELETE", _KEY, "delete", key_api.delete),
    ("POST", _KEY + "/disable", "disable", key_api.disable),
    ("POST", _KEY + "/enable", "enable", key_api.enable),
    ("POST", _KEY + "/rotate", "rotate", key_api.rotate),
)
# The right that makes a key a management credential as well.
MANAGES = "keys:manage"
_MANAGEMENT = frozenset({"create", "list", "get", "delete", "disable", "enable", "rotate"})


def answer(state: State, ordered: Faults, request: Request) -> Answer:
    """Answer one request."""
    found = _route(request)
    if isinstance(found, Answer):
        return found
    route, target, act = found
    with state.lock:
        call = _identify(state, request, route, target)
        refusal = _refusal(state, call)
    fault = ordered.take(call)
    if fault is None:
        return _perform(state, call, act, None)
    result = ordered.play(fault, call, refusal, lambda: _perform(state, call, act, fault.kind))
    if not result.executed:
        _note_fault(state, call, fault.kind, result.answer)
    ordered.wait(result.wait)
    return result.answer


def _route(request: Request) -> tuple[str, str, Act] | Answer:
    others = False
    for method, pattern, route, act in ROUTES:
        if match := re.fullmatch(pattern, request.path):
            if method == request.method:
                return route, unquote(match.groupdict().get("target", "")), act
            others = True
    if others:
        return error("nested", 405, "METHOD_NOT_ALLOWED", "This route has no such method.")
    return error("nested", 404, "NOT_FOUND", "There is no such route.")


def _identify(state: State, request: Request, route: str, target: str) -> Call:
    if route in _MANAGEMENT:
        account = state.by_credential.get(request.bearer) or _of_manager(state, request.bearer)
        return Call(request, route, account, None, target)
    key = state.by_secret.get(request.bearer)
    account = state.accounts[key.account] if key else None
    return Call(request, route, account, key)


def _of_manager(state: State, secret: str) -> Account | None:
    """Return the account of a key that may manage keys: such a one is a management credential."""
    key = state.by_secret.get(secret)
    if key is None or MANAGES not in key.scopes or keys.verdict(key) != "ok":
        return None
    return state.accounts[key.account]


def _refusal(state: State, call: Call) -> Answer:
    if call.route in _MANAGEMENT:
        return key_api.unauthorized().answer
    return account_api.refusal(state, call)


def _perform(state: State, call: Call, act: Act, fault: str | None) -> Answer:
    with state.lock:
        # Looked up again: a fault may have held the call back while the world moved on.
        call = _identify(state, call.request, call.route, call.target)
        result = _acted(state, call, act)
        _note(state, call, result, fault)
    return _signed(call, result.answer)


def _signed(call: Call, answer: Answer) -> Answer:
    """Name the caller's account in a header, as vendors do that have one for each answer."""
    if call.account is None or not call.account.tells_account:
        return answer
    return replace(answer, headers={**answer.headers, "X-Account-Id": call.account.id})


def _acted(state: State, call: Call, act: Act) -> Result:
    if call.route in _MANAGEMENT and call.account is None:
        return key_api.unauthorized()
    try:
        return act(state, call)
    except (key_api.BadRequest, ValueError) as problem:
        return key_api.bad_request(str(problem))


def _note(state: State, call: Call, result: Result, fault: str | None) -> None:
    key_id = result.key_id or call.key_id
    known = state.keys.get(key_id or "")
    state.note(
        "call",
        account=call.account.id if call.account else None,
        route=call.route,
        method=call.request.method,
        path=call.request.path,
        key=key_id,
        status=None if result.answer.cut else result.answer.status,
        outcome=result.outcome,
        label=result.label or (known.label if known else None),
        used=result.used,
        credits=result.credits,
        fault=fault,
    )


def _note_fault(state: State, call: Call, kind: str, sent: Answer) -> None:
    with state.lock:
        _note(state, call, Result(sent, f"{faults.OUTCOME}:{kind}"), kind)
