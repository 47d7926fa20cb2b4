"""The mark in both places: a restore of either freezes every deletion, and nothing else does."""

import uuid

import pytest

from keyvault.inventory import versions
from keyvault.models import KeyVersion, VersionState
from keyvault.vault import secret_store
from rotation.engine import cleanup
from rotation.models import HumanTask, RestoreMarker, Rotation, Step, WaitingFor
from rotation.recovery import deletion_lock
from tests.factories import make_key
from tests.keyvault.vault import acting_as
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started, step
from tests.rotation.test_crashes import run_code_until_death


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def older_database():
    """Bring back the mark that an older dump would hold."""
    before = RestoreMarker.objects.get()
    return lambda: RestoreMarker.objects.update(current=before.current, pending=before.pending)


def older_vault():
    """Bring back the mark that an older snapshot would hold."""
    before = secret_store.read_mark()[0]
    return lambda: secret_store.write_mark(before, secret_store.read_mark()[1])


def lost_vault():
    return lambda: secret_store.write_mark("", secret_store.read_mark()[1])


def emptied_database():
    return lambda: RestoreMarker.objects.all().delete()


RESTORES = (older_database, older_vault, lost_vault, emptied_database)


def restored(how):
    deletion_lock.roll_marker()
    bring_back = how()
    deletion_lock.roll_marker()
    bring_back()
    deletion_lock.forget()


def test_rolling_keeps_both_in_step_and_never_freezes():
    marks = set()
    for _ in range(5):
        deletion_lock.roll_marker()
        deletion_lock.forget()
        assert deletion_lock.lock_reason() == ""
        marks.add(secret_store.read_mark()[0])
    assert len(marks) == 5
    assert str(RestoreMarker.objects.get().current) in marks


@pytest.mark.parametrize("how", RESTORES)
def test_a_restore_of_either_freezes_before_anything_is_deleted(vendor, place, people, key, how):
    """F18: the deletion itself notices, without waiting for the next roll."""
    rotation = started(people.operator, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    restored(how)
    Rotation.objects.update(overlap_seconds=0)
    step(rotation)
    assert rotation.waiting_for == WaitingFor.RECONCILE
    assert "Nothing is deleted" in rotation.waiting_text
    old = KeyVersion.objects.get(pk=rotation.old_version_id)
    assert vendor.lookup(versions.read_secret(old).reveal())["accepted_now"]
    assert HumanTask.objects.filter(kind="finding", about="freeze", closed_at=None).count() == 1
    cleanup.sweep()
    assert deletion_lock.lock_reason()


def test_while_frozen_keys_are_made_published_and_given_but_none_is_ended(
    vendor, place, people, key
):
    restored(older_database)
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.RECONCILE)
    assert rotation.step == Step.DELETE
    key.refresh_from_db()
    assert key.current_id == rotation.new_version_id
    assert len([k for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]) == 2


def test_while_frozen_a_roll_back_gives_the_old_key_back_and_ends_nothing(
    vendor, place, people, key
):
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.good_answers == 1)
    restored(older_vault)
    made = KeyVersion.objects.get(pk=rotation.new_version_id)
    refusal = {"success": False, "error": "Invalid API key", "code": "INVALID_API_KEY"}
    refused = {"kind": "status", "status": 401, "body": refusal, "key_id": made.vendor_id}
    vendor.fault("usage", times=None, after=1, **refused)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.RECONCILE)
    assert rotation.step == Step.ROLL_BACK
    key.refresh_from_db()
    assert key.current_id == rotation.old_version_id
    made.refresh_from_db()
    assert made.state == VersionState.PREVIOUS


def test_while_frozen_nobody_is_asked_to_delete_a_key_by_hand(vendor, place, people):
    key = make_key(vendor, place, people.owner, manual=True)
    rotation = started(people.operator, key)
    drive(rotation)
    from rotation.engine import lifecycle, manual_keys

    made = vendor.create_key(place.vendor_manual["id"])
    manual_keys.paste_for(people.operator, rotation, made["key"])
    drive(rotation, lambda r: r.step == Step.VERIFY and r.verified_at is not None)
    lifecycle.waive(people.operator, rotation, "nothing uses it")
    restored(older_database)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.RECONCILE)
    assert not HumanTask.objects.filter(kind="delete").exists()


