"""The automatic provider: whole lists or none, a delete that knows what gone means, no blind trust."""

import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from keyvault.core.secret import Secret
from keyvault.vendors.base import KeyDead, ListedKey, VendorConnection, VendorError
from keyvault.vendors.sandbox import Sandbox
from tests.keyvault.helpers import Answering, saying, serving, windows

CREDENTIAL = "mgmt_canary-92kLmWq47ZxTvB"
SANDBOX = Sandbox()


def account(url: str) -> VendorConnection:
    return VendorConnection(url, management=Secret(CREDENTIAL), allow_loopback=True)


def failure(call: Callable[[], Any]) -> VendorError:
    with pytest.raises(VendorError) as caught:
        call()
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert not windows(CREDENTIAL, 8) & windows(shown, 8)
    return caught.value


def good(data: Any, status: int = 200) -> Answering:
    return saying(status, {"success": True, "data": data})


def bad(status: int, code: str, message: str = "no") -> Answering:
    return saying(status, {"success": False, "error": message, "code": code})


def key(number: int, label: str = "other") -> dict[str, Any]:
    return {"id": f"key_{number}", "label": label, "disabled": False, "last_used_at": None}


def paging(pages: list[Any]) -> Answering:
    """Answer page N for the cursor N."""

    def answer(handler: Any) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        page = pages[int(query.get("cursor", ["0"])[0])]
        (page if callable(page) else good(page))(handler)

    return answer


# --- Against the sandbox vendor itself ---


@pytest.fixture
def at_vendor(vendor: Any) -> tuple[dict[str, Any], VendorConnection]:
    """Return a fresh account at the sandbox vendor, as the vendor and as we see it."""
    made = vendor.create_account("provider tests")
    where = VendorConnection(
        vendor.url, management=Secret(made["management_credential"]), allow_loopback=True
    )
    return made, where


def test_it_makes_finds_disables_and_deletes_a_key(vendor: Any, at_vendor: Any) -> None:
    _, where = at_vendor
    created = SANDBOX.create(where, "kv-1-1")
    assert SANDBOX.check(where, created.secret).answer == "valid"
    (found,) = SANDBOX.find(where, "kv-1-1")
    assert found.vendor_id == created.vendor_id
    assert not found.disabled
    assert found.created_at is not None
    assert abs(datetime.now(UTC) - found.created_at) < timedelta(minutes=1)
    SANDBOX.disable(where, created.vendor_id)
    assert SANDBOX.check(where, created.secret).answer == "refused"
    assert SANDBOX.find(where, "kv-1-1")[0].disabled
    SANDBOX.delete(where, created.vendor_id)
    assert SANDBOX.check(where, created.secret).answer == "refused"
    assert SANDBOX.find(where, "kv-1-1") == []


def test_it_tells_when_a_key_was_last_used(vendor: Any, at_vendor: Any) -> None:
    """B09: never is told apart from a moment."""
    _, where = at_vendor
    created = SANDBOX.create(where, "kv-2-1")
    assert SANDBOX.last_used(where, created.vendor_id) is None
    SANDBOX.check(where, created.secret)
    used = SANDBOX.last_used(where, created.vendor_id)
    assert used is not None
    assert abs(datetime.now(UTC) - used) < timedelta(minutes=1)


def test_it_finds_keys_on_every_page_of_250(vendor: Any, at_vendor: Any) -> None:
    """B76: 100 a page; the wanted ones are first, in the middle and last."""
    made, where = at_vendor
    wanted = []
    for number in range(250):
        mine = number in (0, 120, 249)
        at = vendor.create_key(made["id"], label="kv-3-1" if mine else f"other {number}")
        if mine:
            wanted.append(at["id"])
    assert sorted(found.vendor_id for found in SANDBOX.find(where, "kv-3-1")) == sorted(wanted)
    assert SANDBOX.find(where, "kv-3") == []
    everything = [listed.vendor_id for listed in SANDBOX.list_all(where)]
    assert sorted(everything) == sorted(at["id"] for at in vendor.keys(made["id"]))
    assert len(set(everything)) == 250


def test_deleting_a_key_that_is_gone_is_a_success(at_vendor: Any) -> None:
    """B94: by hand, or by a first try whose answer was lost."""
    _, where = at_vendor
    created = SANDBOX.create(where, "kv-4-1")
    for _ in range(2):
        SANDBOX.delete(where, created.vendor_id)
    SANDBOX.disable(where, created.vendor_id)
    SANDBOX.delete(where, "key_that_never_was")


def test_a_full_account_is_named_by_its_code(vendor: Any) -> None:
    made = vendor.create_account("full", key_limit=1)
    where = VendorConnection(
        vendor.url, management=Secret(made["management_credential"]), allow_loopback=True
    )
    SANDBOX.create(where, "kv-5-1")
    error = failure(lambda: SANDBOX.create(where, "kv-5-2"))
    assert error.code == "KEY_LIMIT_REACHED"
    assert not error.sent


