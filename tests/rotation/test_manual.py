"""Influtics has no key API: people make and delete the keys, and the product proves both."""

import pytest

from keyvault.core.errors import BadInput, Conflict, Denied, Unavailable
from keyvault.models import KeyVersion
from rotation.engine import lifecycle, manual_keys
from rotation.models import HumanTask, Step, WaitingFor
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started, step


@pytest.fixture
def key(vendor, place, people):
    account = place.manual_account
    account.settings = {"steady_spacing_seconds": 0.05}
    account.save()
    return make_key(vendor, place, people.owner, manual=True)


@pytest.fixture
def rotation(people, key):
    """Return a rotation that waits for a person to paste a key."""
    rotation = drive(started(people.operator, key))
    assert rotation.waiting_for == WaitingFor.KEY
    return rotation


def make(vendor, place):
    return vendor.create_key(place.vendor_manual["id"], label="made by hand")


def open_task(rotation, kind):
    return HumanTask.objects.filter(rotation=rotation, kind=kind, closed_at=None).first()


def adopt(people, rotation):
    """Say that nothing uses the old key: there is no consumer on record."""
    drive(rotation, lambda r: r.step == Step.VERIFY and r.waiting_for == WaitingFor.ADOPTION)
    lifecycle.waive(people.operator, rotation, "the batch job was redeployed")


def test_it_goes_from_paste_to_proof(vendor, place, people, key, rotation):
    old = key.current
    assert open_task(rotation, "paste")
    manual_keys.paste_for(people.operator, rotation, "  " + make(vendor, place)["key"] + "\n")
    adopt(people, rotation)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    assert open_task(rotation, "paste") is None
    assert old.tail in open_task(rotation, "delete").text
    for _ in range(3):
        step(rotation)
        assert rotation.step == Step.DELETE
    vendor.delete_key_by_secret(secret_of(old))
    drive(rotation)
    assert rotation.step == Step.DONE
    assert open_task(rotation, "delete") is None
    old.refresh_from_db()
    assert (old.state, bool(old.destroyed_at)) == ("deleted", True)
    assert_all_is_well(vendor, place)


def test_it_says_what_it_took_off_the_paste(vendor, place, people, rotation):
    """B37, B96: white space and the word Bearer go, and the person is told."""
    added = manual_keys.paste_for(
        people.operator, rotation, f" Bearer {make(vendor, place)['key']}\r\n"
    )
    assert len(added.notes) == 2


def test_it_refuses_a_key_that_the_vendor_refuses(vendor, place, people, rotation):
    """B80: the right shape is not enough."""
    with pytest.raises(BadInput, match="vendor refuses"):
        manual_keys.paste_for(people.operator, rotation, "inf_" + "x1y2z3w4" * 5)
    assert rotation.key.versions.count() == 1
    step(rotation)
    assert rotation.waiting_for == WaitingFor.KEY


def test_it_refuses_the_key_that_is_current(vendor, place, people, key, rotation):
    with pytest.raises(Conflict, match="recorded already") as caught:
        manual_keys.paste_for(people.operator, rotation, secret_of(key.current))
    assert secret_of(key.current) not in caught.value.message


def test_it_refuses_a_key_of_another_account(vendor, place, people, rotation):
    """B27: the person was signed in to another account at the vendor."""
    other = vendor.create_account("other", plan="business", credits=777)
    made = vendor.create_key(other["id"])
    with pytest.raises(BadInput, match="another account"):
        manual_keys.paste_for(people.operator, rotation, made["key"])
    assert rotation.key.versions.count() == 1


def test_it_stores_nothing_while_the_vendor_cannot_tell(vendor, place, people, rotation):
    made = make(vendor, place)
    vendor.fault("usage", times=None, kind="status", status=503, body="busy")
    with pytest.raises(Unavailable, match="could not be asked"):
        manual_keys.paste_for(people.operator, rotation, made["key"])
    vendor.clear_faults()
    manual_keys.paste_for(people.operator, rotation, made["key"])
    assert KeyVersion.objects.filter(key=rotation.key).count() == 2


def test_a_viewer_cannot_paste(vendor, place, people, rotation):
    with pytest.raises(Denied):
        manual_keys.paste_for(people.viewer, rotation, make(vendor, place)["key"])


def test_a_second_paste_is_refused(vendor, place, people, rotation):
    manual_keys.paste_for(people.operator, rotation, make(vendor, place)["key"])
    with pytest.raises(Conflict, match="does not wait"):
        manual_keys.paste_for(people.owner, rotation, make(vendor, place)["key"])


def test_it_needs_a_person_when_no_consumer_is_known(vendor, place, people, rotation):
    """B09: without last-used data and without consumers a person confirms; time alone is no proof."""
    manual_keys.paste_for(people.operator, rotation, make(vendor, place)["key"])
    drive(rotation, lambda r: r.waiting_for == WaitingFor.ADOPTION)
    for _ in range(3):
        step(rotation)
        assert rotation.step == Step.VERIFY
    assert open_task(rotation, "confirm")


