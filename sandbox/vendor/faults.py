"""Faults to order: what the vendor does instead of answering well, for the next N calls of a route.

A fault is an order like `{"route": "create", "kind": "execute_then_cut", "times": 1}`. `times` is how
often (null: until cleared), `after` lets that many matching calls pass first, `key_id` and `account`
narrow it. Each kind says whether the call is carried out; `"execute": true` forces that it is.
"""

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.vendor.answers import HTML, Answer, error, json_answer
from sandbox.vendor.calls import Call

OUTCOME = "fault"
ROUTES = frozenset(
    {
        "usage",
        "limits",
        "track",
        "create",
        "list",
        "get",
        "disable",
        "enable",
        "delete",
        "rotate",
        "*",
    }
)
LOGIN_PAGE = "<!doctype html><title>Sign in</title><h1>Sign in</h1><p>Please sign in.</p>"
BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
HUGE_BYTES = 50_000_000
HANG_SECONDS = 3600.0
_FAIR_JSON = {"success": True, "data": {"summary": {"plan": "pro", "credits": {"total": 1000}}}}

Execute = Callable[[], Answer]


class BadOrder(Exception):
    """The order makes no sense; the text says why."""


class Stopped(ConnectionError):
    """The process ends while a fault holds a call back: nothing more is done or answered."""


@dataclass
class Fault:
    """One order. `options` are those of its kind."""

    id: str
    route: str
    kind: str
    times: int | None = 1
    after: int = 0
    key_id: str | None = None
    account: str | None = None
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    used: int = 0
    passed: int = 0

    def matches(self, call: Call) -> bool:
        """Return whether the call is one that the order is about."""
        return (
            self.route in ("*", call.route)
            and (self.times is None or self.used < self.times)
            and self.key_id in (None, call.key_id)
            and self.account in (None, call.account.id if call.account else "")
        )

    def shown(self) -> dict[str, Any]:
        """Return what the control API tells of it."""
        names = ("id", "route", "kind", "times", "after", "key_id", "account", "used")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Played:
    """What a fault made of a call: the answer, whether the call was carried out, seconds to wait."""

    answer: Answer
    executed: bool = False
    wait: float = 0.0


@dataclass(frozen=True)
class _Scene:
    fault: Fault
    call: Call
    refusal: Answer
    execute: Execute
    wait: Callable[[float], None]

    def option(self, name: str, default: Any) -> Any:
        value = self.fault.options.get(name)
        return default if value is None else value


class Faults:
    """The orders that stand. `stopping` ends every wait when the process is to end."""

    def __init__(self, stopping: threading.Event) -> None:
        self._lock = threading.Lock()
        self._stopping = stopping
        self._ids = itertools.count(1)
        self._orders: dict[str, Fault] = {}

    def order(self, wanted: dict[str, Any]) -> Fault:
        """Add an order; BadOrder when a field or its value is unknown."""
        fault = _parsed(f"fault_{next(self._ids)}", dict(wanted))
        with self._lock:
            self._orders[fault.id] = fault
        return fault

    def cancel(self, fault_id: str | None = None) -> bool:
        """Cancel one order, or all; False when there is no such order."""
        with self._lock:
            if fault_id is not None:
                return self._orders.pop(fault_id, None) is not None
            self._orders.clear()
            return True

    def all(self) -> list[dict[str, Any]]:
        """Return what stands, with how often each was used."""
        with self._lock:
            return [fault.shown() for fault in self._orders.values()]

    def take(self, call: Call) -> Fault | None:
        """Return the first order that applies to this call, counted as used; None for none."""
        with self._lock:
            for fault in self._orders.values():
                if not fault.matches(call):
                    continue
                fault.passed += 1
                if fault.passed > fault.after:
                    fault.used += 1
                    # A copy: `used` must not change under the call that it belongs to.
                    return replace(fault)
        return None

    def play(self, fault: Fault, call: Call, refusal: Answer, execute: Execute) -> Played:
        """Do what the fault says; waits for `delay`, but leaves waits after the deed to the caller."""
        scene = _Scene(fault, call, refusal, execute, self.wait)
        played = _KINDS[fault.kind](scene)
        if fault.options.get("execute") and not played.executed:
            execute()
            return replace(played, executed=True)
        return played

    def wait(self, seconds: float) -> None:
        """Wait; Stopped when the process ends meanwhile."""
        if seconds > 0 and self._stopping.wait(seconds):
            raise Stopped


def _parsed(fault_id: str, wanted: dict[str, Any]) -> Fault:
    route, kind = wanted.pop("route", None), wanted.pop("kind", None)
    if route not in ROUTES:
        raise BadOrder(f"route must be one of {', '.join(sorted(ROUTES))}.")
    if kind not in _KINDS:
        raise BadOrder(f"kind must be one of {', '.join(sorted(_KINDS))}.")
    times, after = wanted.pop("times", 1), wanted.pop("after", 0)
    if times is not None and (not isinstance(times, int) or times < 1):
        raise BadOrder("times must be a whole number above 0, or null.")
    if not isinstance(after, int) or after < 0:
        raise BadOrder("after must be a whole number.")
    key_id, account = wanted.pop("key_id", None), wanted.pop("account", None)
    if unknown := set(wanted) - set(_OPTIONS):
        raise BadOrder(f"unknown fields: {', '.join(sorted(unknown))}.")
    for name, value in wanted.items():
        if value is not None and not isinstance(value, _OPTIONS[name]):
            raise BadOrder(f"{name} has the wrong type.")
    if not 200 <= (wanted.get("status") or 200) <= 599:
        raise BadOrder("status must be from 200 to 599.")
    return Fault(fault_id, route, kind, times, after, key_id, account, wanted)


