"""The new key may do what the old one may, lives as long, and is replaced before it ends."""

from datetime import UTC, datetime, time, timedelta

import pytest
from django.utils import timezone

from keyvault.inventory.keys import NewKey, register_key
from keyvault.models import KeyVersion
from rotation.models import HumanTask, RotationPolicy, Step
from rotation.scheduling import planner
from rotation.scheduling.next_run import before_expiry, lead_of
from rotation.scheduling.policies import Wish, set_policy
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, started, step
from tests.rotation.test_lost import lose

pure = pytest.mark.pure
DAY = timedelta(days=1)
SCOPES = ["limit 50 USD", "read", "write"]


@pytest.fixture
def key(vendor, place, people):
    """Return a key with three rights and a life of 90 days, made 30 days ago."""
    key = make_key(vendor, place, people.owner)
    now = timezone.now()
    ends = (now + 60 * DAY).isoformat()
    made = (now - 30 * DAY).isoformat()
    vendor.patch_key(key.current.vendor_id, scopes=SCOPES, expires_at=ends, created_at=made)
    return key


def policy(people, key, days=30):
    wish = Wish(days, time(3), "UTC", overlap_seconds=0, quiet_seconds=1)
    return set_policy(people.operator, key, wish)


def at_vendor(vendor, version):
    return vendor.lookup(secret_of(version))


def test_the_new_key_is_asked_for_like_the_old_one(vendor, place, people, key):
    """B40: rights and length of life are those of the old key, and its real end is stored."""
    rotation = drive(started(people.operator, key))
    assert (rotation.step, rotation.last_error) == (Step.DONE, "")
    new = at_vendor(vendor, rotation.new_version)
    assert new["scopes"] == SCOPES
    ends = datetime.fromisoformat(new["expires_at"])
    assert abs(ends - timezone.now() - 90 * DAY) < timedelta(minutes=1)
    rotation.new_version.refresh_from_db()
    assert rotation.new_version.expires_at == ends
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"dropped_scopes": ["write", "limit 50 USD"]},
            ["it may not: limit 50 USD, write", "Old: limit 50 USD, read, write", "New: read."],
        ),
        (
            {"added_scopes": ["admin"]},
            ["the old one may not: admin", "New: admin, limit 50 USD, read, write."],
        ),
        ({"dropped_scopes": SCOPES}, ["New: none."]),
    ],
    ids=["fewer", "more", "none"],
)
def test_other_rights_stop_it_before_the_switch(vendor, place, people, key, settings, words):
    """B40: more is as bad as fewer; both lists stand in words, and the new key is taken back."""
    vendor.patch_account(place.vendor_api["id"], **settings)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.FAILED
    assert rotation.published_at is None
    assert creates(vendor, place.vendor_api) == 1
    for word in words:
        assert word in rotation.outcome
    task = HumanTask.objects.get(rotation=rotation, kind="look", closed_at=None)
    assert words[0] in task.text
    key.refresh_from_db()
    assert key.current.number == 1
    alive = [one for one in vendor.keys(place.vendor_api["id"]) if one["accepted_now"]]
    assert [one["id"] for one in alive] == [key.current.vendor_id]
    assert_all_is_well(vendor, place)


def test_a_life_that_ends_before_the_next_run_stops_it(vendor, place, people, key):
    """B40: the vendor grants a week where the old key had 90 days, and the next run is in 30."""
    policy(people, key)
    vendor.patch_account(place.vendor_api["id"], granted_expiry_days=7)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.FAILED
    assert "before the next planned rotation" in rotation.outcome
    assert "7 days, the old one 90 days" in rotation.outcome
    key.refresh_from_db()
    assert key.current.number == 1
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize("says_never", [True, False])
def test_only_the_vendors_word_makes_an_end_never(vendor, place, people, says_never):
    """B41: null is not known, and nothing is concluded from it; "never" against a week is."""
    vendor.patch_account(place.vendor_api["id"], granted_expiry_days=7, says_never=says_never)
    made = vendor.create_key(place.vendor_api["id"])
    vendor.patch_key(made["id"], expires_at=None)
    new = NewKey(place.api_account, place.environment, "forever", place.application)
    new.vendor_id = made["id"]
    key = register_key(people.owner, new, made["key"]).version.key
    rotation = drive(started(people.operator, key))
    assert rotation.step == (Step.FAILED if says_never else Step.DONE)
    if says_never:
        assert "none is planned" in rotation.outcome
        assert "the old one no end" in rotation.outcome


def test_a_short_life_that_the_old_key_had_too_is_planned_before(vendor, place, people, key):
    """B40: the vendor gives a week always; the next run comes before that, not after 30 days."""
    policy(people, key)
    now = timezone.now()
    made, ends = (now - 5 * DAY).isoformat(), (now + 2 * DAY).isoformat()
    vendor.patch_key(key.current.vendor_id, created_at=made, expires_at=ends)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.DONE
    expires_at = KeyVersion.objects.get(pk=rotation.new_version_id).expires_at
    assert abs(expires_at - now - 7 * DAY) < timedelta(minutes=2)
    next_run_at = RotationPolicy.objects.get(key=key).next_run_at
    assert next_run_at == expires_at - lead_of(7 * DAY, 0, 1)
    assert_all_is_well(vendor, place)


