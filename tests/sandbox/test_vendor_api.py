"""The vendor answers as documented, and its windows, lists and ledger behave as ordered."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.vendor_client import VendorClient, VendorRefused
from tests.sandbox.running import call, running_vendor
from tests.waiting import until

USAGE, LIMITS, TRACK = "/v1/account/usage", "/v1/account/limits", "/v1/videos/track"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_vendor(tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor.client


@pytest.fixture
def account(client: VendorClient) -> Any:
    return client.create_account("Example Ltd", plan="pro", credits=1000)


@pytest.fixture
def key(client: VendorClient, account: Any) -> Any:
    return client.create_key(account["id"], label="by hand")


def get(client: VendorClient, secret: str | None, path: str = USAGE) -> tuple[int, Any]:
    response = call("POST" if path == TRACK else "GET", client.url + path, secret)
    assert response.headers["Content-Type"] == "application/json"
    return response.status_code, response.json()


def manage(
    client: VendorClient, account: Any, method: str, path: str = "", **options: Any
) -> tuple[int, Any]:
    credential = account["management_credential"]
    response = call(method, f"{client.url}/v1/keys{path}", credential, **options)
    return response.status_code, response.json() if response.content else None


def accepted(client: VendorClient, secret: str) -> bool:
    return get(client, secret)[0] == 200


def test_usage_answers_as_documented(client, account, key):
    client.patch_account(account["id"], credits_used=311, videos_used=200)
    assert client.use(key["key"]) == 200
    status, body = get(client, key["key"])
    assert status == 200
    assert re.fullmatch(r"req-[\w-]+", body["meta"].pop("request_id"))
    assert body == {
        "success": True,
        "data": {
            "usage_history": [
                {
                    "created_at": datetime.now(UTC).date().isoformat(),
                    "endpoint": TRACK,
                    "credits_used": 1,
                }
            ],
            "summary": {
                "plan": "pro",
                "is_unlimited": False,
                "videos": {"limit": 1000, "used": 200},
                "credits": {"total": 1000, "used": 312},
            },
        },
        "meta": {"processing_time_ms": 42},
    }


def test_limits_answers_as_documented(client, key):
    status, body = get(client, key["key"], LIMITS)
    assert (status, body["success"]) == (200, True)
    assert body["data"] == {
        "rate_limits": {
            "requests_per_minute": 60,
            "requests_per_hour": 3600,
            "requests_per_day": 86400,
            "requests_per_month": 10000,
            "burst_allowance": 120,
        }
    }


def test_only_tracking_costs_credits(client, account, key):
    for path in (USAGE, LIMITS, TRACK, TRACK):
        assert get(client, key["key"], path)[0] == 200
    assert client.account(account["id"])["credits_used"] == 2


@pytest.mark.parametrize("path", [USAGE, LIMITS, TRACK])
def test_the_flat_envelope_is_that_of_the_authentication_page(client, account, key, path):
    missing = {"success": False, "error": "Missing Authorization header", "code": "MISSING_AUTH"}
    invalid = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}
    expired = {"success": False, "error": "API key has expired", "code": "EXPIRED_API_KEY"}
    assert get(client, None, path) == (401, missing)
    assert get(client, "inf_unknown", path) == (401, invalid)
    assert get(client, account["management_credential"], path) == (401, invalid)
    client.patch_key(key["id"], expires_at="2020-01-01T00:00:00Z")
    assert get(client, key["key"], path) == (401, expired)
    client.delete_key(key["id"])
    assert get(client, key["key"], path) == (401, invalid)


@pytest.mark.parametrize("path", [USAGE, LIMITS, TRACK])
def test_the_nested_envelope_is_that_of_the_integration(client, account, key, path):
    def nested(code: str, message: str) -> Any:
        return 401, {"success": False, "error": {"code": code, "message": message}}

    client.patch_account(account["id"], envelope="nested")
    client.patch_key(key["id"], expires_at="2020-01-01T00:00:00Z")
    assert get(client, key["key"], path) == nested("EXPIRED_API_KEY", "API key has expired")
    client.delete_key(key["id"])
    revoked = nested("UNAUTHORIZED", "Invalid or revoked API key.")
    assert get(client, key["key"], path) == revoked
    client.set_envelope("nested")
    try:
        assert get(client, "inf_unknown", path) == revoked
        missing = nested("MISSING_AUTH", "Missing Authorization header")
        assert get(client, None, path) == missing
    finally:
        client.set_envelope("flat")


def test_spent_credits_are_answered_with_429_and_a_whole_day(client, account, key):
    client.patch_account(account["id"], envelope="nested", credits_used=1050)
    message = "Credits limit exceeded (1050/1000 credits used this month)"
    error = {"code": "RATE_LIMITED", "message": message, "retry_after": 86400}
    assert get(client, key["key"]) == (429, {"success": False, "error": error})
    client.patch_account(account["id"], envelope="flat", retry_after=3)
    flat = {"success": False, "error": message, "code": "RATE_LIMITED", "retry_after": 3}
    assert get(client, key["key"], TRACK) == (429, flat)
    client.patch_account(account["id"], is_unlimited=True)
    assert accepted(client, key["key"])


def test_a_header_of_another_scheme_is_no_authorization(client, key):
    headers = {"Authorization": f"Basic {key['key']}"}
    answer = call("GET", client.url + USAGE, headers=headers)
    assert answer.json()["code"] == "MISSING_AUTH"


def test_a_key_is_made_with_its_secret_shown_once(client, account):
    wanted = {"label": "kv-7-1", "scopes": ["read"], "expires_in_days": 30}
    status, body = manage(client, account, "POST", json=wanted)
    data = body["data"]
    assert (status, body["success"]) == (201, True)
    assert set(data) == {"id", "label", "key", "created_at", "expires_at", "scopes"}
    assert re.fullmatch(r"inf_[\w-]{40}", data["key"])
    assert re.fullmatch(r"key_\w+", data["id"])
    assert (data["label"], data["scopes"]) == ("kv-7-1", ["read"])
    lives = datetime.fromisoformat(data["expires_at"]) - datetime.fromisoformat(data["created_at"])
    assert lives == timedelta(days=30)
    assert accepted(client, data["key"])
    status, body = manage(client, account, "GET", f"/{data['id']}")
    assert status == 200
    assert set(body["data"]) == {
        *("id", "label", "masked", "created_at", "expires_at", "disabled", "last_used_at"),
        "scopes",
    }
    assert data["key"] not in str(body)
    assert body["data"]["masked"].endswith(data["key"][-4:])


@pytest.mark.parametrize(
    "wanted",
    [{}, {"label": 7}, {"label": "x" * 201}, {"label": "x", "scopes": "read"},
     {"label": "x", "expires_in_days": -1}, {"label": "x", "expires_in_days": True}],
)  # fmt: skip
def test_a_senseless_create_is_refused_and_makes_nothing(client, account, wanted):
    status, body = manage(client, account, "POST", json=wanted)
    assert (status, body["error"]["code"]) == (400, "BAD_REQUEST")
    assert client.keys(account["id"]) == []


def test_the_vendor_may_grant_less_than_was_asked_for(client, account):
    client.patch_account(account["id"], granted_expiry_days=1, dropped_scopes=["write"])
    wanted = {"label": "x", "scopes": ["read", "write"], "expires_in_days": 365}
    data = manage(client, account, "POST", json=wanted)[1]["data"]
    lives = datetime.fromisoformat(data["expires_at"]) - datetime.fromisoformat(data["created_at"])
    assert (lives, data["scopes"]) == (timedelta(days=1), ["read"])


def test_the_vendor_may_grant_more_and_say_never(client, account):
    client.patch_account(account["id"], says_never=True, added_scopes=["admin", "read"])
    wanted = {"label": "x", "scopes": ["read"]}
    data = manage(client, account, "POST", json=wanted)[1]["data"]
    assert (data["expires_at"], data["scopes"]) == ("never", ["read", "admin"])


def test_the_key_limit_counts_what_is_not_deleted(client, account, key):
    client.patch_account(account["id"], key_limit=2)
    made = manage(client, account, "POST", json={"label": "second"})[1]["data"]
    status, body = manage(client, account, "POST", json={"label": "third"})
    assert (status, body["error"]["code"]) == (409, "KEY_LIMIT_REACHED")
    manage(client, account, "POST", f"/{made['id']}/disable")
    assert manage(client, account, "POST", json={"label": "third"})[0] == 409
    manage(client, account, "DELETE", f"/{made['id']}")
    assert manage(client, account, "POST", json={"label": "third"})[0] == 201


def test_a_wrong_management_credential_is_refused(client, account, key):
    for wrong in (key["key"], "mgmt_wrong", None):
        answer = call("GET", f"{client.url}/v1/keys", wrong)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "UNAUTHORIZED"


def test_another_accounts_key_does_not_exist_for_me(client, key):
    other = client.create_account("Other Ltd")
    path = f"/{key['id']}"
    for method, end in (("GET", ""), ("POST", "/disable"), ("POST", "/enable"), ("DELETE", "")):
        status, body = manage(client, other, method, path + end)
        assert (status, body["error"]["code"]) == (404, "KEY_NOT_FOUND")
    assert accepted(client, key["key"])


def test_disable_enable_and_delete(client, account, key):
    path = f"/{key['id']}"
    status, body = manage(client, account, "POST", path + "/disable")
    assert (status, body["data"]["disabled"]) == (200, True)
    assert not accepted(client, key["key"])
    status, body = manage(client, account, "POST", path + "/enable")
    assert (status, body["data"]["disabled"]) == (200, False)
    assert accepted(client, key["key"])
    assert manage(client, account, "DELETE", path) == (204, None)
    assert not accepted(client, key["key"])
    for method, end in (("DELETE", ""), ("GET", ""), ("POST", "/enable")):
        status, body = manage(client, account, method, path + end)
        assert (status, body["error"]["code"]) == (404, "KEY_NOT_FOUND")


def test_the_list_comes_in_pages_and_filters_by_exact_label(client, account):
    made = [client.create_key(account["id"], label=f"kv-{n % 2}")["id"] for n in range(7)]
    seen, query = [], {"limit": "3"}
    for _ in range(3):
        data = manage(client, account, "GET", params=query)[1]["data"]
        seen.append([key["id"] for key in data["keys"]])
        query["cursor"] = data["next_cursor"]
        # A key deleted between two pages must not shift the rest.
        client.delete_key(seen[-1][0])
    assert [len(page) for page in seen] == [3, 3, 1]
    assert [key_id for page in seen for key_id in page] == made
    assert data["next_cursor"] is None
    found = manage(client, account, "GET", params={"label": "kv-1"})[1]["data"]["keys"]
    assert {key["label"] for key in found} == {"kv-1"}
    assert manage(client, account, "GET", params={"label": "kv-"})[1]["data"]["keys"] == []


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"cursor": "é"}]
)
def test_a_senseless_list_query_is_refused(client, account, query):
    status, body = manage(client, account, "GET", params=query)
    assert (status, body["error"]["code"]) == (400, "BAD_REQUEST")


def test_unknown_routes_and_methods_are_told_apart(client, key):
    assert call("GET", client.url + "/v1/nothing", key["key"]).status_code == 404
    assert call("DELETE", client.url + USAGE, key["key"]).status_code == 405


def test_only_an_accepted_call_moves_the_last_use(client, account, key):
    assert client.lookup(key["key"])["last_used_at"] is None
    client.use(key["key"])
    used = client.lookup(key["key"])["last_used_at"]
    assert used is not None
    client.patch_key(key["id"], disabled=True)
    assert client.use(key["key"]) == 401
    assert client.lookup(key["key"])["last_used_at"] == used
    assert manage(client, account, "GET", f"/{key['id']}")[1]["data"]["last_used_at"] == used


def test_a_new_key_starts_late_when_told_to(client, account):
    client.patch_account(account["id"], start_delay=0.4)
    key = client.create_key(account["id"])
    assert not accepted(client, key["key"])
    until(lambda: accepted(client, key["key"]), 5)
    assert datetime.now(UTC).isoformat() > key["valid_from"] > key["created_at"]


def test_a_deleted_key_stops_late_when_told_to(client, account, key):
    client.patch_account(account["id"], stop_delay=0.4)
    client.delete_key(key["id"])
    assert accepted(client, key["key"])
    shown = client.lookup(key["key"])
    assert (shown["state"], shown["accepted_now"]) == ("deleted", True)
    until(lambda: not accepted(client, key["key"]), 5)


def test_deleting_a_disabled_key_does_not_revive_it(client, account, key):
    client.patch_key(key["id"], disabled=True)
    client.patch_account(account["id"], stop_delay=3600)
    client.delete_key(key["id"])
    assert not accepted(client, key["key"])


def test_a_new_key_is_missing_from_lists_for_a_while_when_told_to(client, account):
    client.patch_account(account["id"], list_lag=0.4)
    made = manage(client, account, "POST", json={"label": "late"})[1]["data"]

    def listed() -> bool:
        return bool(manage(client, account, "GET", params={"label": "late"})[1]["data"]["keys"])

    assert not listed()
    assert accepted(client, made["key"])
    until(listed, 5)


def test_the_ledger_tells_each_call_in_order(client, account, key):
    start = client.ledger()[-1]["n"]
    client.use(key["key"])
    made = manage(client, account, "POST", json={"label": "kv-1"})[1]["data"]
    manage(client, account, "DELETE", f"/{made['id']}")
    manage(client, account, "DELETE", f"/{made['id']}")
    get(client, made["key"])
    entries = client.ledger(after=start)
    assert [entry["n"] for entry in entries] == list(range(start + 1, start + 10))
    assert [(e["route"], e["outcome"], e["status"], e["key"]) for e in entries] == [
        ("track", "ok", 200, key["id"]),
        ("life", "created", None, made["id"]),
        ("life", "valid_from", None, made["id"]),
        ("create", "created", 201, made["id"]),
        ("life", "deleted", None, made["id"]),
        ("life", "stops_at", None, made["id"]),
        ("delete", "deleted", 204, made["id"]),
        ("delete", "not_found", 404, made["id"]),
        ("usage", "refused", 401, made["id"]),
    ]
    for entry in entries:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", entry["time"])
        assert entry["account"] == account["id"]
    assert {entry["label"] for entry in entries} == {"by hand", "kv-1"}
    assert made["key"] not in str(entries)
    only = client.ledger(after=start, account=account["id"], route="delete")
    assert [entry["outcome"] for entry in only] == ["deleted", "not_found"]


def test_the_control_api_is_closed_without_its_token(client):
    answer = call("GET", f"{client.url}/_sandbox/ledger")
    assert answer.status_code == 401
    assert call("GET", f"{client.url}/_sandbox/health").status_code == 200


def test_the_control_api_refuses_what_it_does_not_know(client, account):
    for senseless in ({"plan": "gold"}, {"start_delay": -1}, {"colour": 1}, {"envelope": "round"}):
        with pytest.raises(VendorRefused, match="400"):
            client.patch_account(account["id"], **senseless)
    with pytest.raises(VendorRefused, match="404"):
        client.create_key("acc_unknown")
    with pytest.raises(VendorRefused, match="400"):
        client.create_key(account["id"], expires_at="soon")
