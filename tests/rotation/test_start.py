"""The first steps: from nothing to an application that fetches its key, each step on its own."""

import re

import pytest

from keyvault.console import onboarding
from keyvault.models import ApiKey, Application, Environment, VendorAccount
from rotation.models import Consumer, OnboardingSkip, PolicyScope
from tests.api_client import Api
from tests.factories import grant, make_member, secret_of
from tests.pages import as_, text


@pytest.fixture
def owner(database):
    return grant(make_member("first@example.com"), "owner")


def states():
    return {one.name.value: one.state for one in onboarding.steps()}


def test_an_empty_installation_leads_its_owner_through_all_of_it(client, vendor, owner):
    as_(client, owner)
    assert client.get("/").headers["Location"] == "/start/"
    at_vendor = vendor.create_account("influtics")
    made = vendor.create_key(at_vendor["id"])
    sent = {"name": "Influtics", "provider": "influtics", "base_url": vendor.url}
    page = client.post("/start/account", sent, follow=True)
    assert "answers, and refuses a made-up key as it should" in text(page)
    page = client.post(
        "/start/environments",
        {"chosen": ["Development", "Production"], "another": "QA"},
        follow=True,
    )
    assert "Added: Development, Production, QA." in text(page)
    assert Environment.objects.get(name="Production").is_production
    client.post("/start/application", {"name": "Billing", "team": "Payments"})
    page = client.get("/start/")
    assert page.context["at"] == onboarding.Name.KEY
    assert page.context["form"]["account"].value() == VendorAccount.objects.get().pk
    sent = {
        "account": VendorAccount.objects.get().pk,
        "environment": Environment.objects.get(name="Production").pk,
        "application": Application.objects.get().pk,
        "name": "Reports",
    }
    wrong = client.post("/start/key", {**sent, "secret": "inf_" + "nothing1" * 5})
    assert wrong.status_code == 400
    assert "The vendor refuses this key" in text(wrong)
    assert 'value="Reports"' in text(wrong)
    assert "nothing1" not in text(wrong)
    client.post("/start/key", {**sent, "secret": made["key"]})
    assert secret_of(ApiKey.objects.get().current) == made["key"]
    client.post("/start/policy", {"every_days": "90", "at_time": "03:00"})
    assert PolicyScope.objects.get().every_days == 90
    sent = {**sent, "name": "eu-west-1", "webhook_url": ""}
    page = client.post("/start/consumer", sent, follow=True)
    assert "no-store" in page["Cache-Control"]
    token = re.search(r"kvt_[a-z0-9]{12}_\w{42}", text(page))[0]
    assert f"KEYVAULT_KEY_ID={ApiKey.objects.get().pk}" in text(page)
    assert made["key"] not in text(page)
    fetched = Api(token=token).get(f"keys/{ApiKey.objects.get().pk}/secret")
    assert fetched.json["secret"] == made["key"]
    assert set(states().values()) == {"done"}
    assert "Everything is done or left out" in text(client.get("/start/"))
    assert token not in text(client.get("/start/"))
    assert client.get("/").status_code == 200


def test_a_step_is_left_out_and_taken_up_again(client, owner):
    as_(client, owner)
    client.post("/start/account", {"skip": "yes"})
    assert client.get("/start/").context["at"] == onboarding.Name.ENVIRONMENTS
    assert client.get("/").status_code == 200, "it leads there no more by itself"
    assert "First steps" in text(client.get("/settings/"))
    assert client.get("/start/?step=account").context["at"] == onboarding.Name.ACCOUNT
    assert states()["account"] == "skipped"


@pytest.mark.parametrize(
    ("step", "sent"),
    [
        ("account", {"name": "", "provider": "influtics", "base_url": "http://x"}),
        ("account", {"name": "A", "provider": "influtics", "base_url": "http://169.254.1.1/"}),
        ("environments", {}),
        ("environments", {"chosen": ["Nonsense"]}),
        ("environments", {"another": "x" * 101}),
        ("application", {"name": "a\u202eb"}),
        ("key", {}),
        ("policy", {"every_days": "0"}),
        ("policy", {"window": "never"}),
        ("consumer", {}),
    ],
)
def test_what_does_not_fit_is_explained_and_nothing_is_half_written(client, owner, step, sent):
    as_(client, owner)
    answer = client.post(f"/start/{step}", sent)
    assert answer.status_code == 400
    for kind in (
        VendorAccount,
        Environment,
        Application,
        ApiKey,
        PolicyScope,
        Consumer,
        OnboardingSkip,
    ):
        assert not kind.objects.exists(), kind


def test_two_environments_of_one_name_store_none(client, owner):
    as_(client, owner)
    Environment.objects.create(name="production")
    answer = client.post("/start/environments", {"chosen": ["Development", "Production"]})
    assert answer.status_code == 409
    assert Environment.objects.count() == 1


def test_only_owners_set_up(client, place, people):
    for who in (people.operator, people.viewer):
        as_(client, who)
        assert client.get("/start/").status_code == 403
        assert client.post("/start/account", {"skip": "yes"}).status_code == 403
        assert client.get("/").status_code == 200
    as_(client, people.owner)
    assert client.post("/start/nonsense", {}).status_code == 404
