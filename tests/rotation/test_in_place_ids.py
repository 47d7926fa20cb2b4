"""X1: where the call for a new key ends the old one by its id, the id is proven first, or a person told."""

import pytest

from keyvault.models import KeyVersion, Link
from rotation.engine import lifecycle
from rotation.models import HumanTask, Reason, Rotation, Step, WaitingFor
from tests.factories import lone_key, secret_of
from tests.rotation.driving import drive, started, step
from tests.rotation.test_in_place import WHY, agreed, calls
from tests.rotation.test_irreversible import accepted, has_id, parked


@pytest.fixture
def pair(vendor, place, people):
    """Return two keys at a vendor that replaces in place, whose ids were swapped by an import."""
    place.api_account.provider = "sandbox_inplace"
    place.api_account.save()
    first, second = (lone_key(vendor, place, people.owner) for _ in range(2))
    ids = first.current.vendor_id, second.current.vendor_id
    for key, vendor_id in zip((first, second), reversed(ids), strict=True):
        has_id(key, vendor_id)
    return first, second


@pytest.fixture
def unmasked(vendor, place):
    vendor.patch_account(place.vendor_api["id"], shows_masks=False)


@pytest.mark.parametrize("reason", [Reason.MANUAL, Reason.LEAK])
def test_swapped_ids_end_no_key_in_place(vendor, place, people, pair, reason):
    """X1: agreed or leaked, the vendor's mask shows another key beside the id: nothing is called."""
    first, second = pair
    rotation = parked(agreed(people, first, reason=reason))
    assert "does not belong to this secret" in rotation.waiting_text
    assert "Nothing was ended" in rotation.waiting_text
    assert calls(vendor, place) == 0
    assert accepted(vendor, first)
    assert accepted(vendor, second)
    assert KeyVersion.objects.get(pk=first.current_id).link == Link.REFUTED
    assert HumanTask.objects.filter(rotation=rotation, kind="look", closed_at=None).exists()


def test_a_refuted_id_is_not_called_by_later_when_nothing_shows_it_any_more(
    vendor, place, people, pair
):
    """X1: the vendor stops showing masks, and a person tries again."""
    first, second = pair
    rotation = parked(agreed(people, first))
    vendor.patch_account(place.vendor_api["id"], shows_masks=False)
    lifecycle.retry(people.owner, rotation)
    step(rotation)
    assert "does not belong to this secret" in rotation.waiting_text
    assert calls(vendor, place) == 0
    assert accepted(vendor, second)


@pytest.mark.parametrize("where", ["nowhere", "another account"])
def test_an_id_that_the_vendor_does_not_know_is_not_replaced(vendor, place, people, pair, where):
    """X1, F5: no such key by the management credential, and the secret works."""
    first, _second = pair
    other = vendor.create_key(place.vendor_manual["id"])
    has_id(first, other["id"] if where == "another account" else "key_0123456789abcdef")
    rotation = parked(agreed(people, first))
    assert "knows no key" in rotation.waiting_text
    assert vendor.lookup(other["key"])["accepted_now"]
    assert accepted(vendor, first)
    assert calls(vendor, place) == 0


def test_an_id_that_two_versions_have_is_not_replaced(vendor, place, people, pair, unmasked):
    """X1: one of the two is wrong, and nobody knows which."""
    first, second = pair
    has_id(first, second.current.vendor_id)
    rotation = parked(agreed(people, first))
    assert "as well, and one of the two is wrong" in rotation.waiting_text
    assert calls(vendor, place) == 0


def test_a_leak_asks_when_nothing_proves_the_id(client, vendor, place, people, pair, unmasked):
    """X1: "leaked" is no word about which key an unproven id names: task and page say what is at stake."""
    first, second = pair
    rotation = started(people.owner, first, reason=Reason.LEAK)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    said = f"nothing proves that the id {first.current.vendor_id} is this key's"
    assert said in HumanTask.objects.get(rotation=rotation, kind="confirm", closed_at=None).text
    assert said in rotation.waiting_text
    assert calls(vendor, place) == 0
    assert accepted(vendor, second)
    client.force_login(people.owner)
    for page in (f"/keys/{first.pk}/", f"/rotations/{rotation.pk}/"):
        assert said in client.get(page).content.decode().replace("&#x27;", "'")
    lifecycle.cancel(people.owner, rotation)
    drive(rotation)
    assert rotation.step == Step.CANCELLED


def test_agreed_with_nothing_that_proves_the_id_it_goes_on(vendor, place, people, pair, unmasked):
    """X1: the person has compared the id, and takes it on: a true one is replaced."""
    first, second = pair
    mine, theirs = second.current.vendor_id, first.current.vendor_id
    has_id(first, mine)
    has_id(second, theirs)
    rotation = started(people.owner, first)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    lifecycle.waive(people.owner, rotation, WHY)
    assert drive(rotation).step == Step.DONE
    assert accepted(vendor, second)
    assert calls(vendor, place) == 1


@pytest.mark.parametrize("reason", [Reason.MANUAL, Reason.LEAK])
def test_a_mask_that_fits_proves_the_id_and_nothing_more_is_said(
    vendor, place, people, pair, reason
):
    """X1: proven without effect; a leak then needs no agreement."""
    first, second = pair
    mine, theirs = second.current.vendor_id, first.current.vendor_id
    has_id(first, mine)
    has_id(second, theirs)
    old = secret_of(first.current)
    rotation = started(people.owner, first, reason=reason)
    if reason == Reason.LEAK:
        assert drive(rotation).step == Step.DONE
        assert not vendor.lookup(old)["accepted_now"]
    else:
        drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
        assert "nothing proves" not in rotation.waiting_text
    assert KeyVersion.objects.get(pk=rotation.old_version_id).link == Link.MASK
    assert Rotation.objects.count() == 1


def test_a_dead_secret_beside_the_mask_of_another_is_found_out(vendor, place, people, pair):
    """X1: a refused secret is still compared with the mask before the call by its id."""
    first, second = pair
    vendor.delete_key(vendor.lookup(secret_of(first.current))["id"])
    rotation = parked(agreed(people, first))
    assert "does not belong to this secret" in rotation.waiting_text
    assert accepted(vendor, second)
    assert calls(vendor, place) == 0


def test_without_a_verdict_nothing_is_called(vendor, place, people, pair, unmasked):
    """X1: whether the id fits is asked again when the vendor answers."""
    first, _second = pair
    vendor.fault("usage", kind="status", status=503, times=None, body={"success": False})
    rotation = agreed(people, first)
    step(rotation)
    assert rotation.waiting_for == WaitingFor.VENDOR
    assert calls(vendor, place) == 0
