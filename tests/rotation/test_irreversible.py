"""X1: no call that ends a key rests on an id that a person gave: first it is proven to be the secret's."""

import signal

import pytest
from django.utils import timezone

from keyvault.audit.models import AuditEvent
from keyvault.models import KeyVersion, Link
from rotation.engine import lifecycle
from rotation.models import HumanTask, Intent, Rotation, Step, WaitingFor
from rotation.recovery import deletion_lock
from tests.factories import lone_key, make_key, secret_of
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, started, step
from tests.rotation.test_crashes import let_the_lease_end, run_until_death

DISABLING = (
    "disable_intent.before",
    "disable_intent.after",
    "disable.before",
    "disable.after",
)


@pytest.fixture
def unmasked(vendor, place):
    """Have the vendor show nothing of the secrets, so that only the disabling tells."""
    vendor.patch_account(place.vendor_api["id"], shows_masks=False)


@pytest.fixture
def quick(place):
    """Have the vendor's changes be through in a second."""
    place.api_account.settings = {"propagation_seconds": 1}
    place.api_account.save()


@pytest.fixture
def pair(vendor, place, people):
    """Return two keys whose ids at the vendor were swapped, as by an import."""
    first, second = (lone_key(vendor, place, people.owner) for _ in range(2))
    ids = first.current.vendor_id, second.current.vendor_id
    for key, vendor_id in zip((first, second), reversed(ids), strict=True):
        has_id(key, vendor_id)
    return first, second


def has_id(key, vendor_id):
    KeyVersion.objects.filter(pk=key.current_id).update(vendor_id=vendor_id)
    key.current.refresh_from_db()


def agreed(by, key, **options):
    """Start a rotation whose old key a person gave up: by a wrong id no last use shows anything."""
    rotation = started(by, key, **options)
    Rotation.objects.filter(pk=rotation.pk).update(
        waived_by=by, waived_at=timezone.now(), waiver_reason="nothing uses it any more"
    )
    return rotation


def accepted(vendor, key):
    return vendor.lookup(secret_of(KeyVersion.objects.get(pk=key.current_id)))["accepted_now"]


def parked(rotation, seconds=30):
    return drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON, seconds)


def is_disabled(rotation):
    return rotation.intents.filter(disabled_at__isnull=False).exists()


def enabled_again(vendor, place):
    return not any(
        key["disabled"] for key in vendor.keys(place.vendor_api["id"]) if key["state"] != "deleted"
    )


@pytest.mark.parametrize("masks", [True, False])
def test_swapped_ids_end_no_key(vendor, place, people, pair, quick, masks):
    """X1: two rows of an import changed places: all keys live on, and a person is told of the id."""
    vendor.patch_account(place.vendor_api["id"], shows_masks=masks)
    first, second = pair
    old = first.current
    rotation = parked(agreed(people.owner, first))
    assert rotation.step == Step.DELETE
    assert f"The id {old.vendor_id} does not belong to this secret" in rotation.waiting_text
    assert "Nothing was ended" in rotation.waiting_text
    first.refresh_from_db()
    assert accepted(vendor, first)
    assert accepted(vendor, second)
    assert vendor.lookup(secret_of(old))["accepted_now"]
    assert enabled_again(vendor, place)
    assert HumanTask.objects.filter(rotation=rotation, kind="look", closed_at=None).exists()
    acts = list(AuditEvent.objects.filter(action__startswith="vendor_key.").values_list("action"))
    assert ("vendor_key.deleted",) not in acts
    assert (("vendor_key.disabled",) in acts) == (("vendor_key.enabled",) in acts) == (not masks)
    old.refresh_from_db()
    assert (old.link, old.state) == (Link.REFUTED, "previous")
    assert_all_is_well(vendor, place)


def test_a_key_that_vanished_while_disabled_is_not_recorded_as_enabled(
    vendor, place, people, pair, quick, unmasked
):
    """X1: somebody deletes it meanwhile: the log and the text say that it is gone."""
    first, second = pair
    wrong = first.current.vendor_id
    rotation = drive(agreed(people.owner, first), is_disabled)
    vendor.delete_key(wrong)
    parked(rotation)
    acts = AuditEvent.objects.filter(action__startswith="vendor_key.").order_by("seq")
    disabled_on = [one.action for one in acts if wrong in one.payload]
    assert disabled_on == ["vendor_key.disabled", "vendor_key.gone"]
    assert "none could be enabled again" in rotation.waiting_text
    assert "was enabled again" not in rotation.waiting_text
    assert not accepted(vendor, second), "somebody else ended it"