def test_a_waiver_before_the_new_key_is_out_is_refused(people, rotation):
    """B45: nobody can confirm a switch that has not happened."""
    with pytest.raises(Conflict, match="nothing to confirm"):
        lifecycle.waive(people.operator, rotation, "I am sure about this")
    with pytest.raises(BadInput, match="how you know"):
        lifecycle.waive(people.operator, rotation, " ")


def test_cancelling_after_the_paste_keeps_the_key_as_a_standby(vendor, place, people, rotation):
    manual_keys.paste_for(people.operator, rotation, make(vendor, place)["key"])
    lifecycle.cancel(people.operator, rotation)
    drive(rotation)
    assert rotation.step == Step.CANCELLED
    assert rotation.key.versions.get(state="standby")
    assert HumanTask.objects.filter(rotation=rotation, closed_at=None).count() == 0
    assert_all_is_well(vendor, place)


def test_a_standby_needs_no_person_until_the_deletion(vendor, place, people, key):
    made = make(vendor, place)
    manual_keys.add_standby(people.operator, key, made["key"])
    rotation = drive(started(people.operator, key), lambda r: r.step == Step.VERIFY)
    assert not HumanTask.objects.filter(kind="paste").exists()
    key.refresh_from_db()
    assert secret_of(key.current) == made["key"]
    old = rotation.old_version
    adopt(people, rotation)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    vendor.delete_key_by_secret(secret_of(old))
    drive(rotation)
    assert rotation.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_dead_standby_is_passed_over(vendor, place, people, key):
    made = make(vendor, place)
    added = manual_keys.add_standby(people.operator, key, made["key"])
    vendor.delete_key(made["id"])
    rotation = drive(started(people.operator, key))
    assert rotation.waiting_for == WaitingFor.KEY
    added.version.refresh_from_db()
    assert added.version.state == "discarded"


def test_a_standby_that_one_node_refuses_is_not_thrown_away(vendor, place, people, key):
    """B33: one refusal among good answers is no verdict; the key is used."""
    made = make(vendor, place)
    added = manual_keys.add_standby(people.operator, key, made["key"])
    body = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}
    vendor.fault("usage", times=1, kind="status", status=401, key_id=made["id"], body=body)
    drive(started(people.operator, key), lambda r: r.step == Step.VERIFY)
    added.version.refresh_from_db()
    assert added.version.state == "current"
    assert not HumanTask.objects.filter(kind="paste").exists()


def test_a_standby_is_given_to_nobody(vendor, place, people, key):
    made = make(vendor, place)
    manual_keys.add_standby(people.operator, key, made["key"])
    key.refresh_from_db()
    assert key.current.number == 1


def test_a_refused_paste_after_the_switch_goes_back_to_the_old_key(
    vendor, place, people, key, rotation
):
    """B18: someone deleted the wrong key, the new one; consumers get the old one again."""
    made = make(vendor, place)
    manual_keys.paste_for(people.operator, rotation, made["key"])
    drive(rotation, lambda r: r.step == Step.VERIFY and r.verified_at is not None)
    vendor.delete_key(made["id"])
    lifecycle.waive(people.operator, rotation, "all moved, I looked")
    drive(rotation)
    assert rotation.step == Step.FAILED
    key.refresh_from_db()
    assert key.current.number == 1
    assert "refuses the new key" in rotation.outcome
    assert_all_is_well(vendor, place)


def test_deleting_the_wrong_key_by_hand_gives_consumers_the_old_one_again(
    vendor, place, people, key, rotation
):
    """B45: the likeliest slip of a tired person: the new key is deleted where the old one was meant."""
    old_secret = secret_of(key.current)
    made = make(vendor, place)
    manual_keys.paste_for(people.operator, rotation, made["key"])
    adopt(people, rotation)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    assert open_task(rotation, "delete")
    vendor.delete_key(made["id"])
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert "the wrong one was deleted" in rotation.outcome
    key.refresh_from_db()
    assert secret_of(key.current) == old_secret
    assert open_task(rotation, "delete") is None
    assert open_task(rotation, "look")
    assert_all_is_well(vendor, place)


def test_nobody_is_asked_to_delete_a_key_that_is_needed_again(vendor, place, people, key, rotation):
    """While the way back is still under way, the open task is about the new key, not the old one."""
    made = make(vendor, place)
    manual_keys.paste_for(people.operator, rotation, made["key"])
    adopt(people, rotation)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    assert open_task(rotation, "delete").version_id == rotation.old_version_id
    vendor.delete_key(made["id"])
    busy = {"kind": "status", "status": 500, "body": "busy", "key_id": made["id"]}
    vendor.fault("usage", times=None, after=2, **busy)
    drive(rotation, lambda r: r.step == Step.ROLL_BACK)
    assert open_task(rotation, "delete").version_id == rotation.new_version_id
    vendor.clear_faults()
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert_all_is_well(vendor, place)
