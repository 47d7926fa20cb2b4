"""The bounds of the API for members: lists and filters, bad input, errors, and its description."""

import re

import pytest
from django.db import connections

from keyvault.core.api_errors import shape
from keyvault.core.errors import Conflict
from keyvault.delivery import tokens
from keyvault.models import ApiKey, Application, VendorAccount
from tests.api_client import LISTS, Api, counting, new_key, routes
from tests.factories import make_key, secret_of

NOT_OFFERED = [
    "name__startswith=b",
    "current__fingerprint__startswith=a",
    "current__path__gt=0",
    "member__password__startswith=p",
    "created_by__password__regex=^p",
    "ordering=current__fingerprint",
    "order_by=-digest",
    "digest=abc",
    "payload__contains=x",
    "fields=path",
    "format=api",
    "cursor=0",
    "cursor=x",
    "cursor=1&cursor=2",
    "limit=0",
    "limit=1000000",
    "key=x%00y",
    "q%00=1",
]
UNUSABLE = [
    (b"{", "bad_json"),
    (b"[]", "bad_json"),
    (b"null", "bad_json"),
    (b"\xff\xfe", "bad_json"),
    (b'{"name": NaN}', "bad_json"),
    (b'{"name": "a", "name": "b"}', "bad_json"),
    (b"[" * 100_000, "bad_json"),
    (b'{"name": ' + b"9" * 5000 + b"}", "bad_json"),
    (b'{"name": "' + b"a" * 300_000 + b'"}', "too_large"),
    (b'{"name": "\\ud800"}', "odd_character"),
    (b'{"name": {"a": ["\\u0000"]}}', "odd_character"),
    (b'{"na\\u0000me": "a"}', "odd_character"),
    (b'{"nome": "a"}', "unknown_field"),
    (b'{"name": ["a"]}', "invalid"),
    (b'{"name": true}', "invalid"),
    (b"{}", "invalid"),
    (b"", "invalid"),
]


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="billing")


@pytest.fixture
def owner(people):
    return Api(people.owner)


# --- Lists: filters, pages, cost ---


def test_search_finds_names_and_the_last_four_but_no_other_part(vendor, place, people, owner, key):
    """B58: searching cannot spell out a secret."""
    make_key(vendor, place, people.owner, name="other")
    secret, tail = secret_of(key.current), key.current.tail
    found = {
        text: [one["name"] for one in owner.get(f"keys/?search={text}").json["results"]]
        for text in ("BILL", tail, secret[:6], secret[4:8], secret[-5:], secret[-3:], tail[:3])
    }
    assert found.pop("BILL") == ["billing"]
    assert found.pop(tail) == ["billing"]
    assert not any(found.values()), found


@pytest.mark.parametrize("path", LISTS)
def test_a_filter_that_is_not_offered_is_refused(owner, path):
    """B58: no look-ups, no order, no relations through the query; B101: no NUL."""
    for query in NOT_OFFERED:
        answer = owner.get(f"{path}?{query}")
        assert answer.status == 400, query
        assert answer.code in ("unknown_field", "invalid", "odd_character")


def test_pages_hold_every_key_once(place, owner, people):
    for number in range(7):
        ApiKey.objects.create(
            account=place.api_account,
            environment=place.environment,
            application=place.application,
            name=f"key {number}",
        )
    seen, cursor = [], ""
    for _ in range(4):
        page = owner.get(f"keys/?limit=2{cursor}").json
        seen += [one["name"] for one in page["results"]]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert seen == [f"key {number}" for number in reversed(range(7))]


def test_lists_cost_the_same_however_long_they_are(vendor, place, people, owner):
    def rows(number):
        return [
            make_key(vendor, place, people.owner),
            tokens.issue(people.owner, f"t{number}", place.application, place.environment),
        ]

    rows(0)
    costs = {}
    for turn in range(2):
        for path in LISTS:
            with counting() as statements:
                assert owner.get(path).status == 200
            costs.setdefault(path, []).append(len(statements))
        for number in range(3):
            rows(f"{turn}{number}")
    for path, (few, many) in costs.items():
        assert few == many <= 7, (path, few, many)


