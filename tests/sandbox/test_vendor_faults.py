"""Each fault to order does on the wire what its name says, as often as ordered, and is in the ledger."""

import json
import socket
import time
from typing import Any

import pytest
import requests

from sandbox.vendor_client import VendorClient, VendorRefused
from tests.sandbox.running import call, running_vendor
from tests.waiting import until

USAGE = "/v1/account/usage"


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_vendor(tmp_path_factory.mktemp("vendor")) as running:
        yield running.client


@pytest.fixture
def client(vendor: VendorClient) -> Any:
    yield vendor
    vendor.clear_faults()


@pytest.fixture
def account(client: VendorClient) -> Any:
    return client.create_account("Example Ltd")


@pytest.fixture
def key(client: VendorClient, account: Any) -> Any:
    return client.create_key(account["id"], label="by hand")


def usage(client: VendorClient, key: Any, **options: Any) -> requests.Response:
    return call("GET", client.url + USAGE, key["key"], **options)


def create(
    client: VendorClient, account: Any, label: str = "kv-1", **options: Any
) -> requests.Response:
    url, credential = f"{client.url}/v1/keys", account["management_credential"]
    return call("POST", url, credential, json={"label": label}, **options)


def labels(client: VendorClient, account: Any) -> list[str]:
    return [key["label"] for key in client.keys(account["id"])]


def last(client: VendorClient) -> tuple[str, Any, Any]:
    entry = client.ledger()[-1]
    return entry["outcome"], entry["status"], entry["fault"]


def test_status_gives_any_status_body_type_and_headers(client, key):
    body = {"success": False, "error": "busy"}
    client.fault("usage", "status", status=503, body=body, headers={"Retry-After": "7"})
    answer = usage(client, key)
    assert (answer.status_code, answer.json()) == (503, body)
    assert answer.headers["Retry-After"] == "7"
    assert last(client) == ("fault:status", 503, "status")
    client.fault("usage", "status", status=418, body="short", content_type="text/weird")
    answer = usage(client, key)
    assert (answer.status_code, answer.text) == (418, "short")
    assert answer.headers["Content-Type"] == "text/weird"


def test_delay_answers_late_but_well(client, key):
    client.fault("usage", "delay", seconds=0.3)
    start = time.monotonic()
    assert usage(client, key).status_code == 200
    assert time.monotonic() - start >= 0.3
    assert last(client) == ("ok", 200, "delay")


def test_a_delayed_call_is_carried_out_only_after_the_delay(client, account):
    client.fault("create", "delay", seconds=0.4)
    with pytest.raises(requests.ReadTimeout):
        create(client, account, timeout=0.1)
    assert labels(client, account) == []
    until(lambda: labels(client, account) == ["kv-1"], 5)


def test_drip_sends_byte_by_byte(client, key):
    client.fault("usage", "drip", seconds=0.05)
    host, port = client.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as wire:
        head = f"GET {USAGE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key['key']}\r\n\r\n"
        wire.sendall(head.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += wire.recv(65536)
        pieces = [wire.recv(65536) for _ in range(5)]
    assert max(len(piece) for piece in pieces) <= 2


@pytest.mark.parametrize(("kind", "executed"), [("cut", False), ("execute_then_cut", True)])
def test_a_cut_connection_has_no_answer_at_all(client, account, kind, executed):
    client.fault("create", kind)
    with pytest.raises(requests.ConnectionError, match="closed connection without response"):
        create(client, account)
    assert labels(client, account) == (["kv-1"] if executed else [])
    assert last(client) == (("created", 201, kind) if executed else (f"fault:{kind}", None, kind))


def test_execute_then_hang_does_it_and_stays_silent(client, account):
    client.fault("create", "execute_then_hang", seconds=0.5)
    start = time.monotonic()
    with pytest.raises(requests.ReadTimeout):
        create(client, account, timeout=0.2)
    assert labels(client, account) == ["kv-1"]
    assert last(client) == ("created", 201, "execute_then_hang")
    client.fault("create", "execute_then_hang", seconds=0.3)
    assert create(client, account, "kv-2").status_code == 201
    assert time.monotonic() - start >= 0.5


def test_execute_then_status_does_it_and_answers_as_a_proxy_would(client, account):
    client.fault("create", "execute_then_status")
    answer = create(client, account)
    assert answer.status_code == 502
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "502 Bad Gateway" in answer.text
    assert labels(client, account) == ["kv-1"]
    client.fault("create", "execute_then_status", status=500, body={"success": False})
    answer = create(client, account, "kv-2")
    assert (answer.status_code, answer.json()) == (500, {"success": False})
    assert labels(client, account) == ["kv-1", "kv-2"]


def test_redirect_points_elsewhere(client, key):
    client.fault("usage", "redirect", status=307, location="http://127.0.0.1:1/elsewhere")
    answer = usage(client, key)
    assert (answer.status_code, answer.headers["Location"]) == (307, "http://127.0.0.1:1/elsewhere")


def test_html_is_a_login_page_with_200(client, key):
    client.fault("usage", "html")
    answer = usage(client, key)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Sign in" in answer.text


def test_empty_is_200_and_nothing(client, key):
    client.fault("usage", "empty")
    answer = usage(client, key)
    assert (answer.status_code, answer.content) == (200, b"")


def test_huge_is_fifty_megabytes_of_json(client, key):
    client.fault("usage", "huge", times=2)
    with requests.Session() as session:
        headers = {"Authorization": f"Bearer {key['key']}"}
        answer = session.get(client.url + USAGE, headers=headers, stream=True, timeout=10)
        assert int(answer.headers["Content-Length"]) == 50_000_000
        assert next(answer.iter_content(20)) == b'{"success":true,"dat'
        answer.close()
    client.clear_faults()
    client.fault("usage", "huge", bytes=3_000_000)
    answer = usage(client, key)
    assert len(answer.content) == 3_000_000
    assert answer.json()["success"] is True


def test_truncated_is_json_cut_short(client, key):
    client.fault("usage", "truncated")
    answer = usage(client, key)
    assert answer.status_code == 200
    assert answer.text.startswith('{"success": true')
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)
    client.fault("usage", "truncated", full_length=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        usage(client, key)


def test_success_false_and_wrong_shape_are_200_and_no_success(client, key):
    client.fault("usage", "success_false")
    answer = usage(client, key)
    assert (answer.status_code, answer.json()) == (200, {"success": False})
    client.fault("usage", "wrong_shape")
    answer = usage(client, key)
    assert answer.status_code == 200
    assert "data" not in answer.json()


def test_flap_refuses_every_other_call(client, key):
    client.fault("usage", "flap", times=4)
    answers = [usage(client, key) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401, 200, 401, 200, 200]
    assert answers[0].json()["code"] == "INVALID_API_KEY"


def test_flap_speaks_the_envelope_of_the_route(client, account):
    client.fault("create", "flap", times=None)
    answers = [create(client, account) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 201]
    assert answers[0].json()["error"]["code"] == "UNAUTHORIZED"


def test_key_limit_refuses_a_create(client, account):
    client.fault("create", "key_limit")
    answer = create(client, account)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "KEY_LIMIT_REACHED")
    assert labels(client, account) == []


