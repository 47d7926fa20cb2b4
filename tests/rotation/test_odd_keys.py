"""F19: a key that no request can carry is refused where it is made, and cleared away at the vendor."""

import pytest
from django.utils import timezone

from keyvault.core.secret import Secret
from keyvault.inventory import versions
from keyvault.models import KeyVersion, Link
from keyvault.vault import secret_store
from rotation.models import HumanTask, Outage, Rotation, Step, WaitingFor
from tests.factories import lone_key, make_key, secret_of
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, started, step

ODD = [" zzzz\n", "\n", "\t", "\x00", "é", "\u200b", "\x7f"]


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def alive(vendor, place):
    return [one for one in vendor.keys(place.vendor_api["id"]) if one["accepted_now"]]


@pytest.mark.parametrize("odd", ODD)
def test_it_is_stored_nowhere_and_deleted_at_the_vendor(vendor, place, people, key, odd):
    before = secret_store.list_paths("keys")
    vendor.fault("create", kind="odd_key", body=odd)
    rotation = drive(started(people.operator, key))
    assert rotation.step == Step.FAILED
    assert f"U+{ord(odd[0]):04X}" in rotation.outcome
    assert "applications keep their key" in rotation.outcome
    assert secret_store.list_paths("keys") == before
    assert len(alive(vendor, place)) == 1
    assert not Outage.objects.exists(), "the account is well; this one key is not"
    assert drive(started(people.owner, lone_key(vendor, place, people.owner))).step == Step.DONE
    assert_all_is_well(vendor, place)


def test_one_that_cannot_be_deleted_at_once_is_found_by_its_label(vendor, place, people, key):
    vendor.fault("create", kind="odd_key")
    vendor.fault("delete", kind="status", status=503)
    rotation = started(people.operator, key)
    step(rotation)
    assert rotation.waiting_for == WaitingFor.VENDOR
    assert len(alive(vendor, place)) == 2
    drive(rotation)
    assert rotation.step == Step.DONE, "the next one is as it should be"
    assert len(alive(vendor, place)) == 1
    assert_all_is_well(vendor, place)


def test_one_that_an_older_release_stored_ends_the_rotation(vendor, place, people, key):
    """Older data: it was asked about for ever, as an outage of the whole account."""
    rotation = started(people.operator, key)
    made = vendor.create_key(place.vendor_api["id"], label="kv-1-1-older")
    version = versions.draft_version(
        key, Secret(made["key"] + "\nx"), source="created", added_by=None
    )
    version.vendor_id, version.label = made["id"], "kv-1-1-older"
    version.link, version.linked_at = Link.ANSWER, timezone.now()
    secret_store.write_once("keys", version.path, {"secret": made["key"] + "\nx"})
    versions.save_next(version)
    Rotation.objects.filter(pk=rotation.pk).update(new_version=version)
    drive(rotation)
    assert rotation.step == Step.FAILED
    assert not Outage.objects.exists()
    assert not vendor.lookup(made["key"])["accepted_now"]
    assert KeyVersion.objects.get(pk=version.pk).state == "discarded"
    assert_all_is_well(vendor, place)


def test_where_the_old_key_is_dead_a_person_is_asked_for_one(vendor, place, people):
    """At a vendor that replaces in place there is no way back: what is lost is said."""
    place.api_account.provider = "sandbox_inplace"
    place.api_account.save()
    key = make_key(vendor, place, people.owner)
    old = secret_of(key.current)
    vendor.fault("rotate", kind="odd_key")
    rotation = started(people.operator, key, accept_outage="nobody works at this hour")
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert vendor.use(old) == 401
    task = HumanTask.objects.get(rotation=rotation, kind="paste", closed_at=None)
    assert "cannot be sent in a request" in task.text
    assert "applications have none that works" in task.text