# --- Bad input ---


def test_a_body_that_cannot_be_used_is_refused_in_one_shape(owner):
    for body, code in UNUSABLE:
        answer = owner.call("POST", "applications/", body)
        assert (answer.status, answer.code) == (400, code), body[:40]
    assert Application.objects.count() == 1


def test_other_kinds_of_bodies_are_refused(people, owner, place):
    response = owner.client.post("/api/v1/applications/", {"name": "form"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_nul_is_refused_by_the_name_of_the_field(owner, key):
    """B101."""
    places = [
        ("POST", "keys/", ["name", "purpose", "vendor_id", "secret"]),
        ("PATCH", "keys/1/", ["name", "purpose"]),
        ("POST", "keys/1/reveal", ["password", "reason"]),
        ("POST", "applications/", ["name", "team", "contact"]),
        ("POST", "environments/", ["name"]),
        ("POST", "tokens/", ["name"]),
    ]
    for method, path, fields in places:
        for field in fields:
            answer = owner.call(method, path, {field: f"a{chr(0)}b"})
            assert (answer.status, answer.code) == (400, "odd_character")
            assert answer.json["details"] == {"fields": [field]}


def test_an_error_names_the_field_and_repeats_no_secret(vendor, place, owner):
    canary = "inf_canary0123456789abcdef"
    bodies = [
        new_key(place, canary, name=""),
        new_key(place, canary, **{canary: "x"}),
        new_key(place, canary, account=canary),
        new_key(place, [canary]),
        new_key(place, canary),
    ]
    for body in bodies:
        answer = owner.post("keys/", body)
        assert answer.status == 400
        assert canary not in answer.text
    assert owner.post("keys/", new_key(place, canary, name="")).json["details"] == {
        "fields": ["name"]
    }


def test_an_unknown_address_is_answered_in_the_one_shape(owner):
    for path in ("nonsense", "keys", "keys/x/", "keys/1/secrets", "/api/v2/keys/", "keys/-1/"):
        answer = owner.get(path)
        assert (answer.status, answer.code) == (404, "not_found")
    assert owner.call("DELETE", "keys/").code == "method_not_allowed"


def test_what_nobody_foresaw_is_a_reference_and_no_trace(owner, key):
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE keyvault_apikey RENAME COLUMN purpose TO aim")
        try:
            answer = owner.get("keys/")
        finally:
            cursor.execute("ALTER TABLE keyvault_apikey RENAME COLUMN aim TO purpose")
    assert (answer.status, answer.code) == (500, "server_error")
    assert answer.json["details"] == {"reference": answer.headers["X-Request-Id"]}
    for word in ("purpose", "Traceback", "SELECT", "column"):
        assert word not in answer.text


def test_the_shape_of_errors_has_three_parts():
    told = shape(Conflict("Not now.", code="busy", details={"a": 1}))
    assert told == {"code": "busy", "message": "Not now.", "details": {"a": 1}}


# --- The description of the API (B102) ---


def test_the_schema_is_for_members_and_holds_nothing_live(settings, place, people, key):
    token = tokens.issue(people.owner, "web", place.application, place.environment)[1].reveal()
    assert Api().get("/api/schema/").status == 401
    for member in (people.viewer, people.owner):
        answer = Api(member).get("/api/schema/")
        assert answer.status == 200
        live = [token, secret_of(key.current), settings.SECRET_KEY, settings.VAULT_ADDR]
        live += [place.api_account.base_url, "kvt_", "127.0.0.1", people.owner.email, "Billing"]
        for word in live:
            assert word not in answer.text


def test_the_schema_describes_every_route(owner):
    described = {
        path.replace("{", "<").replace("}", ">") for path in owner.get("/api/schema/").json["paths"]
    }
    numbered = {re.sub("<[a-z_]+>", "1", path) for path in described}
    assert numbered == {path for path in routes() if path != "/api/schema/"}


def test_accounts_and_grants_have_no_raw_columns(owner, place, key):
    text = owner.get("accounts/").text
    assert str(place.api_account.management_path) not in text
    assert VendorAccount.objects.count() == len(owner.get("accounts/").json["results"])
