"""Every key that matches is dealt with, whatever its state; none is left out as "unused"."""

from datetime import time

import pytest
from django.test import override_settings

from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.inventory.keys import NewKey, register_key
from keyvault.models import ApiKey, VersionState
from rotation import queue
from rotation.campaigns import service
from rotation.campaigns.service import Choice
from rotation.models import Campaign, CampaignItem, Reason, Rotation, Step
from rotation.scheduling import policies
from tests.api_client import Api
from tests.factories import make_key, secret_of, show
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, hurry, started


def begin(people, keys=None, reason=Reason.INCIDENT):
    found = ApiKey.objects.all() if keys is None else keys
    return service.start(
        people.owner, "The supplier was broken into", reason, service.secrets_of(found)
    )


def states(campaign):
    return {one.item.key.name: one.state for one in service.report(campaign)}


def go_on(campaign, rounds=3):
    """Let the loop turn, and every rotation go as far as it goes."""
    for _ in range(rounds):
        service.work()
        for rotation in Rotation.objects.filter(finished_at=None):
            drive(rotation, lambda r: r.waiting_for in ("key", "deletion", "person", "adoption"))
    campaign.refresh_from_db()


def test_every_key_is_in_it_and_it_stays_open_until_each_is_dead_or_accepted(vendor, place, people):
    """B43: active, unused, without a policy, manual, failing, rotating already, without a secret."""
    make_key(vendor, place, people.owner, name="active")
    unused = make_key(vendor, place, people.owner, name="unused")
    policies.set_policy(people.owner, unused, policies.Wish(30, time(3), "UTC", 0, 1, False))
    manual = make_key(vendor, place, people.owner, name="by hand", manual=True)
    failing = make_key(vendor, place, people.owner, name="failing")
    busy = make_key(vendor, place, people.owner, name="busy")
    running = started(people.operator, busy, overlap_seconds=3600)
    drive(running, lambda r: r.waiting_for == "overlap")
    lost = make_key(vendor, place, people.owner, name="no secret")
    ApiKey.objects.filter(pk=lost.pk).update(current=None)
    campaign = begin(people)
    assert len(service.report(campaign)) == ApiKey.objects.count() == 6

    refused = {"success": False, "error": "No", "code": "FORBIDDEN"}
    service.work()
    bad = CampaignItem.objects.get(key=failing).rotation
    vendor.fault("create", kind="status", status=400, times=1, body=refused)
    drive(bad)
    Rotation.objects.filter(pk=running.pk).update(overlap_seconds=0)
    hurry(running)
    go_on(campaign)
    assert states(campaign) == {
        "active": "rotated",
        "unused": "rotated",
        "busy": "rotated",
        "by hand": "under way",
        "failing": "failed",
        "no secret": "open",
    }
    assert campaign.closed_at is None

    item = campaign.items.get(key=failing)
    service.retry(people.operator, item)
    vendor.delete_key_by_secret(secret_of(manual.current))
    service.accept(people.owner, campaign.items.get(key=lost), "its account was closed")
    go_on(campaign)
    assert states(campaign)["failing"] == "rotated"
    left = {name for name, state in states(campaign).items() if state not in DONE}
    for name in left:
        service.accept(people.owner, campaign.items.get(key__name=name), "replaced by hand")
    go_on(campaign)
    assert campaign.closed_at is not None
    assert service.progress(service.report(campaign))["rotated"] >= 3


DONE = ("rotated", "dead", "accepted")


def test_a_rotation_that_replaces_the_exposed_secret_already_counts(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key)
    campaign = begin(people)
    assert service.work() == 0
    assert campaign.items.get().rotation == rotation
    go_on(campaign)
    assert list(states(campaign).values()) == ["rotated"]
    assert campaign.closed_at is not None
    assert creates(vendor, place.vendor_api) == 1
    assert_all_is_well(vendor, place)