def test_a_wrong_credential_is_a_clear_no(vendor: Any) -> None:
    error = failure(lambda: SANDBOX.create(account(vendor.url), "kv-6-1"))
    assert (error.status, error.sent, error.retryable) == (401, False, False)


# --- Against answers that no vendor should give ---

pure = pytest.mark.pure


@pure
def test_it_goes_on_when_a_page_is_empty_or_its_keys_are_of_others() -> None:
    """B76: the cursor says whether there is more, not the number of keys."""
    pages = [
        {"keys": [key(1)], "next_cursor": "1"},
        {"keys": [], "next_cursor": "2"},
        {"keys": [key(2, "kv-1-1")], "next_cursor": None},
    ]
    with serving(paging(pages)) as server:
        assert SANDBOX.find(account(server.url), "kv-1-1") == [ListedKey("key_2", "kv-1-1")]


@pure
@pytest.mark.parametrize(
    "last",
    [
        {"keys": [key(2)], "next_cursor": "1"},
        {"keys": [key(2)], "next_cursor": "0"},
        {"keys": [key(2)], "next_cursor": 7},
        {"keys": [key(2)], "next_cursor": ["1"]},
        {"keys": [key(2)], "next_cursor": {"a": 1}},
        {"keys": None},
        {"keys": {"a": key(2)}},
        {"keys": ["key_2"]},
        {"keys": [None]},
        {"keys": [{"label": "kv-1-1"}]},
        {"keys": [{"id": 7, "label": "kv-1-1"}]},
        {"keys": [{"id": "", "label": "kv-1-1"}]},
        {},
        [],
        None,
        bad(500, "INTERNAL"),
        bad(429, "RATE_LIMITED"),
        saying(200, b"<html>", "text/html"),
        saying(200, b'{"success": true, "data": {"keys": ['),
        saying(302, b"", "", Location="/sign-in"),
    ],
)
def test_a_list_that_is_not_whole_is_an_error_and_never_a_part(last: Any) -> None:
    """B76: page 2 fails, repeats its cursor, or is of another shape: no decision is taken on page 1."""
    pages = [{"keys": [key(1, "kv-1-1")], "next_cursor": "1"}, last]
    with serving(paging(pages)) as server:
        failure(lambda: SANDBOX.find(account(server.url), "kv-1-1"))
        assert len(server.seen) < 5


@pure
@pytest.mark.parametrize("status", [404, 410])
def test_gone_is_what_the_vendor_calls_gone(status: int) -> None:
    """B94."""
    with serving(bad(status, "KEY_NOT_FOUND")) as server:
        SANDBOX.delete(account(server.url), "key_1")
        SANDBOX.disable(account(server.url), "key_1")


@pure
@pytest.mark.parametrize(
    "answer",
    [
        saying(404, b"<html>nginx</html>", "text/html"),
        saying(404, b""),
        saying(404, {"detail": "Not found"}),
        saying(404, {"message": "no Route matched with those values"}),
        bad(404, "NOT_FOUND"),
        bad(404, "ROUTE_NOT_FOUND"),
        saying(410, b"", ""),
        saying(200, {"success": True}),
        saying(200, b""),
        saying(202, b""),
        saying(302, b"", "", Location="/"),
        bad(500, "INTERNAL"),
        bad(401, "UNAUTHORIZED"),
    ],
)
def test_a_delete_without_the_vendors_word_is_no_success(answer: Answering) -> None:
    """B94: a proxy's 404 page, or a 200 for a wrong address, knows nothing of the key."""
    with serving(answer) as server:
        failure(lambda: SANDBOX.delete(account(server.url), "key_1"))
        failure(lambda: SANDBOX.disable(account(server.url), "key_1"))


@pure
@pytest.mark.parametrize(
    "data",
    [
        {},
        {"last_used_at": ""},
        {"last_used_at": "yesterday"},
        {"last_used_at": 0},
        {"last_used_at": False},
        {"last_used_at": 1_700_000_000},
        {"last_used": None},
    ],
)
def test_an_unclear_last_use_is_not_taken_for_never(data: dict[str, Any]) -> None:
    """B09: never used lets the old key be deleted."""
    with serving(good(data)) as server:
        error = failure(lambda: SANDBOX.last_used(account(server.url), "key_1"))
    assert error.code == "wrong_shape"


@pure
@pytest.mark.parametrize(
    "answer",
    [
        saying(404, b"<html>nginx</html>", "text/html"),
        saying(404, {"message": "no Route matched with those values"}),
        saying(410, b""),
        bad(404, "NOT_FOUND"),
    ],
)
def test_a_404_of_something_else_is_no_death_and_may_pass(answer: Answering) -> None:
    """F1: a gateway that is set up anew answers so for every key."""
    with serving(answer) as server:
        for ask in (SANDBOX.last_used, SANDBOX.describe):
            error = failure(partial(ask, account(server.url), "key_1"))
            assert (isinstance(error, KeyDead), error.retryable) == (False, True)