def test_a_refuted_id_is_left_alone_however_often_it_is_tried(
    vendor, place, people, pair, quick, unmasked
):
    """X1: the other key is not disabled anew by each try; deleted by hand, the rotation goes on."""
    first, second = pair
    rotation = parked(agreed(people.owner, first))
    vendor.clear_ledger()
    for _ in range(3):
        lifecycle.retry(people.owner, rotation)
        step(rotation)
        assert rotation.waiting_for == WaitingFor.PERSON
    assert not [e for e in vendor.ledger() if e["route"] in ("disable", "delete", "enable")]
    vendor.delete_key_by_secret(secret_of(rotation.old_version))
    drive(rotation)
    assert rotation.step == Step.DONE
    assert accepted(vendor, second)


@pytest.mark.parametrize("masks", [True, False])
def test_an_id_of_a_key_that_is_not_ours_ends_nothing(vendor, place, people, quick, masks):
    """X1: an id of a key unknown to us."""
    vendor.patch_account(place.vendor_api["id"], shows_masks=masks)
    key = make_key(vendor, place, people.owner)
    foreign = vendor.create_key(place.vendor_api["id"], label="somebody else's")
    has_id(key, foreign["id"])
    old = key.current
    rotation = parked(agreed(people.owner, key))
    assert vendor.lookup(foreign["key"])["accepted_now"]
    assert vendor.lookup(secret_of(old))["accepted_now"]
    assert foreign["id"] in rotation.waiting_text


@pytest.mark.parametrize("where", ["nowhere", "another account"])
def test_an_id_that_the_vendor_does_not_know_is_not_called_deleted(
    vendor, place, people, quick, where
):
    """X1, F5: a 404 is no proof of an end: the secret works, so the id is another's, or the account is."""
    key = make_key(vendor, place, people.owner)
    other = vendor.create_key(place.vendor_manual["id"])
    has_id(key, other["id"] if where == "another account" else "key_0123456789abcdef")
    old = key.current
    rotation = parked(agreed(people.owner, key))
    assert "the vendor knows no key" in rotation.waiting_text
    assert vendor.lookup(secret_of(old))["accepted_now"]
    assert vendor.lookup(other["key"])["accepted_now"]
    assert not AuditEvent.objects.filter(action="vendor_key.deleted").exists()


