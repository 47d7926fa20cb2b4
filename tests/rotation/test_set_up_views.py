"""Settings, environments, accounts and tokens in the console; what others changed meanwhile."""

import re

import pytest
from django.urls import reverse

from keyvault.audit.models import AuditEvent
from keyvault.delivery import tokens
from keyvault.inventory.edit_conflicts import edit_mark
from keyvault.models import Environment, ServiceToken
from tests.factories import make_key
from tests.pages import as_, statements, text


def test_settings_show_how_it_is_configured_to_owners_and_no_secret(client, settings, people):
    settings.METRICS_TOKEN = "metrics-" + "canary" * 5
    page = text(as_(client, people.owner).get("/settings/"))
    assert "DEFAULT_OVERLAP_SECONDS" in page
    assert settings.VAULT_ADDR in page
    assert "canary" not in page
    page = text(as_(client, people.viewer).get("/settings/"))
    assert "VAULT_ADDR" not in page
    assert "Policies" in page


def test_environments_are_added_and_changed_with_what_it_was_on_record(client, place, people):
    as_(client, people.owner)
    client.post("/environments/", {"name": "Staging", "position": "5"})
    made = Environment.objects.get(name="Staging")
    address = reverse("environment", args=[made.pk])
    client.post(address, {"name": "Stage", "position": "5", "is_production": "on"})
    made.refresh_from_db()
    assert (made.name, made.is_production) == ("Stage", True)
    row = AuditEvent.objects.filter(action="environment.changed").latest("seq")
    assert "Staging → Stage" in row.payload
    taken = client.post(address, {"name": "PRODUCTION", "position": "5"})
    assert taken.status_code == 409
    assert "Another one has this name already" in text(taken)
    as_(client, people.operator)
    assert client.post(address, {"name": "Mine", "position": "5"}).status_code == 403
    assert client.post("/environments/", {"name": "Mine", "position": "1"}).status_code == 403


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("environment", {"name": "Theirs", "position": "3"}),
        ("application", {"name": "Theirs", "team": "T", "contact": ""}),
        ("account", {"name": "Theirs", "dashboard_url": ""}),
    ],
)
def test_a_stale_form_says_who_changed_what(client, place, people, kind, change):
    row = {
        "environment": place.environment,
        "application": place.application,
        "account": place.api_account,
    }[kind]
    route = {
        "environment": "environment",
        "application": "application-change",
        "account": "vendor-account",
    }[kind]
    address, opened = reverse(route, args=[row.pk]), edit_mark(row)
    was = row.name
    as_(client, people.owner).post(address, {**change, "seen": opened})
    second = client.post(address, {**change, "name": "Mine", "seen": opened})
    assert second.status_code == 409
    assert f"{people.owner} changed this at" in text(second)
    assert f"name {was} → Theirs" in text(second)
    assert 'value="Mine"' in text(second)
    row.refresh_from_db()
    assert row.name == "Theirs"
    fresh = re.search(r'name="seen" value="(\d+)"', text(second))[1]
    assert client.post(address, {**change, "name": "Mine", "seen": fresh}).status_code == 302


def test_the_connection_to_a_vendor_is_tested(client, vendor, place, people):
    as_(client, people.owner)
    address = reverse("account-test", args=[place.api_account.pk])
    assert "refuses a made-up key as it should" in text(client.post(address, follow=True))
    place.api_account.base_url = "http://127.0.0.1:9"
    place.api_account.save()
    assert "gave no clear answer" in text(client.post(address, follow=True))
    as_(client, people.operator)
    assert client.post(address).status_code == 403
    shown = client.get(reverse("vendor-account", args=[place.api_account.pk]))
    assert "Rotate all of them" not in text(shown)
    assert "Test the connection" not in text(shown)
    assert "In Vault" in text(shown)


def test_an_account_sends_keys_nowhere_else(client, place, people):
    as_(client, people.owner)
    address = reverse("vendor-account", args=[place.api_account.pk])
    was = place.api_account.base_url
    client.post(address, {"name": "A", "dashboard_url": "", "base_url": "http://127.0.0.1:1/"})
    place.api_account.refresh_from_db()
    assert (place.api_account.base_url, place.api_account.name) == (was, "A")
    bad = client.post(address, {"name": "A", "dashboard_url": "http://169.254.169.254/"})
    assert bad.status_code == 400


def test_tokens_of_all_applications_with_an_end_for_one(client, vendor, place, people):
    make_key(vendor, place, people.owner)
    token, secret = tokens.issue(people.owner, "web-1", place.application, place.environment)
    as_(client, people.owner)
    page = text(client.get("/tokens/?state=live"))
    assert f"kvt_{token.public_id}" in page
    assert secret.reveal() not in page
    assert "web-1" not in text(client.get("/tokens/?state=revoked"))
    assert "web-1" in text(client.get(f"/tokens/?application={place.application.pk}"))
    renewed = client.post(reverse("token-renew", args=[token.pk]), follow=True)
    assert "no-store" in renewed["Cache-Control"]
    assert re.search(r"kvt_[a-z0-9]{12}_\w{42}", text(renewed))
    address = reverse("token-revoke", args=[token.pk])
    assert client.post(address).status_code == 400
    as_(client, people.operator)
    assert "token-revoke" not in text(client.get("/tokens/"))
    assert f"/tokens/{token.pk}/revoke" not in text(client.get("/tokens/"))
    assert client.post(address, {"sure": "yes"}).status_code == 404
    as_(client, people.outsider)
    assert "web-1" not in text(client.get("/tokens/"))
    assert as_(client, people.owner).post(address, {"sure": "yes"}).status_code == 302
    assert ServiceToken.objects.get().revoked_at is not None
    assert client.post(address, {"sure": "yes"}).status_code == 409


def test_lists_of_set_up_take_as_many_statements_with_more_rows(client, place, people):
    as_(client, people.owner)
    addresses = ("/tokens/", "/environments/", "/policies/", "/settings/")
    tokens.issue(people.owner, "first", place.application, place.environment)
    few = [statements(client, one) for one in addresses]
    for number in range(5):
        tokens.issue(people.owner, f"t{number}", place.application, place.environment)
        Environment.objects.create(name=f"e{number}")
    assert [statements(client, one) for one in addresses] == few
    assert max(few) <= 10