_OPTIONS: dict[str, Any] = {
    "status": int,
    "body": dict | list | str | int | float | bool,
    "content_type": str,
    "headers": dict,
    "seconds": int | float,
    "location": str,
    "code": str,
    "bytes": int,
    "full_length": bool,
    "execute": bool,
}


def _ordered(scene: _Scene, status: int, body: Any, content_type: str | None = None) -> Answer:
    """Return the answer that the options describe, with these defaults."""
    body = scene.fault.options.get("body", body)
    text = body if isinstance(body, str) else json.dumps(body)
    kind = content_type if isinstance(body, str) else "application/json"
    headers = {str(name): str(value) for name, value in scene.option("headers", {}).items()}
    return Answer(
        scene.option("status", status),
        text.encode(),
        scene.option("content_type", kind or "text/plain; charset=utf-8"),
        headers,
    )


def _status(scene: _Scene) -> Played:
    return Played(_ordered(scene, 500, ""))


def _delay(scene: _Scene) -> Played:
    scene.wait(scene.option("seconds", 1.0))
    return Played(scene.execute(), executed=True)


def _drip(scene: _Scene) -> Played:
    pace = float(scene.option("seconds", 0.1))
    return Played(replace(scene.execute(), pace=pace), executed=True)


def _cut(_: _Scene) -> Played:
    return Played(Answer(0, cut=True))


def _execute_then_hang(scene: _Scene) -> Played:
    seconds = float(scene.option("seconds", HANG_SECONDS))
    return Played(scene.execute(), executed=True, wait=seconds)


def _execute_then_status(scene: _Scene) -> Played:
    scene.execute()
    return Played(_ordered(scene, 502, BAD_GATEWAY, HTML), executed=True)


def _execute_then_cut(scene: _Scene) -> Played:
    scene.execute()
    return Played(Answer(0, cut=True), executed=True)


def _redirect(scene: _Scene) -> Played:
    answer = _ordered(scene, 302, "", HTML)
    target = {"Location": scene.option("location", "/")}
    return Played(replace(answer, headers={**answer.headers, **target}))


def _html(scene: _Scene) -> Played:
    return Played(_ordered(scene, 200, LOGIN_PAGE, HTML))


def _empty(scene: _Scene) -> Played:
    return Played(_ordered(scene, 200, "", "application/json"))


def _huge(scene: _Scene) -> Played:
    start, end = b'{"success":true,"data":{"padding":"', b'"}}'
    padding = scene.option("bytes", HUGE_BYTES) - len(start) - len(end)
    return Played(replace(_ordered(scene, 200, {}), body=start + b"x" * max(0, padding) + end))


def _truncated(scene: _Scene) -> Played:
    executes = bool(scene.fault.options.get("execute"))
    answer = scene.execute() if executes else _ordered(scene, 200, _FAIR_JSON)
    length = len(answer.body) if scene.option("full_length", False) else None
    cut = replace(answer, body=answer.body[: len(answer.body) * 2 // 3], length=length)
    return Played(cut, executed=executes)


def _success_false(scene: _Scene) -> Played:
    return Played(_ordered(scene, 200, {"success": False}))


def _wrong_shape(scene: _Scene) -> Played:
    return Played(_ordered(scene, 200, {"success": True, "result": "fine"}))


def _flap(scene: _Scene) -> Played:
    if scene.fault.used % 2:
        return Played(scene.refusal)
    return Played(scene.execute(), executed=True)


def _key_limit(_: _Scene) -> Played:
    return Played(error("nested", 409, "KEY_LIMIT_REACHED"))


def _echo(scene: _Scene) -> Played:
    code = scene.option("code", "INVALID_API_KEY")
    text = f"The key {scene.call.presented} is not known here."
    body = {"success": False, "error": text, "code": code}
    return Played(json_answer(scene.option("status", 401), body))


def _odd_key(scene: _Scene) -> Played:
    """Carry the call out, and tell the new key with more characters than it has."""
    answer = scene.execute()
    body = json.loads(answer.body)
    body["data"]["key"] += str(scene.option("body", " "))
    return Played(replace(answer, body=json.dumps(body).encode()), executed=True)


_KINDS: dict[str, Callable[[_Scene], Played]] = {
    "status": _status,
    "delay": _delay,
    "drip": _drip,
    "cut": _cut,
    "execute_then_hang": _execute_then_hang,
    "execute_then_status": _execute_then_status,
    "execute_then_cut": _execute_then_cut,
    "redirect": _redirect,
    "html": _html,
    "empty": _empty,
    "huge": _huge,
    "truncated": _truncated,
    "success_false": _success_false,
    "wrong_shape": _wrong_shape,
    "flap": _flap,
    "key_limit": _key_limit,
    "echo": _echo,
    "odd_key": _odd_key,
}
