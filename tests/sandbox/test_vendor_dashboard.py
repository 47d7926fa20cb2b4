"""The vendor's dashboard, by plain form posts and in a real browser."""

import re
from typing import Any

import pytest

from sandbox.vendor_client import VendorClient, VendorRefused
from tests.sandbox.running import call, running_vendor


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_vendor(tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor.client


@pytest.fixture
def account(client: VendorClient) -> Any:
    return client.create_account("Example Ltd")


def test_a_new_key_is_shown_once_and_works(client, account):
    page = client.dashboard(account["email"], account["password"])
    secret = page.generate("billing")
    assert re.fullmatch(r"inf_[\w-]{40}", secret)
    assert client.use(secret) == 200
    shown = page.page()
    assert secret not in shown
    assert "new-key" not in shown
    assert (client.lookup(secret)["label"], secret[-4:] in shown) == ("billing", True)


def test_a_deleted_key_is_refused_and_gone_from_the_list(client, account):
    page = client.dashboard(account["email"], account["password"])
    secret = page.generate()
    key_id = client.lookup(secret)["id"]
    assert page.key_ids() == [key_id]
    page.delete(key_id)
    assert page.key_ids() == []
    assert client.use(secret) == 401
    with pytest.raises(VendorRefused, match="404"):
        page.delete(key_id)
    routes = [entry["route"] for entry in client.ledger(account=account["id"])]
    assert routes.count("dashboard_create") == 1
    assert routes.count("dashboard_delete") == 2


def test_a_get_deletes_nothing(client, account):
    key = client.create_key(account["id"])
    url = f"{client.url}/settings/api/keys/{key['id']}/delete"
    cookies = client.dashboard(account["email"], account["password"])._cookies
    asked = call("GET", url, cookies=cookies)
    assert "confirm-delete" in asked.text
    assert client.use(key["key"]) == 200


def test_it_is_closed_without_a_sign_in(client, account):
    key = client.create_key(account["id"])
    with pytest.raises(VendorRefused, match="401"):
        client.dashboard(account["email"], "wrong")
    for method, path in (("GET", ""), ("POST", "/keys"), ("POST", f"/keys/{key['id']}/delete")):
        answer = call(method, f"{client.url}/settings/api{path}")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert len(client.keys(account["id"])) == 1
    assert client.use(key["key"]) == 200


def test_other_accounts_keys_can_be_neither_seen_nor_deleted(client, account):
    mine = client.create_key(account["id"])
    other = client.create_account("Other Ltd")
    page = client.dashboard(other["email"], other["password"])
    assert page.key_ids() == []
    with pytest.raises(VendorRefused, match="404"):
        page.delete(mine["id"])
    assert client.use(mine["key"]) == 200


def test_signing_out_ends_the_session(client, account):
    page = client.dashboard(account["email"], account["password"])
    call("POST", f"{client.url}/sign-out", cookies=page._cookies)
    with pytest.raises(VendorRefused, match="shows no new key"):
        page.generate()
    assert client.keys(account["id"]) == []


def test_the_key_limit_is_said_in_words(client, account):
    client.patch_account(account["id"], key_limit=1)
    page = client.dashboard(account["email"], account["password"])
    page.generate()
    page._post("/settings/api/keys", name="one more")
    assert "reached its limit" in page.page()
    assert len(client.keys(account["id"])) == 1


def test_a_name_is_text_never_markup(client, account):
    page = client.dashboard(account["email"], account["password"])
    page.generate("<script>alert(1)</script>")
    assert "<script>" not in page.page()
    assert "&lt;script&gt;alert(1)" in page.page()


def test_pages_are_not_stored_and_load_nothing_from_elsewhere(client):
    answer = call("GET", client.url + "/")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert call("GET", client.url + "/style.css").headers["Content-Type"].startswith("text/css")
    assert call("GET", client.url + "/nothing").status_code == 404


def test_a_person_makes_and_deletes_a_key_in_a_browser(client, account, browser):
    complaints: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_viewport_size({"width": 375, "height": 700})
    page.goto(client.url)
    page.get_by_label("E-mail address").fill(account["email"])
    page.get_by_label("Password").fill(account["password"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Name (optional)").fill("a rather long name for a key of an application")
    page.get_by_role("button", name="Generate New API Key").click()
    secret = page.locator("#new-key").inner_text()
    assert client.use(secret) == 200
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.reload()
    assert page.locator("#new-key").count() == 0
    page.locator(f"#delete-{client.lookup(secret)['id']}").click()
    page.get_by_role("button", name="Delete key").click()
    assert page.get_by_role("status").inner_text().endswith(f"{secret[-4:]} was deleted.")
    assert page.locator("#no-keys").is_visible()
    assert client.use(secret) == 401
    assert complaints == []
