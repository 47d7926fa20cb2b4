"""The pages of campaigns, groups and approval rules, as their people use them."""

from typing import Any

import pytest
from django.test import Client

from keyvault.models import ApprovalRule, Grant, Group, KeyVersion, Role
from rotation.campaigns import service
from rotation.campaigns.service import Choice
from rotation.engine import lifecycle
from rotation.models import Reason, Rotation
from rotation.models.campaigns import Campaign
from tests.api_client import counting, sign_in
from tests.factories import grant, make_key, make_member, show
from tests.pages import text
from tests.rotation.driving import drive

START = {"title": "The CI provider was broken into", "reason": "incident"}


@pytest.fixture
def owner(people: Any) -> Client:
    return sign_in(Client(), people.owner)


def test_an_incident_from_preview_to_the_last_key(
    vendor: Any, place: Any, people: Any, owner: Client
) -> None:
    """B43: which keys, how many need a person, then progress, and a word for what stays."""
    first = make_key(vendor, place, people.owner, name="first")
    make_key(vendor, place, people.owner, name="by hand", manual=True)
    form = {**START, "application": place.application.pk}
    page = text(owner.post("/campaigns/", {**form, "preview": "1"}))
    assert "2 secrets would be dealt with" in page
    assert "1 of them needs a person" in page.replace("needs,", "needs")
    assert not Campaign.objects.exists()
    started = owner.post("/campaigns/", {**form, "start": "1"})
    campaign = Campaign.objects.get()
    assert started["Location"] == f"/campaigns/{campaign.pk}/"
    service.work()
    drive(Rotation.objects.get(key=first))
    page = text(owner.get(f"/campaigns/{campaign.pk}/"))
    assert "<b>1 of 2</b> settled" in page
    assert "by hand" in page
    assert "first" in text(owner.get(f"/campaigns/{campaign.pk}/?show=settled"))
    item = campaign.items.get(key__name="by hand")
    path = f"/campaigns/{campaign.pk}/{item.pk}"
    assert owner.post(f"{path}/accept", {"reason": "no"}).status_code == 400
    owner.post(f"{path}/accept", {"reason": "the account was closed"})
    service.work()
    live = text(owner.get(f"/campaigns/{campaign.pk}/live"))
    assert "<b>2 of 2</b> settled; closed" in live
    assert "hx-get" not in live
    assert "2 of 2" in text(owner.get("/campaigns/"))


def test_what_a_person_knows_and_what_tokens_read_and_never_two_ways_at_once(
    vendor: Any, place: Any, people: Any, owner: Client
) -> None:
    show(people.developer, make_key(vendor, place, people.owner, name="seen"))
    by_person = {**START, "person": people.developer.pk}
    assert "1 secret would" in text(owner.post("/campaigns/", {**by_person, "preview": "1"}))
    both = owner.post("/campaigns/", {**by_person, "environment": place.environment.pk})
    assert both.status_code == 400
    assert "in one way" in text(both)
    nothing = owner.post(
        "/campaigns/", {**START, "readable_by": place.application.pk, "start": "1"}
    )
    assert "No key matches" in text(nothing)
    assert owner.post("/campaigns/", {**START, "account": "x"}).status_code == 400


def test_the_counts_say_what_the_report_says(vendor: Any, place: Any, people: Any) -> None:
    keys = [make_key(vendor, place, people.owner, name=f"key {n}") for n in range(5)]
    exposed = service.exposed_by(Choice(account=place.api_account))
    campaign = service.start(people.owner, "x", Reason.LEAK, exposed)
    items = list(campaign.items.order_by("pk"))
    service.accept(people.owner, items[0], "it is the test key")
    service.work()
    drive(Rotation.objects.get(key=keys[1]))
    lifecycle.cancel(people.owner, Rotation.objects.get(key=keys[2]))
    drive(Rotation.objects.get(key=keys[2]))
    report = service.progress(service.report(campaign))
    assert service.counts(campaign) == report
    assert report["rotated"] == report["accepted"] == report["failed"] == 1


def test_a_secret_that_was_given_up_is_named_and_not_said_to_wait(
    vendor: Any, place: Any, people: Any
) -> None:
    """What a leaver pasted into a rotation that failed may live on at the vendor."""
    key = make_key(vendor, place, people.owner, name="pasted")
    exposed = service.exposed_by(Choice(account=place.api_account))
    campaign = service.start(people.owner, "x", Reason.LEAK, exposed)
    assert key.current is not None
    KeyVersion.objects.filter(pk=key.current.pk).update(state="discarded", refused_at=None)
    assert service.work() in (0, 1)
    campaign.items.update(rotation=None)
    (said,) = service.report(campaign)
    assert said.state == "open"
    assert "Delete it at the vendor" in said.text
    assert service.counts(campaign) == {"open": 1}


