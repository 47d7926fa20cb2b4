"""The vendor tells the last use of keys as it is, or wrongly as it was told to (B118, F13)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.vendor_client import VendorClient, VendorRefused
from tests.sandbox.running import call, running_vendor
from tests.waiting import until


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_vendor(tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor.client


@pytest.fixture
def account(client: VendorClient) -> Any:
    return client.create_account("Example Ltd")


@pytest.fixture
def key(client: VendorClient, account: Any) -> Any:
    """Return a key that was used just now."""
    made = client.create_key(account["id"])
    assert client.use(made["key"]) == 200
    return made


def told(client: VendorClient, account: Any, key: Any) -> datetime | None:
    url = f"{client.url}/v1/keys/{key['id']}"
    said = call("GET", url, account["management_credential"]).json()["data"]["last_used_at"]
    return datetime.fromisoformat(said) if said else None


def true_use(client: VendorClient, key: Any) -> datetime:
    return datetime.fromisoformat(client.lookup(key["key"])["last_used_at"])


def test_it_tells_the_last_use_as_it_is(client, account, key):
    assert told(client, account, key) == true_use(client, key)


def test_it_may_show_null_for_a_key_that_is_used(client, account, key):
    client.patch_account(account["id"], last_use_shown="null")
    assert told(client, account, key) is None
    rows = call("GET", f"{client.url}/v1/keys", account["management_credential"]).json()
    assert [row["last_used_at"] for row in rows["data"]["keys"]] == [None]


@pytest.mark.parametrize("seconds", [300, 86400])
def test_it_may_round_the_last_use_down(client, account, key, seconds):
    client.patch_account(account["id"], last_use_resolution=seconds)
    shown = told(client, account, key)
    assert shown.timestamp() % seconds == 0
    assert timedelta(0) <= true_use(client, key) - shown < timedelta(seconds=seconds)


def test_it_may_count_uses_late_and_counts_them_in_the_end(client, account, key):
    client.patch_account(account["id"], last_use_lag=3600)
    assert told(client, account, key) is None
    client.patch_account(account["id"], last_use_lag=0.4)
    first = true_use(client, key)
    until(lambda: told(client, account, key) == first, 5)
    client.use(key["key"])
    assert told(client, account, key) == first
    until(lambda: told(client, account, key) == true_use(client, key), 5)


def test_its_clock_may_be_behind(client, account, key):
    client.patch_account(account["id"], last_use_behind=7200)
    assert told(client, account, key) == true_use(client, key) - timedelta(hours=2)
    assert told(client, account, key) < datetime.now(UTC) - timedelta(hours=1)


@pytest.mark.parametrize(
    "wrong", [{"last_use_shown": "never"}, {"last_use_lag": -1}, {"last_use_resolution": "1 day"}]
)
def test_it_refuses_senseless_orders(client, account, wrong):
    with pytest.raises(VendorRefused):
        client.patch_account(account["id"], **wrong)
