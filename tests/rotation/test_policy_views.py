"""Policies in the console and by API: where each value comes from, and what others changed."""

import re

import pytest
from django.urls import reverse

from keyvault.models import Application
from rotation.models import PolicyScope, RotationPolicy
from rotation.scheduling import inheritance, policies
from rotation.scheduling.policies import Wish
from tests.api_client import Api
from tests.factories import make_key
from tests.pages import as_, text


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def level(kind, number):
    return reverse("policy-level", args=[kind, number])


def mark_of(answer):
    return answer.context["form"]["seen"].value()


def test_the_pages_say_what_each_level_says_and_a_keys_page_where_it_comes_from(
    client, people, place, key
):
    as_(client, people.owner)
    saved = client.post(
        level("installation", 0), {"every_days": "90", "time_zone": "Europe/Berlin"}, follow=True
    )
    assert "policy of the installation is saved: every 90 days, Europe/Berlin" in text(saved)
    client.post(level("environment", place.environment.pk), {"window": "Tue-Thu 10:00-16:00"})
    page = text(client.get("/policies/"))
    assert "Every 90 days, Europe/Berlin" in page
    assert "Within Tue-Thu 10:00-16:00" in page
    shown = text(client.get(reverse("key", args=[key.pk])))
    assert "Empty: 90, from the installation." in shown
    assert f"Empty: Tue-Thu 10:00-16:00, from environment {place.environment}." in shown
    assert "Empty: none." in shown
    coming = re.findall(r"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d Europe/Berlin", shown)
    assert len(coming) == 5, "the next five runs, in local time and UTC"
    client.post(reverse("key-policy", args=[key.pk]), {"every_days": "7"})
    assert RotationPolicy.objects.get().own == ["every_days"]
    client.post(reverse("key-policy", args=[key.pk]), {"follow": "yes"})
    assert RotationPolicy.objects.get().every_days == 90


@pytest.mark.parametrize("who", ["operator", "viewer", "auditor"])
def test_others_may_look_and_not_change(client, people, place, who):
    member = getattr(people, who, people.viewer)
    as_(client, member)
    assert client.get("/policies/").status_code == 200
    assert client.post(level("installation", 0), {"every_days": "5"}).status_code == 403
    assert not PolicyScope.objects.exists()


def test_unknown_and_foreign_levels_are_not_found(client, people, place):
    as_(client, people.owner)
    for kind, number in (("installation", 3), ("nonsense", 0), ("application", 999)):
        assert client.get(level(kind, number)).status_code == 404
    hidden = Application.objects.create(name="Hidden")
    as_(client, people.outsider)
    assert client.get(level("application", hidden.pk)).status_code == 404


def test_a_stale_page_says_who_changed_what_and_keeps_what_was_typed(client, people, place, key):
    as_(client, people.owner)
    address = level("application", place.application.pk)
    policies.set_policy(people.operator, key, Wish(20))
    inheritance.set_scope(people.owner, place.application, Wish(30))
    opened = mark_of(client.get(address))
    inheritance.set_scope(people.owner, place.application, Wish(45))
    answer = client.post(address, {"every_days": "60", "seen": opened})
    assert answer.status_code == 409
    assert f"{people.owner} changed this at" in text(answer)
    assert "every days 45" in text(answer)
    assert 'value="60"' in text(answer)
    assert inheritance.scope_of(place.application).every_days == 45
    again = client.post(address, {"every_days": "60", "seen": mark_of(answer)})
    assert again.status_code == 302
    assert inheritance.scope_of(place.application).every_days == 60


def test_a_keys_policy_form_is_not_saved_over_anothers_change(client, people, key):
    policies.set_policy(people.operator, key, Wish(20))
    as_(client, people.owner)
    page = reverse("key", args=[key.pk])
    opened = client.get(page).context["policy_form"]["seen"].value()
    policies.set_policy(people.operator, key, Wish(25))
    sent = {"every_days": "60", "seen": opened}
    answer = client.post(reverse("key-policy", args=[key.pk]), sent)
    assert answer.status_code == 409
    assert f"{people.operator} changed this at" in text(answer)
    assert "every 25 days" in text(answer)
    assert RotationPolicy.objects.get().every_days == 25


def test_levels_by_api(people, place, key):
    owner = Api(people.owner)
    body = {"application": place.application.pk, "rule": "first monday", "at_time": "04:00"}
    made = owner.call("PUT", "policies/", body)
    assert (made.status, made.json["rule"]) == (200, "FREQ=MONTHLY;BYDAY=1MO")
    assert owner.call("PUT", "policies/", {"every_days": 90}).status == 200
    assert len(owner.get("policies/").json["results"]) == 2
    both = {**body, "account": place.api_account.pk}
    assert owner.call("PUT", "policies/", both).status == 400
    assert owner.call("PUT", "policies/", {"application": 999}).status == 404
    assert Api(people.operator).call("PUT", "policies/", body).status == 403
    seen = Api(people.operator).get(f"keys/{key.pk}/policy").json
    assert (seen["rule"], seen["own"]) == ("FREQ=MONTHLY;BYDAY=1MO", [])