def test_while_frozen_no_secret_is_destroyed_and_no_stray_is_deleted(vendor, place, people, key):
    rotation = started(people.operator, key)
    vendor.fault("create", times=1, kind="execute_then_cut")
    step(rotation)
    restored(older_database)
    KeyVersion.objects.filter(pk=key.current_id).update(refused_at="2026-01-01T00:00:00Z")
    before = len(vendor.keys(place.vendor_api["id"]))
    drive(rotation, lambda r: r.waiting_for == WaitingFor.RECONCILE, seconds=10)
    cleanup.sweep()
    states = [k["state"] for k in vendor.keys(place.vendor_api["id"])]
    assert len(states) == before
    assert "deleted" not in states


RUN_ROLL = """
import django
django.setup()
from rotation.recovery import deletion_lock
deletion_lock.roll_marker()
"""


@pytest.mark.parametrize("point", ["epoch.pending", "epoch.written"])
def test_a_roll_that_dies_between_its_writes_is_no_restore(stack, point):
    deletion_lock.roll_marker()
    assert run_code_until_death(stack, RUN_ROLL, point) == -9
    deletion_lock.forget()
    assert deletion_lock.lock_reason() == ""
    RestoreMarker.objects.update(claimed_until=None)
    deletion_lock.roll_marker()
    deletion_lock.forget()
    assert deletion_lock.lock_reason() == ""
    epoch = RestoreMarker.objects.get()
    assert (str(epoch.current), epoch.pending) == (secret_store.read_mark()[0], None)


def test_a_roll_under_way_elsewhere_is_no_difference():
    """The two are read one after the other; a roll between the two looks must not freeze."""
    deletion_lock.roll_marker()
    late = RestoreMarker.objects.get()
    deletion_lock.roll_marker()
    assert deletion_lock._difference(late, secret_store.read_mark()[0])
    assert deletion_lock._settled_difference(late) == ""


def test_a_sleeping_roller_that_writes_late_is_no_restore():
    deletion_lock.roll_marker()
    mark, writes = secret_store.read_mark()
    pending = uuid.uuid4()
    RestoreMarker.objects.update(pending=pending, claimed_until=None)
    deletion_lock.roll_marker()  # another one finishes it with the sleeper's own mark
    with pytest.raises(secret_store.StoreConflict):
        secret_store.write_mark(str(pending), writes)
    deletion_lock.forget()
    assert deletion_lock.lock_reason() == ""
    assert secret_store.read_mark()[0] != mark


def test_without_vaults_word_nothing_is_deleted(stack, vendor, place, people, key):
    rotation = started(people.operator, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    Rotation.objects.update(overlap_seconds=0)
    deletion_lock.roll_marker()
    deletion_lock.forget()
    stack.openbao.stop()
    secret_store.forget_login()
    try:
        step(rotation)
        assert rotation.waiting_for == WaitingFor.VAULT
    finally:
        stack.openbao.start()
        secret_store.forget_login()
    assert drive(rotation).step == Step.DONE
    assert_all_is_well(vendor, place)


def test_the_worker_may_move_the_mark_and_web_may_not_read_it(stack, monkeypatch):
    with acting_as(stack.openbao, "worker", monkeypatch):
        deletion_lock.roll_marker()
        deletion_lock.roll_marker()
        deletion_lock.forget()
        assert deletion_lock.lock_reason() == ""
    with (
        acting_as(stack.openbao, "web", monkeypatch),
        pytest.raises(secret_store.StoreDenied),
    ):
        secret_store.read_mark()


def test_a_real_worker_sees_it_too(stack, vendor, place, people, key, worker):
    from tests.waiting import until

    deletion_lock.roll_marker()
    rotation = started(people.operator, key)
    until(
        lambda: Rotation.objects.filter(pk=rotation.pk, step=Step.DONE).exists(), 40, "the rotation"
    )
    assert deletion_lock.noticed_reason() == ""
