"""A vendor with a key API: the whole rotation without a person, and everything that can go wrong."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from keyvault.models import KeyVersion
from rotation.engine import lifecycle
from rotation.models import HumanTask, Reason, Rotation, Step, WaitingFor
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, started, step


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def test_it_replaces_the_key_and_proves_it(vendor, place, people, key):
    old = key.current
    old_secret = secret_of(old)
    rotation = drive(started(people.operator, key))
    assert (rotation.step, rotation.last_error) == (Step.DONE, "")
    key.refresh_from_db()
    assert key.current.number == 2
    old.refresh_from_db()
    assert old.state == "deleted"
    assert old.destroyed_at is not None
    assert vendor.lookup(old_secret)["accepted_now"] is False
    assert creates(vendor, place.vendor_api) == 1
    assert_all_is_well(vendor, place)


def test_the_new_key_carries_a_label_that_names_the_rotation(vendor, place, people, key):
    rotation = drive(started(people.operator, key))
    labels = [k["label"] for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]
    assert len(labels) == 1
    assert re.fullmatch(rf"kv-{rotation.pk}-1-[0-9a-f]{{16}}", labels[0])


def test_a_like_numbered_rotation_of_another_installation_loses_no_key(vendor, place, people, key):
    """I3: strays are deleted by label, so a label must never name a key that others made.

    Two installations may share a vendor account, and a restored database counts from an old number.
    """
    rotation = started(people.operator, key)
    theirs = [
        vendor.create_key(place.vendor_api["id"], label=f"kv-{rotation.pk}-{number}{more}")
        for number in (1, 2)
        for more in ("", "-0123456789abcdef")
    ]
    vendor.fault("create", times=1, kind="execute_then_cut")
    drive(rotation)
    assert rotation.step == Step.DONE
    assert rotation.intents.filter(kind="create", state="abandoned").count() == 1
    for made in theirs:
        assert vendor.lookup(made["key"])["accepted_now"]


def test_a_second_start_joins_the_open_run(vendor, place, people, key):
    """B39: double clicks and parallel calls make one rotation and one key."""
    first = started(people.operator, key)
    second, new = lifecycle.start(people.owner, key)
    assert (second.pk, new) == (first.pk, False)
    drive(first)
    assert creates(vendor, place.vendor_api) == 1


def test_a_key_that_starts_late_is_waited_for(vendor, place, people, key):
    """B33: a fresh key is refused for a while; that is no reason to roll back."""
    vendor.patch_account(place.vendor_api["id"], start_delay=1.0)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.DONE
    assert creates(vendor, place.vendor_api) == 1
    assert_all_is_well(vendor, place)


def test_a_key_that_never_works_is_rolled_back_and_deleted(vendor, place, people, key):
    """B33, second case: the vendor's window passes, apps were never switched, no key is left over."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.new_version_id is not None)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    vendor.fault(
        "usage",
        kind="status",
        status=401,
        times=None,
        key_id=made.vendor_id,
        body={"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"},
    )
    for _ in range(3):
        step(rotation)
    assert rotation.step == Step.GENERATE
    Rotation.objects.update(proving_since=timezone.now() - timedelta(minutes=2))
    drive(rotation)
    assert rotation.step == Step.FAILED
    key.refresh_from_db()
    assert key.current.number == 1
    assert HumanTask.objects.filter(rotation=rotation, kind="look", closed_at=None).exists()
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize("answers", ["429", "500", "html", "empty", "success_false", "redirect"])
def test_cannot_tell_neither_rolls_back_nor_deletes(vendor, place, people, key, answers):
    """B64, B08: an unclear answer about the new key only waits."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.new_version_id is not None)
    faults = {
        "429": {
            "kind": "status",
            "status": 429,
            "body": {
                "success": False,
                "error": {"code": "RATE_LIMITED", "message": "slow down", "retry_after": 3},
            },
        },
        "500": {"kind": "status", "status": 500, "body": {"success": False}},
        "html": {"kind": "html"},
        "empty": {"kind": "empty"},
        "success_false": {"kind": "success_false"},
        "redirect": {"kind": "redirect", "location": "http://127.0.0.1:1/elsewhere"},
    }
    vendor.fault("usage", times=None, **faults[answers])
    for _ in range(4):
        step(rotation)
    assert rotation.step == Step.GENERATE
    assert rotation.waiting_for == WaitingFor.VENDOR
    vendor.clear_faults()
    drive(rotation)
    assert rotation.step == Step.DONE
    assert creates(vendor, place.vendor_api) == 1
    assert_all_is_well(vendor, place)


def test_cannot_tell_after_the_switch_takes_nothing_back(vendor, place, people, key):
    """B64: consumers keep the new key while the vendor has trouble; it is no refusal."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.good_answers == 1)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    trouble = {"kind": "status", "status": 503, "body": "busy", "key_id": made.vendor_id}
    vendor.fault("usage", times=5, after=1, **trouble)
    drive(rotation, lambda r: r.step == Step.VERIFY and r.attempt >= 4)
    key.refresh_from_db()
    assert key.current_id == made.pk
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize("kind", ["execute_then_cut", "execute_then_status"])
def test_a_create_without_an_answer_leaves_no_unknown_key(vendor, place, people, key, kind):
    """B01: the vendor made the key and the answer was lost: the stray goes, then one more is made."""
    vendor.fault("create", times=1, kind=kind, status=502)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.DONE
    assert creates(vendor, place.vendor_api) >= 1
    alive = [k for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]
    assert len(alive) == 1
    assert_all_is_well(vendor, place)