@override_settings(MAX_STARTS_PER_TICK=2, MAX_ROTATIONS_PER_ACCOUNT=3)
def test_it_starts_at_the_pace_of_the_caps_and_what_ends_first_goes_first(vendor, place, people):
    from datetime import timedelta

    from django.utils import timezone

    for number, days in enumerate((None, 9, 1, 5, None)):
        key = make_key(vendor, place, people.owner, name=f"key-{number}")
        if days:
            key.current.expires_at = timezone.now() + timedelta(days=days)
            key.current.save()
    campaign = begin(people)
    assert service.work() == 2
    names = list(Rotation.objects.order_by("pk").values_list("key__name", flat=True))
    assert names == ["key-2", "key-3"]
    assert service.work() == 1, "the account's cap"
    assert service.work() == 0
    go_on(campaign, rounds=4)
    assert campaign.closed_at is not None
    assert_all_is_well(vendor, place)


def test_what_a_person_saw_brought_or_owns_is_exposed_to_them(vendor, place, people):
    """B43, B69: from rows that are never archived, so the list can be made at any later time."""
    seen, other = (make_key(vendor, place, people.owner, name=name) for name in ("seen", "other"))
    show(people.developer, seen, "debugging the job")
    made = vendor.create_key(place.vendor_api["id"])
    own = register_key(
        people.developer,
        NewKey(
            account=place.api_account,
            environment=place.environment,
            member=people.developer,
            name="own",
            vendor_id=made["id"],
        ),
        made["key"],
    ).version.key
    exposed = {key for key, _ in service.exposed_by(Choice(person=people.developer))}
    assert exposed == {seen.pk, own.pk}
    assert other.pk not in exposed
    assert service.exposed_by(Choice(person=people.viewer)) == []


def test_only_an_owner_starts_and_accepts_and_nothing_is_accepted_twice(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    with pytest.raises(Denied):
        service.start(people.operator, "x", Reason.LEAK, service.secrets_of(ApiKey.objects.all()))
    with pytest.raises(BadInput, match="No key matches"):
        begin(people, ApiKey.objects.none())
    with pytest.raises(BadInput, match="title"):
        service.start(people.owner, "  ", Reason.LEAK, service.secrets_of(ApiKey.objects.all()))
    campaign = begin(people)
    item = campaign.items.get(key=key)
    with pytest.raises(Denied):
        service.accept(people.operator, item, "it is unused")
    with pytest.raises(BadInput, match="your name"):
        service.accept(people.owner, item, "no")
    with pytest.raises(Conflict, match="Nothing has failed"):
        service.retry(people.operator, item)
    service.accept(people.owner, item, "the account is closed")
    with pytest.raises(Conflict, match="settled already"):
        service.accept(people.owner, item, "the account is closed")
    service.work()
    assert not Rotation.objects.exists(), "an accepted key is left alone"
    campaign.refresh_from_db()
    assert campaign.closed_at is not None


def test_a_secret_that_died_at_the_vendor_without_us_is_dead_only_with_proof(vendor, place, people):
    key = make_key(vendor, place, people.owner, manual=True)
    campaign = begin(people)
    vendor.delete_key_by_secret(secret_of(key.current))
    service.work()
    assert states(campaign)[key.name] == "under way"
    assert campaign.items.get().exposed.state == VersionState.CURRENT


def test_campaigns_by_api_are_for_owners(vendor, place, people):
    make_key(vendor, place, people.owner, name="one")
    body = {"title": "Leak", "reason": "leak", "application": place.application.pk}
    assert Api(people.operator).post("campaigns/", body).status == 403
    made = Api(people.owner).post("campaigns/", body)
    assert (made.status, made.json["progress"]) == (201, {"waiting": 1})
    number, item = made.json["id"], made.json["keys"][0]["item"]
    assert Api(people.operator).get(f"campaigns/{number}/").status == 404
    assert Api(people.operator).get("campaigns/").json["results"] == []
    assert Api(people.owner).get("campaigns/").json["results"][0]["title"] == "Leak"
    service.work()
    assert Rotation.objects.get().reason == Reason.LEAK
    accepted = Api(people.owner).post(
        f"campaigns/{number}/items/{item}/accept", {"reason": "closed account"}
    )
    assert accepted.json["progress"] == {"accepted": 1}
    assert Api(people.owner).post(f"campaigns/{number}/items/{item}/retry", {}).status == 409
    assert Api(people.owner).post(f"campaigns/{number}/items/9999/retry", {}).status == 404
    assert Api(people.owner).post("campaigns/", {**body, "person": 9999}).status == 404
    assert Campaign.objects.count() == 1
    assert queue.open_rotation(ApiKey.objects.get()).step == Step.GENERATE