def test_pages_of_campaigns_cost_the_same_however_many_keys(
    vendor: Any, place: Any, people: Any, owner: Client
) -> None:
    counted = []
    for number in (1, 6):
        for part in range(number):
            make_key(vendor, place, people.owner, name=f"key {number} {part}")
        exposed = service.exposed_by(Choice(account=place.api_account))
        made = service.start(people.owner, "x", Reason.LEAK, exposed)
        costs = []
        for path in ("/campaigns/", f"/campaigns/{made.pk}/", f"/campaigns/{made.pk}/live"):
            with counting() as statements:
                assert owner.get(path).status_code == 200
            costs.append(len(statements))
        counted.append(costs)
    assert counted[0] == counted[1]
    assert max(counted[0]) <= 11


def test_campaigns_are_for_owners(vendor: Any, place: Any, people: Any) -> None:
    make_key(vendor, place, people.owner)
    exposed = service.exposed_by(Choice(account=place.api_account))
    made = service.start(people.owner, "x", Reason.LEAK, exposed)
    item = made.items.get()
    for who in (people.operator, people.viewer, people.auditor):
        client = sign_in(Client(), who)
        assert client.get("/campaigns/").status_code == 403
        assert client.get(f"/campaigns/{made.pk}/").status_code == 403
        assert (
            client.post(f"/campaigns/{made.pk}/{item.pk}/accept", {"reason": "because"}).status_code
            == 403
        )
        assert "Campaigns" not in text(client.get("/rotations/"))
    stale = sign_in(Client(), people.owner, proved=False)
    answer = stale.post("/campaigns/", {**START, "account": place.api_account.pk, "start": "1"})
    assert "reauthenticate" in answer["Location"]
    assert Campaign.objects.count() == 1


def test_a_group_from_its_name_to_its_end(place: Any, people: Any, owner: Client) -> None:
    """AN-7: who is in it has its roles with the next request, and loses them with it."""
    owner.post("/people/groups", {"name": "Night shift"})
    group = Group.objects.get()
    at = f"/people/groups/{group.pk}/"
    owner.post(f"{at}join", {"member": people.outsider.pk})
    owner.post(f"{at}roles", {"role": "viewer"})
    theirs = sign_in(Client(), people.outsider)
    assert theirs.get("/applications/").status_code == 200
    assert str(place.application) in text(theirs.get("/applications/"))
    page = text(owner.get(at))
    assert "viewer of everything" in page
    assert "outsider@example.com" in page
    owner.post(f"{at}roles/take", {"grant": Grant.objects.get(group=group).pk})
    assert str(place.application) not in text(theirs.get("/applications/"))
    owner.post(f"{at}leave", {"member": people.outsider.pk})
    assert not group.members.exists()
    owner.post(f"{at}remove")
    assert not Group.objects.exists()


def test_groups_are_changed_by_owners_outside_of_them_only(people: Any, owner: Client) -> None:
    group = Group.objects.create(name="Owners")
    group.members.add(people.owner)
    at = f"/people/groups/{group.pk}/"
    assert "Nobody changes a group that they are in" in text(owner.get(at))
    assert owner.post(f"{at}roles", {"role": "owner"}).status_code == 403
    assert owner.post(f"{at}remove").status_code == 403
    assert owner.post("/people/groups", {"name": "owners"}).status_code == 409
    assert owner.post("/people/groups", {"name": " "}).status_code == 400
    foreign = Grant.objects.get(member=people.viewer)
    assert owner.post(f"{at}roles/take", {"grant": foreign.pk}).status_code == 404
    assert (
        owner.post(f"/people/{people.owner.pk}/roles/take", {"grant": foreign.pk}).status_code
        == 404
    )
    for who in (people.viewer, people.operator):
        assert sign_in(Client(), who).get(at).status_code == 404
    local = grant(make_member("local@example.com"), Role.OWNER, application=_application())
    assert "Owners" not in text(sign_in(Client(), local).get("/people/"))


def _application() -> Any:
    from keyvault.models import Application

    return Application.objects.get()


def test_a_rule_is_set_by_one_owner_and_taken_back_by_two(people: Any, owner: Client) -> None:
    second = grant(make_member("second@example.com"), Role.OWNER)
    owner.post("/approvals/rules", {"act": "rotation"})
    rule = ApprovalRule.objects.get()
    assert "start a rotation" in text(owner.get("/approvals/"))
    first = owner.post(f"/approvals/rules/{rule.pk}/remove")
    assert first.status_code == 409
    other = sign_in(Client(), second)
    request = rule_request()
    other.post(f"/approvals/{request}/decide", {"granted": "yes"})
    owner.post(f"/approvals/rules/{rule.pk}/remove")
    assert not ApprovalRule.objects.exists()
    assert owner.post("/approvals/rules", {"act": "rule"}).status_code == 400
    assert (
        sign_in(Client(), people.operator).post("/approvals/rules", {"act": "rotation"}).status_code
        == 403
    )


def rule_request() -> int:
    from keyvault.models import Approval

    return Approval.objects.get().pk


def test_a_campaigns_form_begins_with_the_places_in_its_address(place: Any, owner: Client) -> None:
    query = f"environment={place.environment.pk}&application={place.application.pk}"
    form = text(owner.get(f"/campaigns/?{query}"))
    assert f'<option value="{place.application.pk}" selected>' in form
    assert owner.get("/campaigns/?application=x").status_code == 404
