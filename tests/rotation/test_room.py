"""The vendor holds as many keys as it may: ours that are over go, what we do not know is named."""

import uuid

import pytest
from django.utils import timezone

from keyvault.models import KeyVersion, Link
from rotation.models import HumanTask, Intent, Step, WaitingFor
from rotation.recovery import deletion_lock
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, started, step

REFUSED = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def set_limit(vendor, place, number, *, known=True):
    """Set the account's limit at the vendor, and in our own settings if it is `known`."""
    vendor.patch_account(place.vendor_api["id"], key_limit=number)
    if known:
        place.api_account.settings = {"key_limit": number}
        place.api_account.save()


both = pytest.mark.parametrize("known", [True, False], ids=["known limit", "told by the vendor"])


def alive(vendor, place):
    return {one["id"] for one in vendor.keys(place.vendor_api["id"]) if one["accepted_now"]}


def make_orphan(vendor, place, rotation, **intent):
    """Make a key at the vendor as a call of an earlier rotation left it, with its settled intent."""
    label = f"kv-{rotation.pk}-1-{uuid.uuid4().hex[:16]}"
    Intent.objects.create(
        rotation=rotation, kind="create", label=label, fence=1, **{"state": "abandoned", **intent}
    )
    return vendor.create_key(place.vendor_api["id"], label=label)


@both
def test_an_unknown_key_stops_it_and_is_named(vendor, place, people, key, known):
    """B32, active and unknown key: nothing is made or deleted; the task says which key it is."""
    theirs = vendor.create_key(place.vendor_api["id"], label="nightly import")
    vendor.use(theirs["key"])
    set_limit(vendor, place, 2, known=known)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert rotation.step == Step.GENERATE
    assert creates(vendor, place.vendor_api) == 0
    task = HumanTask.objects.get(rotation=rotation, closed_at=None)
    assert f"{theirs['id']} “nightly import” (made {timezone.now():%Y-%m-%d}" in task.text
    assert f"last used {timezone.now():%Y-%m-%d}" in task.text
    assert key.current.vendor_id not in task.text
    assert alive(vendor, place) == {theirs["id"], key.current.vendor_id}
    assert_all_is_well(vendor, place)
    vendor.delete_key(theirs["id"])
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_known_limit_is_found_before_the_vendor_is_asked_for_a_key(vendor, place, people, key):
    """B32: it stops before the create call, not by it."""
    vendor.create_key(place.vendor_api["id"], label="nightly import")
    set_limit(vendor, place, 2)
    drive(started(people.operator, key), lambda r: r.waiting_for == WaitingFor.PERSON)
    assert [
        e for e in vendor.ledger(account=place.vendor_api["id"]) if e["route"] == "create"
    ] == []


def test_every_unknown_key_is_named_though_there_are_many(vendor, place, people, key):
    """B32: the text holds them all, each with its id."""
    theirs = [vendor.create_key(place.vendor_api["id"], label=f"job {n}") for n in range(12)]
    set_limit(vendor, place, 13)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    text = HumanTask.objects.get(rotation=rotation, closed_at=None).text
    assert all(one["id"] in text for one in theirs)


def test_our_own_orphan_makes_room(vendor, place, people, key):
    """B32, active key and our own orphan: the stray of an earlier call goes, then the run does."""
    earlier = drive(started(people.operator, key))
    orphan = make_orphan(vendor, place, earlier)
    key.refresh_from_db()
    set_limit(vendor, place, 2)
    rotation = drive(started(people.operator, key))
    assert (rotation.step, rotation.last_error) == (Step.DONE, "")
    assert orphan["id"] not in alive(vendor, place)
    assert_all_is_well(vendor, place)


def test_a_call_that_is_still_open_is_no_orphan(vendor, place, people, key):
    """B32: another rotation is just making it; it is neither deleted nor called unknown."""
    other = make_key(vendor, place, people.owner)
    running = started(people.operator, other)
    made = make_orphan(vendor, place, running, state="open")
    set_limit(vendor, place, 3)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert made["id"] in alive(vendor, place)
    assert made["id"] not in HumanTask.objects.get(rotation=rotation, closed_at=None).text