def test_echo_repeats_the_key_that_was_presented(client, key):
    client.fault("usage", "echo", status=500, code="BROKEN")
    answer = usage(client, key)
    assert (answer.status_code, answer.json()["code"]) == (500, "BROKEN")
    assert key["key"] in answer.text
    assert key["key"] not in str(client.ledger())


def test_any_fault_can_be_told_to_do_it_all_the_same(client, account):
    for number, kind in enumerate(("html", "truncated", "empty", "success_false")):
        client.fault("create", kind, execute=True)
        create(client, account, f"kv-{number}")
        assert labels(client, account)[-1] == f"kv-{number}"
        assert last(client) == ("created", 201, kind)


def test_a_fault_is_used_as_often_as_ordered_and_counts(client, key):
    client.fault("usage", "status", times=2, after=1)
    assert [usage(client, key).status_code for _ in range(4)] == [200, 500, 500, 200]
    assert [(fault["kind"], fault["used"]) for fault in client.faults()] == [("status", 2)]


def test_a_fault_without_an_end_lasts_until_it_is_cleared(client, key):
    fault_id = client.fault("*", "status", times=None)
    assert {usage(client, key).status_code for _ in range(5)} == {500}
    client.clear_faults(fault_id)
    assert usage(client, key).status_code == 200
    with pytest.raises(VendorRefused, match="404"):
        client.clear_faults(fault_id)


def test_a_fault_can_be_narrowed_to_a_key_or_an_account(client, account, key):
    other = client.create_key(account["id"])
    stranger = client.create_key(client.create_account("Other Ltd")["id"])
    client.fault("usage", "status", times=None, key_id=other["id"])
    answers = [usage(client, one).status_code for one in (key, other, stranger)]
    assert answers == [200, 500, 200]
    client.clear_faults()
    client.fault("usage", "status", times=None, account=account["id"])
    answers = [usage(client, one).status_code for one in (key, other, stranger)]
    assert answers == [500, 500, 200]


def test_a_fault_on_one_route_leaves_the_others_alone(client, account, key):
    client.fault("create", "status", times=None)
    assert usage(client, key).status_code == 200
    assert create(client, account).status_code == 500


def test_a_fault_for_a_key_also_meets_its_management(client, account, key):
    client.fault("delete", "status", times=None, key_id=key["id"])
    other = client.create_key(account["id"])
    url, credential = f"{client.url}/v1/keys", account["management_credential"]
    assert call("DELETE", f"{url}/{key['id']}", credential).status_code == 500
    assert call("DELETE", f"{url}/{other['id']}", credential).status_code == 204
    assert client.lookup(key["key"])["accepted_now"] is True


@pytest.mark.parametrize(
    "order",
    [{"route": "nowhere", "kind": "cut"}, {"route": "usage", "kind": "explode"},
     {"route": "usage", "kind": "cut", "times": 0}, {"route": "usage", "kind": "cut", "colour": 1},
     {"route": "usage", "kind": "delay", "seconds": "long"},
     {"route": "usage", "kind": "status", "status": 42}],
)  # fmt: skip
def test_a_senseless_order_is_refused(client, order):
    with pytest.raises(VendorRefused, match="400"):
        client.fault(**order)
    assert client.faults() == []