@pure
@pytest.mark.parametrize(
    "answer", [bad(404, "KEY_NOT_FOUND"), bad(410, "KEY_NOT_FOUND"), good({"disabled": True})]
)
def test_the_vendors_own_word_is_that_a_key_is_dead(answer: Answering) -> None:
    """B116: gone or disabled is a fact of its own, and no last use."""
    with serving(answer) as server:
        error = failure(lambda: SANDBOX.last_used(account(server.url), "key_1"))
    assert isinstance(error, KeyDead)


@pure
@pytest.mark.parametrize(
    "text", ["2026-11-25T03:54:00Z", "2026-11-25T03:54:00", "2026-11-25T04:54:00+01:00"]
)
def test_moments_carry_their_zone(text: str) -> None:
    """A time without zone is UTC; else it could not be compared with ours."""
    with serving(good({"last_used_at": text})) as server:
        used = SANDBOX.last_used(account(server.url), "key_1")
    assert used == datetime(2026, 11, 25, 3, 54, tzinfo=UTC)


@pure
@pytest.mark.parametrize(
    "answer",
    [
        good({"id": "key_1"}, 201),
        good({"key": "inf_abcdefgh"}, 201),
        good({"id": "", "key": "inf_abcdefgh"}, 201),
        good({"id": "key_1", "key": ""}, 201),
        good({"id": "key_1", "key": None}, 201),
        good({"id": 1, "key": "inf_abcdefgh"}, 201),
        good({"id": "key_1", "key": "inf_abcdefgh"}, 200),
        good({"id": "key_1", "key": "inf_abcdefgh"}, 202),
        good([], 201),
        saying(201, {"success": False, "data": {"id": "key_1", "key": "inf_abcdefgh"}}),
        saying(201, b"<html>", "text/html"),
        saying(502, b"bad gateway", "text/plain"),
        saying(307, b"", "", Location="/v1/keys"),
        bad(500, "INTERNAL"),
        bad(503, "MAINTENANCE"),
    ],
)
def test_an_unclear_create_may_have_made_a_key(answer: Answering) -> None:
    """B01: one request, and an error that says that a key may be there now."""
    with serving(answer) as server:
        error = failure(lambda: SANDBOX.create(account(server.url), "kv-1-1"))
        assert len(server.seen) == 1
    assert error.sent
    assert error.retryable


@pure
@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (402, False),
        (403, False),
        (404, False),
        (409, True),
        (422, False),
        (429, True),
    ],
)
def test_a_clear_no_made_no_key(status: int, retryable: bool) -> None:
    """A 4xx in the vendor's own envelope: nothing was carried out."""
    with serving(bad(status, "SOME_CODE")) as server:
        error = failure(lambda: SANDBOX.create(account(server.url), "kv-1-1"))
    assert (error.sent, error.retryable, error.status) == (False, retryable, status)
    assert error.code == "SOME_CODE"


@pure
def test_a_vendor_that_repeats_the_credential_does_not_make_us_repeat_it() -> None:
    """B13."""
    with serving(bad(403, "FORBIDDEN", f"Bearer {CREDENTIAL} may not")) as server:
        failure(lambda: SANDBOX.create(account(server.url), "kv-1-1"))


@pure
@pytest.mark.parametrize("vendor_id", ["", ".", ".."])
def test_a_key_without_an_id_is_not_asked_about(vendor_id: str) -> None:
    """A delete of /v1/keys/ would be answered with 404, which means gone."""
    with serving(bad(404, "NOT_FOUND")) as server:
        for call in (SANDBOX.delete, SANDBOX.disable, SANDBOX.last_used):
            error = failure(partial(call, account(server.url), vendor_id))
            assert not error.sent
        assert server.seen == []


@pure
def test_an_id_of_the_vendor_cannot_reach_another_address() -> None:
    with serving(saying(204, b"", "")) as server:
        SANDBOX.delete(account(server.url), "../account?x=1#/%2e%2e")
        assert server.seen[0].path == "/v1/keys/..%2Faccount%3Fx%3D1%23%2F%252e%252e"


@pure
def test_the_credential_travels_in_its_header_only_and_the_label_as_given() -> None:
    made = {"id": "key_1", "key": "inf_abcdefgh", "expires_at": None}
    with serving(good(made, 201)) as server:
        created = SANDBOX.create(account(server.url), "kv-17-2")
        assert (created.vendor_id, created.expires_at) == ("key_1", None)
        (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/v1/keys")
    assert seen.headers.pop("Authorization") == f"Bearer {CREDENTIAL}"
    assert CREDENTIAL not in json.dumps(seen.headers)


@pure
def test_without_a_credential_nothing_is_sent() -> None:
    with serving(good({})) as server:
        where = VendorConnection(server.url, allow_loopback=True)
        for call in (SANDBOX.create, SANDBOX.find, SANDBOX.delete, SANDBOX.last_used):
            error = failure(partial(call, where, "key_1"))
            assert (error.code, error.sent, error.retryable) == ("no_credential", False, False)
        assert server.seen == []