def test_a_dead_key_of_ours_that_is_still_listed_makes_room(vendor, place, people, key):
    """B32: disabled by hand and seen refused, so it is over; one that works again is left alone."""
    ended = drive(started(people.operator, key)).old_version
    key.refresh_from_db()
    left = vendor.create_key(place.vendor_api["id"], label="made by hand")
    KeyVersion.objects.filter(pk=ended.pk).update(vendor_id=left["id"], link=Link.REFUSAL)
    set_limit(vendor, place, 2)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert left["id"] in HumanTask.objects.get(rotation=rotation, closed_at=None).text
    vendor.patch_key(left["id"], disabled=True)
    drive(rotation)
    assert rotation.step == Step.DONE
    assert vendor.lookup(left["key"])["state"] == "deleted"
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize("link", [Link.UNPROVEN, Link.REFUTED])
def test_a_dead_key_of_an_unproven_id_is_left_alone(vendor, place, people, key, link):
    """X1, B32: the secret that was refused is ours, the disabled key of the id may be somebody else's."""
    ended = drive(started(people.operator, key)).old_version
    left = vendor.create_key(place.vendor_api["id"], label="made by hand")
    KeyVersion.objects.filter(pk=ended.pk).update(vendor_id=left["id"], link=link)
    vendor.patch_key(left["id"], disabled=True)
    set_limit(vendor, place, 2)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert vendor.lookup(left["key"])["state"] != "deleted"
    assert left["id"] in HumanTask.objects.get(rotation=rotation, closed_at=None).text


def test_nothing_is_removed_while_deleting_is_frozen(vendor, place, people, key):
    earlier = drive(started(people.operator, key))
    orphan = make_orphan(vendor, place, earlier)
    key.refresh_from_db()
    set_limit(vendor, place, 2)
    rotation = started(people.operator, key)
    deletion_lock.lock_deletions("A test froze it.")
    drive(rotation, lambda r: r.waiting_for == WaitingFor.RECONCILE)
    assert orphan["id"] in alive(vendor, place)


def test_a_key_whose_end_is_under_way_is_waited_for(vendor, place, people, key):
    """B32, active key and one pending revocation: it goes by its own proof, then there is room."""
    other = make_key(vendor, place, people.owner)
    vendor.fault("delete", times=2, kind="status", status=500, body={"success": False})
    first = started(people.operator, other)
    drive(first, lambda r: r.step == Step.DELETE and r.attempt >= 1)
    set_limit(vendor, place, 3)
    second = started(people.operator, key)
    drive(second, lambda r: r.waiting_for == WaitingFor.TURN)
    assert f"rotation {first.pk}" in second.waiting_text
    drive(first)
    assert first.step == Step.DONE
    drive(second)
    assert second.step == Step.DONE
    assert creates(vendor, place.vendor_api) == 2
    assert_all_is_well(vendor, place)


def test_an_end_that_waits_for_a_person_is_told(vendor, place, people, key):
    """B32: waiting for what waits for a person would be waiting in silence."""
    other = make_key(vendor, place, people.owner)
    vendor.fault("delete", times=None, kind="status", status=403, body=REFUSED)
    first = started(people.operator, other)
    drive(first, lambda r: r.step == Step.DELETE and r.waiting_for == WaitingFor.PERSON)
    set_limit(vendor, place, 3)
    second = started(people.operator, key)
    drive(second, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert str(other) in HumanTask.objects.get(rotation=second, closed_at=None).text


def test_a_limit_of_one_says_that_nothing_can_overlap(vendor, place, people, key):
    """B32, full with a limit of 1: a person decides on the short outage; the key in use stays."""
    set_limit(vendor, place, 1)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    text = HumanTask.objects.get(rotation=rotation, closed_at=None).text
    assert "cannot overlap" in text
    assert "applications are refused" in text
    assert vendor.lookup(secret_of(key.current))["accepted_now"]
    vendor.delete_key(key.current.vendor_id)
    drive(rotation)
    assert rotation.step == Step.DONE


def test_a_list_that_fails_is_waited_for_and_decides_nothing(vendor, place, people, key):
    set_limit(vendor, place, 2)
    vendor.fault("list", times=2, kind="status", status=500, body={"success": False})
    rotation = started(people.operator, key)
    step(rotation)
    assert rotation.waiting_for == WaitingFor.VENDOR
    assert creates(vendor, place.vendor_api) == 0
    drive(rotation)
    assert rotation.step == Step.DONE


def test_a_key_of_a_standby_or_another_key_is_not_called_unknown(vendor, place, people, key):
    other = make_key(vendor, place, people.owner)
    set_limit(vendor, place, 2)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    text = HumanTask.objects.get(rotation=rotation, closed_at=None).text
    assert other.current.vendor_id not in text