def test_an_id_that_is_unknown_after_the_switch_is_not_even_called_by(vendor, place, people, quick):
    """X1: the old secret works, so the id is not its own; nothing is disabled to see that."""
    key = make_key(vendor, place, people.owner)
    rotation = agreed(people.owner, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    old = KeyVersion.objects.filter(pk=rotation.old_version_id)
    old.update(vendor_id="key_0123456789abcdef")
    Rotation.objects.filter(pk=rotation.pk).update(overlap_seconds=0)
    parked(rotation)
    assert rotation.step == Step.DELETE
    assert old.get().link == Link.REFUTED
    assert "or the credential is of another account" in rotation.waiting_text
    called = {e["route"] for e in vendor.ledger(account=place.vendor_api["id"])}
    assert not called & {"disable", "delete"}


def test_a_true_id_is_proven_by_the_refusal_and_noted(vendor, place, people):
    """X1: disabled by its id, the secret is refused: proven, then deleted; what we made needs no proof."""
    key = make_key(vendor, place, people.owner)
    old = key.current
    assert not old.is_linked
    drive(started(people.owner, key))
    old.refresh_from_db()
    assert (old.state, old.link) == ("deleted", Link.REFUSAL)
    assert old.linked_at is not None
    key.refresh_from_db()
    assert key.current.link == Link.ANSWER
    calls = [e["route"] for e in vendor.ledger() if e["key"] == old.vendor_id]
    assert (calls.count("disable"), calls.count("delete")) == (1, 1)
    rotation = drive(started(people.owner, key))
    assert rotation.step == Step.DONE
    assert not Intent.objects.filter(rotation=rotation, disabling_at__isnull=False).exists()
    assert_all_is_well(vendor, place)


def test_a_key_that_is_refused_already_is_not_ended_by_an_unproven_id(
    vendor, place, people, pair, unmasked
):
    """X1: a dead secret proves no id: disabled or not, it is refused."""
    first, second = pair
    rotation = agreed(people.owner, first, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    vendor.delete_key(vendor.lookup(secret_of(rotation.old_version))["id"])
    Rotation.objects.filter(pk=rotation.pk).update(overlap_seconds=0)
    drive(rotation)
    assert rotation.step == Step.DONE
    assert accepted(vendor, second)
    assert not AuditEvent.objects.filter(action="vendor_key.disabled").exists()


def test_without_a_verdict_nobodys_key_stays_disabled(vendor, place, people, pair, quick, unmasked):
    """X1: the vendor falls silent while the key of the id is disabled: it is enabled again."""
    first, second = pair
    rotation = drive(agreed(people.owner, first), is_disabled)
    vendor.fault("usage", kind="status", status=503, times=None, body={"success": False})
    drive(rotation, lambda r: not r.intents.filter(disabling_at__isnull=False).exists())
    vendor.clear_faults()
    assert accepted(vendor, second)
    assert "could not be told" in rotation.waiting_text
    parked(rotation)
    assert accepted(vendor, second)
    assert KeyVersion.objects.get(pk=rotation.old_version_id).link == Link.REFUTED


def test_a_restore_enables_what_was_disabled_for_a_proof(
    vendor, place, people, pair, quick, unmasked
):
    """X1: while deleting is frozen the proof cannot go on, and may take days."""
    first, second = pair
    rotation = drive(agreed(people.owner, first), is_disabled)
    assert not accepted(vendor, second)
    deletion_lock.lock_deletions("Vault was restored.")
    step(rotation)
    assert rotation.waiting_for == WaitingFor.RECONCILE
    assert accepted(vendor, second)


def test_an_enabling_that_fails_is_tried_again(vendor, place, people, pair, quick, unmasked):
    """X1: a crash or an error of the vendor on the way back leaves the intent behind."""
    first, second = pair
    vendor.fault("enable", kind="status", status=500, times=3, body={"success": False})
    rotation = drive(agreed(people.owner, first), lambda r: r.attempt >= 2, seconds=30)
    assert not accepted(vendor, second)
    parked(rotation)
    assert accepted(vendor, second)


def test_a_lost_answer_to_the_disabling_is_asked_for_again(
    vendor, place, people, pair, quick, unmasked
):
    """X1: carried out or not: it is made again, so that what follows knows where it stands."""
    first, second = pair
    vendor.fault("disable", kind="execute_then_cut", times=2)
    rotation = parked(agreed(people.owner, first))
    assert accepted(vendor, second)
    assert "does not belong" in rotation.waiting_text


@pytest.mark.parametrize("point", [*DISABLING, "link.before", "link.after"])
def test_a_crash_while_a_true_id_is_proven_loses_nothing(
    stack, vendor, place, people, quick, unmasked, point
):
    """X1: whoever comes after the crash goes on with the proof; the old key ends once."""
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key)
    assert run_until_death(stack, rotation, point) == -signal.SIGKILL
    let_the_lease_end(rotation)
    assert drive(rotation, seconds=30).step == Step.DONE
    assert creates(vendor, place.vendor_api) == 1
    assert_all_is_well(vendor, place)


@pytest.mark.parametrize("point", [*DISABLING, "enable.before", "enable.after"])
def test_a_crash_while_a_false_id_is_found_out_leaves_no_key_disabled(
    stack, vendor, place, people, pair, quick, unmasked, point
):
    """X1: whoever comes after the crash enables what was disabled for the proof."""
    first, second = pair
    old = first.current
    rotation = agreed(people.owner, first)
    assert run_until_death(stack, rotation, point) == -signal.SIGKILL
    let_the_lease_end(rotation)
    parked(rotation)
    assert "does not belong to this secret" in rotation.waiting_text
    assert accepted(vendor, second)
    assert vendor.lookup(secret_of(old))["accepted_now"]
    assert enabled_again(vendor, place)
    assert_all_is_well(vendor, place)