def test_a_key_that_has_ended_already_replaces_none(vendor, place, people, key):
    """B40: an end in the past, whatever the check said a moment before."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.good_answers == 1)
    past = timezone.now() - DAY
    KeyVersion.objects.filter(pk=rotation.new_version_id).update(expires_at=past)
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert "ended already" in rotation.outcome
    assert_all_is_well(vendor, place)


def test_an_old_key_that_is_gone_gives_nothing_to_compare(vendor, place, people, key):
    vendor.delete_key(key.current.vendor_id)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.DONE


def test_a_new_key_that_is_not_described_yet_is_waited_for(vendor, place, people, key):
    """B40: its rights are compared, or it does not go out."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.good_answers == 1)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    gone = {"success": False, "error": "unknown", "code": "KEY_NOT_FOUND"}
    vendor.fault("get", kind="status", status=404, body=gone, times=2, key_id=made.vendor_id)
    drive(rotation, lambda r: "does not describe" in r.waiting_text)
    assert rotation.published_at is None
    drive(rotation)
    assert rotation.step == Step.DONE


def test_the_end_on_record_plans_the_run_before_it(people, key):
    """B41: the end of a registered key counts as soon as there is a policy."""
    ends = timezone.now() + 10 * DAY
    KeyVersion.objects.filter(pk=key.current_id).update(expires_at=ends)
    assert policy(people, key).next_run_at == ends - lead_of(10 * DAY, 0, 1)
    KeyVersion.objects.filter(pk=key.current_id).update(expires_at=None)
    planner.plan_next(key.pk)
    assert RotationPolicy.objects.get(key=key).next_run_at > ends


@pure
def test_a_run_is_planned_before_the_end_and_an_unknown_end_moves_nothing():
    """B41: twelve hours of lead before a date that ends at its start in UTC."""
    ends = datetime(2027, 3, 10, tzinfo=UTC)
    lead = timedelta(hours=12)
    early, late = datetime(2027, 2, 1, tzinfo=UTC), datetime(2027, 4, 1, tzinfo=UTC)
    assert before_expiry(late, ends, lead) == datetime(2027, 3, 9, 12, tzinfo=UTC)
    assert before_expiry(early, ends, lead) == early
    assert before_expiry(late, None, lead) == late


@pure
def test_a_short_life_leaves_half_of_it():
    """A key that lives for hours must not be due as soon as it is made, again and again."""
    assert lead_of(90 * DAY, 3600, 3600) == DAY + timedelta(hours=2)
    assert lead_of(timedelta(hours=6), 3600, 3600) == timedelta(hours=3)
    assert lead_of(-DAY, 0, 0) == timedelta(0)


@pytest.mark.parametrize("status", [404, 410])
def test_a_gateways_404_leaves_no_right_uncompared(vendor, place, people, key, status):
    """F1: what is no word of the vendor's was taken for "no such key", and rights went unseen."""
    vendor.patch_account(place.vendor_api["id"], added_scopes=["admin"])
    page = {"body": "<h1>Not Found</h1>", "content_type": "text/html"}
    vendor.fault("get", kind="status", times=None, status=status, **page)
    rotation = started(people.operator, key)
    for _ in range(3):
        step(rotation)
        assert (rotation.step, rotation.waiting_for) == (Step.GENERATE, "vendor")
    vendor.clear_faults()
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert "admin" in rotation.outcome


def test_an_id_that_the_vendor_does_not_know_stops_a_key_that_works(vendor, place, people, key):
    """F1, F5: the credential of another account is told "no such key" too: nothing is compared."""
    body = {"success": False, "error": {"code": "KEY_NOT_FOUND"}}
    found = key.current.vendor_id
    vendor.fault("get", kind="status", times=None, status=404, body=body, key_id=found)
    rotation = started(people.operator, key)
    drive(rotation, lambda one: one.waiting_for == "person")
    assert rotation.step == Step.GENERATE
    assert "of another account" in rotation.waiting_text
    key.refresh_from_db()
    assert key.current.vendor_id == found


def test_a_lost_old_key_is_replaced_whatever_stood_on_record(vendor, place, people, key):
    """F1, F4: a restore lost the secret, and the vendor the key; "accepted" is a word of before."""
    make_key(vendor, place, people.owner)
    assert key.current.check_answer == "valid"
    vendor.delete_key(key.current.vendor_id)
    lose(key.current)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: bool(r.published_at))
    assert rotation.published_at, rotation.waiting_text
    key.refresh_from_db()
    assert key.current == rotation.new_version