def test_a_list_without_labels_says_nothing_about_a_lost_answer(vendor, place, people, key):
    """Searching by a label that lists leave out finds nothing: one more key may live there unknown."""
    account = place.vendor_api["id"]
    vendor.patch_account(account, hides_labels=True)
    vendor.fault("create", times=1, kind="execute_then_cut")
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    stray = next(k for k in vendor.keys(account) if k["label"].startswith("kv-"))
    assert stray["id"] in rotation.waiting_text
    assert creates(vendor, place.vendor_api) == 1
    vendor.delete_key(stray["id"])
    lifecycle.retry(people.operator, rotation)
    assert drive(rotation).step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_stray_that_the_list_shows_late_is_still_found(vendor, place, people, key):
    """F20: the list lags behind the create; the look-up waits for it before it believes none."""
    vendor.patch_account(place.vendor_api["id"], list_lag=1.5)
    vendor.fault("create", times=1, kind="execute_then_cut")
    rotation = drive(started(people.operator, key), seconds=30)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_full_account_waits_for_a_free_slot_and_deletes_nothing(vendor, place, people, key):
    """B32: the product never makes room by deleting a key that it does not know."""
    vendor.create_key(place.vendor_api["id"], label="somebody else's")
    vendor.patch_account(place.vendor_api["id"], key_limit=2)
    rotation = started(people.operator, key)
    for _ in range(3):
        step(rotation)
    assert rotation.waiting_for == WaitingFor.PERSON
    assert "no further key" in rotation.waiting_text
    assert HumanTask.objects.filter(rotation=rotation, closed_at=None).exists()
    assert len([k for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]) == 2
    vendor.patch_account(place.vendor_api["id"], key_limit=3)
    drive(rotation)
    assert rotation.step == Step.DONE


def test_an_old_key_that_stops_late_is_not_called_deleted(vendor, place, people, key):
    """B34: the vendor says deleted and accepts it on; done comes only with the refusal."""
    vendor.patch_account(place.vendor_api["id"], stop_delay=1.5)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.step == Step.DELETE and "still accepts" in r.waiting_text)
    key.refresh_from_db()
    assert rotation.old_version.state == "previous"
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_an_old_key_that_never_stops_ends_as_an_alert(vendor, place, people, key):
    """B34, second case: never success. (Where its id is not proven, it is enabled again: X1.)"""
    KeyVersion.objects.update(link="answer")
    vendor.patch_account(place.vendor_api["id"], stop_delay=3600)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.step == Step.DELETE and "still accepts" in r.waiting_text)
    rotation.intents.filter(kind="delete").update(settled_at=timezone.now() - timedelta(minutes=2))
    step(rotation)
    assert rotation.step == Step.DELETE
    assert rotation.waiting_for == WaitingFor.PERSON
    assert HumanTask.objects.filter(rotation=rotation, kind="look", closed_at=None).exists()


