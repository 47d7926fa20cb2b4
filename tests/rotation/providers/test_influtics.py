"""Three answers, and only where the vendor says so beyond doubt."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyvault.core import redaction
from keyvault.core.secret import Secret
from keyvault.vendors.base import CANNOT_TELL, REFUSED, VALID, VendorConnection
from keyvault.vendors.http import Answer
from keyvault.vendors.influtics import REFUSING_CODES, Influtics, error_of, judge
from tests.keyvault.helpers import saying, serving, windows

pytestmark = pytest.mark.pure

KEY = "inf_canary-Zx81mQpl92TbvRw"
SUMMARY = {
    "plan": "pro",
    "is_unlimited": False,
    "videos": {"limit": 1000, "used": 200},
    "credits": {"total": 1000, "used": 312},
}
USAGE = {
    "success": True,
    "data": {"usage_history": [], "summary": SUMMARY},
    "meta": {"processing_time_ms": 42, "request_id": "req-usage-1"},
}


def flat(code: str, message: str = "no") -> dict[str, Any]:
    return {"success": False, "error": message, "code": code}


def nested(code: str, message: str = "no", **more: Any) -> dict[str, Any]:
    return {"success": False, "error": {"code": code, "message": message, **more}}


def answer(status: int, body: Any, is_json: bool = True) -> Answer:
    return Answer(status, body, is_json, None)


@pytest.mark.parametrize(
    "summary",
    [
        SUMMARY,
        {**SUMMARY, "plan": None, "videos": {"limit": None, "used": None}},
        {**SUMMARY, "plan": "business", "is_unlimited": True},
        {},
    ],
)
def test_it_says_valid_for_the_documented_answer(summary: dict[str, Any]) -> None:
    verdict = judge(answer(200, {**USAGE, "data": {"usage_history": [], "summary": summary}}))
    assert verdict.answer == VALID


def test_it_gives_what_tells_one_account_from_another() -> None:
    """B27: the answer names no account, so plan and limits are compared; use is not."""
    facts = judge(answer(200, USAGE)).facts
    assert facts == {"plan": "pro", "video limit": 1000, "credit limit": 1000}
    used = {**SUMMARY, "credits": {"total": 1000, "used": 999}, "videos": {"limit": 1000}}
    assert judge(answer(200, {**USAGE, "data": {"summary": used}})).facts == facts


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("envelope", [flat, nested])
@pytest.mark.parametrize("code", sorted(REFUSING_CODES))
def test_it_says_refused_for_a_refusing_code_in_either_envelope(
    status: int, envelope: Any, code: str
) -> None:
    """B64, B97: the Authentication page and the integration disagree; both are accepted."""
    verdict = judge(answer(status, envelope(code, "Invalid or revoked API key.")))
    assert verdict.answer == REFUSED
    assert verdict.code == code


UNCLEAR = [
    # 200 that is no success (B08)
    (200, {"error": "Invalid API key"}),
    (200, {"ok": False}),
    (200, {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}),
    (200, nested("UNAUTHORIZED")),
    (200, {"success": True}),
    (200, {"success": True, "data": {}}),
    (200, {"success": True, "data": {"summary": None}}),
    (200, {"success": True, "data": {"summary": [1]}}),
    (200, {"success": True, "data": [SUMMARY]}),
    (200, {"success": "true", "data": {"summary": SUMMARY}}),
    (200, {"success": 1, "data": {"summary": SUMMARY}}),
    (200, {"data": {"summary": SUMMARY}}),
    (200, [USAGE]),
    (200, "valid"),
    (200, None),
    (201, USAGE),
    (204, None),
    (206, USAGE),
    # our own fault, or none of the key (B64)
    (401, flat("MISSING_AUTH", "Missing Authorization header")),
    (401, nested("MISSING_AUTH")),
    (429, nested("RATE_LIMITED", retry_after=86400)),
    (429, nested("UNAUTHORIZED")),
    (429, flat("INVALID_API_KEY")),
    (402, nested("PAID_PLAN_REQUIRED", upgrade_url="https://x")),
    (403, nested("FORBIDDEN", "Not in your region")),
    (403, nested("INSUFFICIENT_SCOPE")),
    (403, None),
    (400, nested("BAD_REQUEST")),
    (401, {}),
    (401, {"success": False}),
    (401, {"error": "Unauthorized"}),
    (401, {"code": "UNAUTHORIZED"}),  # no envelope of the vendor
    (401, {"success": True, "error": {"code": "UNAUTHORIZED"}}),  # contradicts itself
    (401, "UNAUTHORIZED"),
    (404, nested("NOT_FOUND")),
    (404, flat("INVALID_API_KEY")),
    (407, nested("UNAUTHORIZED")),
    (451, nested("LEGAL")),
    (500, nested("UNAUTHORIZED")),
    (500, flat("INVALID_API_KEY")),
    (502, None),
    (503, nested("INVALID_API_KEY")),
    (301, None),
    (302, flat("INVALID_API_KEY")),
    (307, USAGE),
    # the envelope changes its shape (B97)
    (401, {"success": False, "errors": [{"code": "UNAUTHORIZED"}]}),
    (401, {"success": False, "error": {"code": ["UNAUTHORIZED"], "message": {}}}),
    (401, {"success": False, "error": {"code": None}}),
    (401, {"success": False, "error": {"error": {"error": {"code": "UNAUTHORIZED"}}}}),
    (401, {"success": False, "error": ["UNAUTHORIZED"], "code": 401}),
    (401, {"success": False, "message": "UNAUTHORIZED"}),
    (401, {"success": False, "error": "unauthorized", "code": "unauthorized"}),
    (401, []),
]


@pytest.mark.parametrize(("status", "body"), UNCLEAR)
def test_it_cannot_tell_for_anything_else(status: int, body: Any) -> None:
    """B08, B64, B97: never a verdict that could delete a key or roll back."""
    verdict = judge(answer(status, body, is_json=body is not None))
    assert verdict.answer == CANNOT_TELL
    assert verdict.text


def test_it_names_a_redirect_as_a_wrong_address() -> None:
    """B65: not as a wrong key."""
    assert "base URL" in judge(answer(301, None, is_json=False)).text


def test_it_keeps_the_wait_that_the_vendor_asks_for() -> None:
    """B64: a day in the body of a 429."""
    verdict = judge(Answer(429, nested("RATE_LIMITED", "Credits limit exceeded"), True, 86400.0))
    assert verdict.retry_after == 86400.0
    assert "allowance" in verdict.text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "success": JSON_VALUES,
        "error": JSON_VALUES | st.fixed_dictionaries({"code": JSON_VALUES, "message": JSON_VALUES}),
        "code": JSON_VALUES | st.sampled_from([*sorted(REFUSING_CODES), "MISSING_AUTH"]),
        "data": JSON_VALUES | st.fixed_dictionaries({"summary": JSON_VALUES}),
    },
)


@given(st.integers(100, 599), JSON_VALUES | ENVELOPES, st.booleans())
def test_no_answer_breaks_it_and_a_verdict_has_its_grounds(
    status: int, body: Any, is_json: bool
) -> None:
    """B97: whatever comes; and valid and refused only on their exact grounds."""
    verdict = judge(answer(status, body, is_json))
    assert verdict.answer in (VALID, REFUSED, CANNOT_TELL)
    assert len(verdict.text) < 400
    assert verdict.text.isprintable()
    if verdict.answer == VALID:
        assert status == 200
        assert body["success"] is True
        assert isinstance(body["data"]["summary"], dict)
    if verdict.answer == REFUSED:
        assert status in (400, 401, 403)
        assert body["success"] is False
        assert error_of(body)[0] in REFUSING_CODES


@given(st.dictionaries(st.sampled_from(["plan", "videos", "credits"]), JSON_VALUES))
def test_facts_of_an_account_are_short_and_plain(summary: dict[str, Any]) -> None:
    """They are shown to people when two keys differ: no page of text, equal to themselves."""
    facts = judge(answer(200, {"success": True, "data": {"summary": summary}})).facts
    again = judge(answer(200, {"success": True, "data": {"summary": summary}})).facts
    assert facts == again
    for value in facts.values():
        assert value is None or isinstance(value, int | str)
        assert not isinstance(value, str) or (len(value) <= 60 and value.isprintable())


ECHOES = [
    (401, flat("INVALID_API_KEY", f"Invalid API key {KEY}")),
    (401, nested("UNAUTHORIZED", f"Bearer {KEY} is revoked")),
    (401, flat(KEY, "code")),
    (500, nested("E", f"trace\nAuthorization: Bearer {KEY}\n")),
    (200, {"success": True, "data": {"summary": {"plan": KEY}}}),
    (429, {"success": False, "error": KEY, "code": "X"}),
]


@pytest.mark.parametrize(("status", "body"), ECHOES)
def test_a_vendor_that_repeats_the_key_does_not_make_us_repeat_it(status: int, body: Any) -> None:
    """B13, B61: reasons are stored and shown, so the key is hidden in them."""
    with serving(saying(status, body)) as server:
        verdict = Influtics().check(account(server.url), Secret(KEY))
    assert not windows(KEY, 12) & windows(repr(verdict), 12)


def account(url: str) -> VendorConnection:
    return VendorConnection(url, allow_loopback=True)


@pytest.mark.parametrize("base", ["", "/", "/proxy/influtics", "/proxy/influtics/"])
def test_it_asks_the_documented_question(base: str) -> None:
    """One GET, the key in the Authorization header and nowhere else."""
    with serving(saying(200, USAGE)) as server:
        assert Influtics().check(account(server.url + base), Secret(KEY)).answer == VALID
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("GET", base.rstrip("/") + "/v1/account/usage")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps({k: v for k, v in seen.headers.items() if k != "Authorization"})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>Sign in</html>", "text/html"),
        (200, json.dumps(USAGE).encode(), "text/html"),
        (200, json.dumps(USAGE).encode(), ""),
        (200, b"", "application/json"),
        (200, b"{", "application/json"),
        (200, json.dumps(USAGE).encode()[:-1], "application/json"),
        (200, b"\xff\xfe\x00", "application/json"),
        (200, b"[" * 100_000, "application/json"),
        (200, b"9" * 10_000, "application/json"),
        (403, b"<html>Blocked by proxy</html>", "text/html"),
        (401, b'{"success": false, "code": "UNAUTHORIZED", "error": "x"}', "text/html"),
        (401, b"Unauthorized", "text/plain"),
        (502, b"", "text/html"),
    ],
)
def test_it_cannot_tell_when_the_answer_is_not_the_vendors_json(
    status: int, body: bytes, kind: str
) -> None:
    """B08, B97: challenges, login pages, cut or deeply nested bodies."""
    with serving(saying(status, body, kind)) as server:
        assert Influtics().check(account(server.url), Secret(KEY)).answer == CANNOT_TELL


def test_it_cannot_tell_when_no_one_answers() -> None:
    """A name that does not resolve, a closed port: a reason, no exception."""
    for url in ("https://no-such-host.invalid", "http://127.0.0.1:9"):
        verdict = Influtics().check(account(url), Secret(KEY))
        assert verdict.answer == CANNOT_TELL
        assert verdict.code == "unreachable"


@pytest.mark.pure
def test_a_secret_that_looks_like_a_code_changes_no_verdict() -> None:
    """Whoever pastes the vendor's error text as a key must not blind us to later refusals."""
    for word in ("INVALID_API_KEY", "_API_KEY", "INVALID_"):
        redaction.remember(word)
    body = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}
    assert judge(Answer(401, body, True, None)).answer == "refused"
