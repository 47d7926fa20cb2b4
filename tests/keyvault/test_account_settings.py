"""Limits and timings of a vendor account: by the service, the API and its page."""

import pytest
from django.urls import reverse

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.inventory.account_settings import ACCOUNT_SETTINGS, change_settings, defaults_of
from keyvault.inventory.edit_conflicts import edit_mark
from keyvault.inventory.vendor_gateway import timing_of, vendor_account
from keyvault.vendors import PROVIDERS
from rotation.engine.check_budget import interval_of
from tests.api_client import Api
from tests.pages import as_, text

EVERY = {setting.name: setting.least for setting in ACCOUNT_SETTINGS}


def last_change():
    return AuditEvent.objects.filter(action="account.changed").order_by("-seq").first()


def test_each_setting_counts_at_once_and_is_on_record(people, place):
    account = change_settings(
        people.owner,
        place.api_account,
        {"key_limit": 7, "key_check_interval_hours": 3, "propagation_seconds": 0.5},
    )
    provider = PROVIDERS[account.provider]
    assert provider.limit_of(vendor_account(account)) == 7
    assert interval_of(account).total_seconds() == 3 * 3600
    assert timing_of(account).propagation_seconds == 0.5
    assert '"key_limit":"default → 7"' in last_change().payload.replace(": ", ":")


def test_none_takes_a_value_back_and_others_stay(people, place):
    change_settings(people.owner, place.api_account, {"key_limit": 7, "steady_answers": 3})
    account = change_settings(people.owner, place.api_account, {"key_limit": None})
    assert account.settings == {"steady_answers": 3}
    before = AuditEvent.objects.count()
    change_settings(people.owner, account, {"steady_answers": 3, "key_limit": None})
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize("setting", ACCOUNT_SETTINGS, ids=lambda one: one.name)
def test_a_value_out_of_bounds_is_refused_with_its_bounds(people, place, setting):
    bad = [0, -1, setting.most + 1, float("nan"), float("inf")]
    for value in [*bad, 1.5] if setting.whole else bad:
        with pytest.raises(BadInput) as refused:
            change_settings(people.owner, place.api_account, {"key_limit": 5, setting.name: value})
        assert refused.value.code == "out_of_bounds"
    place.api_account.refresh_from_db()
    assert place.api_account.settings == {}


def test_an_unknown_setting_is_refused_whole(people, place):
    with pytest.raises(BadInput, match="key_limit") as refused:
        change_settings(people.owner, place.api_account, {"key_limit": 5, "watch": 1})
    assert refused.value.code == "unknown_field"
    place.api_account.refresh_from_db()
    assert place.api_account.settings == {}


def test_only_owners_change_them_and_a_stale_form_changes_nothing(people, place):
    with pytest.raises(Denied):
        change_settings(people.operator, place.api_account, {"key_limit": 5})
    seen = edit_mark(place.api_account)
    change_settings(people.owner, place.api_account, {"key_limit": 5}, seen)
    with pytest.raises(Conflict) as stale:
        change_settings(people.owner, place.api_account, {"key_limit": 6}, seen)
    assert stale.value.code == "stale"


def test_every_setting_has_a_default_of_the_vendor_or_the_installation(place):
    assert defaults_of(place.api_account).keys() == EVERY.keys()


def test_the_api_shows_and_changes_them(people, place):
    address = f"accounts/{place.api_account.pk}/settings"
    owner = Api(people.owner)
    assert owner.get(address).json == dict.fromkeys(EVERY)
    changed = owner.call("PATCH", address, EVERY)
    assert (changed.status, changed.json) == (200, EVERY)
    refused = owner.call("PATCH", address, {"key_limit": 0})
    assert (refused.status, refused.json["code"]) == (400, "out_of_bounds")
    assert owner.call("PATCH", address, {"key_limit": "many"}).status == 400
    assert owner.call("PATCH", address, {"watch": 1}).json["code"] == "unknown_field"
    assert Api(people.operator).call("PATCH", address, {"key_limit": 5}).status == 403
    assert owner.get(address).json == EVERY
    assert owner.call("PATCH", address, {"key_limit": None}).json == {**EVERY, "key_limit": None}


def test_the_page_shows_defaults_and_stores_what_is_filled_in(client, people, place):
    account = place.api_account
    page, address = (
        reverse("vendor-account", args=[account.pk]),
        reverse("account-settings", args=[account.pk]),
    )
    shown = text(as_(client, people.owner).get(page))
    assert 'name="set-key_limit"' in shown
    assert f'placeholder="{defaults_of(account)["propagation_seconds"]:g}"' in shown
    form = {"set-seen": edit_mark(account), "set-key_limit": "9", "set-steady_answers": ""}
    assert client.post(address, form).status_code == 302
    account.refresh_from_db()
    assert account.settings == {"key_limit": 9}
    stale = client.post(address, {**form, "set-key_limit": "8"})
    assert stale.status_code == 409
    assert 'value="8"' in text(stale)
    bad = client.post(address, {"set-key_limit": "0"})
    assert bad.status_code == 400
    assert client.post(address, {"set-key_limit": "many"}).status_code == 400
    account.refresh_from_db()
    assert account.settings == {"key_limit": 9}
    assert as_(client, people.operator).post(address, form).status_code == 403
    assert 'name="set-key_limit"' not in text(client.get(page))