@pytest.mark.parametrize("status", [404, 410])
def test_a_key_that_is_gone_already_counts_as_deleted(vendor, place, people, key, status):
    """B94: someone deleted the old key by hand."""
    rotation = started(people.operator, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    vendor.delete_key(key.current.vendor_id)
    vendor.fault(
        "delete",
        times=None,
        kind="status",
        status=status,
        body={"success": False, "error": "gone", "code": "KEY_NOT_FOUND"},
    )
    Rotation.objects.filter(pk=rotation.pk).update(overlap_seconds=0)
    drive(rotation)
    assert rotation.step == Step.DONE


def test_a_failing_delete_is_kept_and_tried_again(vendor, place, people, key):
    """B31: the old key is not forgotten when its delete fails."""
    vendor.fault("delete", times=3, kind="status", status=500, body={"success": False})
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.step == Step.DELETE and r.attempt >= 2)
    assert rotation.is_open
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize(("good", "where"), [(1, Step.VERIFY), (2, Step.DELETE)])
def test_a_refusal_after_the_switch_rolls_back_to_the_old_secret(
    vendor, place, people, key, good, where
):
    """B18: consumers get byte for byte what they had; the new key is deleted at the vendor."""
    before = secret_of(key.current)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.good_answers == 1)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    vendor.fault(
        "usage",
        kind="status",
        status=401,
        times=None,
        key_id=made.vendor_id,
        after=good,
        body={"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"},
    )
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert rotation.attempts.filter(step=where, outcome="move").exists()
    key.refresh_from_db()
    assert secret_of(key.current) == before
    assert_all_is_well(vendor, place)


def test_a_key_of_another_account_never_reaches_consumers(vendor, place, people, key):
    """B27: the vendor made the key elsewhere; it is deleted again before anyone gets it."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.new_version_id is not None)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    vendor.fault(
        "usage",
        kind="status",
        status=200,
        times=None,
        key_id=made.vendor_id,
        body={
            "success": True,
            "data": {
                "usage_history": [],
                "summary": {
                    "plan": "business",
                    "is_unlimited": False,
                    "videos": {"limit": 5, "used": 0},
                    "credits": {"total": 7, "used": 0},
                },
            },
        },
    )
    drive(rotation, lambda r: r.step == Step.ROLL_BACK)
    vendor.clear_faults()
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert "another account" in rotation.outcome
    key.refresh_from_db()
    assert key.current.number == 1
    assert_all_is_well(vendor, place)


def test_a_cancelled_rotation_leaves_no_key_behind(vendor, place, people, key):
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.new_version_id is not None)
    lifecycle.cancel(people.operator, rotation)
    drive(rotation)
    assert rotation.step == Step.CANCELLED
    key.refresh_from_db()
    assert key.current.number == 1
    assert_all_is_well(vendor, place)


def test_a_requester_who_lost_the_right_starts_nothing(vendor, place, people, key):
    """AC-6: the right is asked again when the work begins; the vendor hears nothing."""
    rotation = started(people.operator, key)
    people.operator.grants.all().delete()
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert "may no longer" in rotation.outcome
    assert creates(vendor, place.vendor_api) == 0


def test_a_leak_waits_for_nobody(vendor, place, people, key):
    """B44: marking the key as leaked ends overlap and quiet period of the open run."""
    rotation, _ = lifecycle.start(people.operator, key, overlap_seconds=3600)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=3600)
    drive(rotation, lambda r: r.step == Step.VERIFY and r.waiting_for != WaitingFor.VENDOR)
    joined, new = lifecycle.start(people.operator, key, Reason.LEAK)
    assert (joined.pk, new) == (rotation.pk, False)
    drive(rotation)
    assert rotation.step == Step.DONE


def test_an_old_key_still_in_use_is_not_deleted(vendor, place, people, key):
    """B09: the vendor sees the old key used after the switch: the delete is held, with the reason."""
    old_secret = secret_of(key.current)
    rotation = started(people.operator, key)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=2)
    drive(rotation, lambda r: r.step == Step.VERIFY and r.published_at is not None)
    for _ in range(3):
        vendor.use(old_secret)
        step(rotation)
        assert (rotation.step, rotation.waiting_for) == (Step.VERIFY, WaitingFor.QUIET)
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_every_obstacle_is_named_at_once(vendor, place, people, key):
    """B16: the message lists all problems, not only the first, and the vendor hears of none."""
    from keyvault.models import VendorAccount
    from rotation.consumers import registry
    from rotation.models import Consumer

    registry.add_consumer(
        people.owner, "web-1", place.application, place.environment, webhook_url=vendor.url
    )
    Consumer.objects.update(webhook_path=None)
    VendorAccount.objects.filter(pk=place.api_account.pk).update(management_path=None)
    rotation = started(people.operator, key)
    people.operator.grants.all().delete()
    drive(rotation)
    assert rotation.step == Step.FAILED
    for problem in ("may no longer", "no management credential", "without a signing secret"):
        assert problem in rotation.outcome
    assert creates(vendor, place.vendor_api) == 0
