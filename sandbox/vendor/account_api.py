"""`/v1/account/usage`, `/v1/account/limits` and `/v1/videos/track`, with the documented answers."""

import secrets
from collections.abc import Callable
from typing import Any

from sandbox.vendor import keys
from sandbox.vendor.answers import Answer, error, json_answer
from sandbox.vendor.calls import Call, Result
from sandbox.vendor.state import Account, Key, State

TRACK_CREDITS = 1
RATE_LIMITS = {
    "requests_per_minute": 60,
    "requests_per_hour": 3600,
    "requests_per_day": 86400,
    "requests_per_month": 10000,
    "burst_allowance": 120,
}


def usage(state: State, call: Call) -> Result:
    """Tell what the account has used."""
    return _answered(state, call, _usage)


def limits(state: State, call: Call) -> Result:
    """Tell how often the account may call."""
    return _answered(state, call, lambda _: {"rate_limits": RATE_LIMITS})


def track(state: State, call: Call) -> Result:
    """Take a video to be tracked: the call that applications make, and that costs credits."""
    video = {"tracking_id": "trk_" + secrets.token_hex(8)}
    return _answered(state, call, lambda _: video, TRACK_CREDITS)


def refusal(state: State, call: Call) -> Answer:
    """Return the answer to a key that is unknown, deleted or not valid yet."""
    return error(_envelope(state, call), 401, "INVALID_API_KEY")


def _answered(
    state: State, call: Call, data: Callable[[Account], dict[str, Any]], credits: int = 0
) -> Result:
    refused = _refused(state, call)
    if refused is not None:
        return refused
    account, key = call.account, call.key
    assert isinstance(account, Account)
    assert isinstance(key, Key)
    if _exhausted(account):
        return Result(_limited(account), "limited", used=True)
    meta = {"processing_time_ms": 42, "request_id": "req-" + secrets.token_hex(8)}
    answer = json_answer(200, {"success": True, "data": data(account), "meta": meta})
    return Result(answer, "ok", used=True, credits=credits)


def _refused(state: State, call: Call) -> Result | None:
    envelope = _envelope(state, call)
    if not call.presented:
        return Result(error(envelope, 401, "MISSING_AUTH"), "missing_auth")
    verdict = keys.verdict(call.key) if call.key else "refused"
    if verdict == "expired":
        return Result(error(envelope, 401, "EXPIRED_API_KEY"), "expired")
    return Result(refusal(state, call), "refused") if verdict == "refused" else None


def _envelope(state: State, call: Call) -> str:
    return call.account.envelope if call.account else state.envelope


def _exhausted(account: Account) -> bool:
    return not account.is_unlimited and account.credits_used >= account.credits_total


def _limited(account: Account) -> Answer:
    spent = f"{account.credits_used}/{account.credits_total}"
    text = f"Credits limit exceeded ({spent} credits used this month)"
    return error(account.envelope, 429, "RATE_LIMITED", text, retry_after=account.retry_after)


def _usage(account: Account) -> dict[str, Any]:
    history = [
        {"created_at": day[:10], "endpoint": day[11:], "credits_used": used}
        for day, used in account.history.items()
    ]
    summary = {
        "plan": account.plan,
        "is_unlimited": account.is_unlimited,
        "videos": {"limit": account.videos_limit, "used": account.videos_used},
        "credits": {"total": account.credits_total, "used": account.credits_used},
    }
    return {"usage_history": history, "summary": summary}
