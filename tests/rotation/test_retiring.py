"""A key that nobody needs is retired with the same proofs as a rotation's old key, then archived."""

import signal
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Conflict, Denied, KeyServiceError
from keyvault.delivery import fetch, tokens
from keyvault.inventory import versions
from keyvault.models import ApiKey, Grant, Role, VersionState
from keyvault.vault.secret_store import StoreMissing
from rotation.consumers import holders, registry
from rotation.engine import holds, lifecycle, manual_keys, retirement
from rotation.models import (
    HumanTask,
    Intent,
    KeyCheckSchedule,
    Reason,
    Rotation,
    RotationPolicy,
    Step,
    WaitingFor,
)
from rotation.monitoring import key_checks
from rotation.scheduling import inheritance, policies
from tests.api_client import Api, sign_in
from tests.commands import call
from tests.factories import make_key, secret_of
from tests.pages import as_, text
from tests.rotation.driving import drive, hurry, step
from tests.rotation.test_completing import incident
from tests.rotation.test_crashes import frozen_worker, let_the_lease_end, run_until_death

WHY = "The video service is gone."


def quiet(rotation):
    """Be content with a short quiet period."""
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=1)


def retired(people, key):
    """Retire a key that nothing uses, to the end."""
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: one.step == Step.VERIFY and bool(one.waiting_for))
    quiet(rotation)
    return drive(rotation)


def alive(vendor, account):
    return sum(key["accepted_now"] for key in vendor.keys(account["id"]))


def test_it_is_proven_unused_ended_at_the_vendor_destroyed_and_put_away(vendor, place, people):
    """U4, F10: two versions live, a standby as well; nothing is left of either, but the record."""
    key = make_key(vendor, place, people.owner, name="video")
    policies.set_policy(people.owner, key, policies.Wish(every_days=30))
    made = vendor.create_key(place.vendor_api["id"])
    manual_keys.add_standby(people.operator, key, made["key"])
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: one.step == Step.VERIFY and bool(one.waiting_for))
    assert rotation.waiting_for == WaitingFor.QUIET
    assert secret_of(key.current), "it is given out until its end is ordered"
    quiet(rotation)
    drive(rotation, lambda one: one.waiting_for in (WaitingFor.DELETION, WaitingFor.PERSON))
    if rotation.is_open:
        # Its id was not recorded: a person ends the standby.
        vendor.delete_key(made["id"])
        drive(rotation)
    assert rotation.step == Step.DONE, rotation.waiting_text
    key = ApiKey.objects.get(pk=key.pk)
    assert key.archived_at
    assert key.current is None
    for version in key.versions.all():
        assert version.state == VersionState.DELETED
        assert version.refused_at
        assert version.destroyed_at
        with pytest.raises(StoreMissing):
            versions.read_secret(version)
    assert alive(vendor, place.vendor_api) == 0
    assert not RotationPolicy.objects.filter(key=key).exists()
    assert not HumanTask.objects.filter(key=key, closed_at=None).exists()
    rows = AuditEvent.objects.filter(action__startswith="key.retir").order_by("seq")
    assert [row.action for row in rows] == ["key.retiring", "key.retired"]


def test_a_program_that_fetched_it_is_named_and_waited_for(vendor, place, people):
    """No new version can be proven, so a person confirms by name, or the key lives."""
    key = make_key(vendor, place, people.owner)
    _, text = tokens.issue(people.owner, "nightly", place.application, place.environment)
    fetch.fetch(text.reveal(), key.pk)
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: bool(one.waiting_for) and one.step == Step.VERIFY)
    for _ in range(3):
        step(rotation)
        assert rotation.step == Step.VERIFY
    assert "nightly" in rotation.waiting_text
    assert fetch.fetch(text.reveal(), key.pk).secret
    lifecycle.waive(people.owner, rotation, "The nightly job was switched off.")
    assert drive(rotation).step == Step.DONE
    with pytest.raises(KeyServiceError):
        fetch.fetch(text.reveal(), key.pk)


def test_no_page_speaks_of_a_new_key_that_there_is_not(client, vendor, place, people):
    """F10: a retirement's proofs, track, task and forms said “consumers moved” and “new key”."""
    key = make_key(vendor, place, people.owner, name="video")
    registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: one.waiting_for == WaitingFor.ADOPTION)
    assert rotation.waiting_text == (
        "May still need the key: web-1: a person must confirm that nothing uses it."
    )
    assert holders.of_rotation(rotation)[0].has_proved is False
    page = text(as_(client, people.owner).get(f"/rotations/{rotation.pk}/"))
    for said in ("Retirement of video", WHY, "Nothing needs it", "Cancel the retirement"):
        assert said in page
    for false in ("new key", "New key", "Consumers moved", "consumers moved", "old key", "Old key"):
        assert false not in page
    page = text(client.get(f"/keys/{key.pk}/"))
    assert "It leaked: end it now" in page
    assert "Add a standby" not in page
    lifecycle.waive(people.owner, rotation, "I looked at every host.")
    assert drive(rotation).step == Step.DONE
    page = text(client.get(f"/keys/{key.pk}/"))
    assert "Retired" in page
    for offer in ("Rotate now", "Reveal the secret", "Set a hold", "Retire this key"):
        assert offer not in page


def test_where_the_vendor_tells_nothing_a_person_confirms_and_ends_it(vendor, place, people):
    key = make_key(vendor, place, people.owner, manual=True)
    secret = secret_of(key.current)
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: one.waiting_for == WaitingFor.ADOPTION)
    quiet(rotation)
    assert step(rotation).step == Step.VERIFY
    lifecycle.waive(people.owner, rotation, "I looked at every host.")
    drive(rotation, lambda one: one.waiting_for == WaitingFor.DELETION)
    assert HumanTask.objects.filter(kind="delete", closed_at=None).exists()
    vendor.delete_key_by_secret(secret)
    assert drive(rotation).step == Step.DONE
    assert ApiKey.objects.get(pk=key.pk).archived_at


def test_a_key_that_died_because_nobody_needs_it_is_retired_and_its_incident_closes(
    vendor, place, people
):
    """F10: the only advice was to rotate it, which makes a new live key."""
    key = make_key(vendor, place, people.owner)
    task = incident(vendor, key)
    assert "retire it" in task.text
    vendor.delete_key(key.current.vendor_id)
    rotation = retirement.retire(people.owner, key, WHY)
    assert drive(rotation).step == Step.DONE
    assert "before we ended it" in rotation.adopted_how
    task.refresh_from_db()
    assert task.closed_at
    assert alive(vendor, place.vendor_api) == 0


def test_it_can_be_cancelled_until_its_end_is_ordered(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: bool(one.waiting_for) and one.step == Step.VERIFY)
    lifecycle.cancel(people.operator, rotation)
    assert drive(rotation).step == Step.CANCELLED
    key.refresh_from_db()
    assert key.archived_at is None
    assert secret_of(key.current)
    assert alive(vendor, place.vendor_api) == 1


def test_a_cancel_at_the_last_moment_is_in_time(stack, vendor, place, people):
    """The intents and the cancel are read under one lock."""
    key = make_key(vendor, place, people.owner)
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: bool(one.waiting_for) and one.step == Step.VERIFY)
    quiet(rotation)
    hurry(rotation)
    with frozen_worker(stack, rotation, "retire_intent.before"):
        Rotation.objects.filter(pk=rotation.pk).update(
            claimed_until=timezone.now() + timedelta(minutes=5)
        )
        lifecycle.cancel(people.operator, rotation)
    assert drive(rotation).step == Step.CANCELLED
    assert alive(vendor, place.vendor_api) == 1
    assert not Intent.objects.exists()


@pytest.mark.parametrize(
    "point",
    [
        "retire_intent.before",
        "retire_intent.after",
        "delete.before",
        "delete.after",
        "destroy.after",
    ],
)
def test_a_crash_loses_nothing_and_ends_the_same(stack, vendor, place, people, point):
    key = make_key(vendor, place, people.owner)
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: bool(one.waiting_for) and one.step == Step.VERIFY)
    quiet(rotation)
    assert run_until_death(stack, rotation, point) == -signal.SIGKILL
    let_the_lease_end(rotation)
    assert drive(rotation).step == Step.DONE
    assert ApiKey.objects.get(pk=key.pk).archived_at
    assert alive(vendor, place.vendor_api) == 0
    with pytest.raises(Conflict):
        lifecycle.cancel(people.owner, rotation)


def test_a_hold_keeps_it(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    hold = holds.place(people.owner, key, "Case 4711: evidence").hold
    rotation = retirement.retire(people.owner, key, WHY)
    drive(rotation, lambda one: bool(one.waiting_for) and one.step == Step.VERIFY)
    quiet(rotation)
    drive(rotation, lambda one: one.waiting_for == WaitingFor.HOLD)
    key.refresh_from_db()
    assert secret_of(key.current)
    assert alive(vendor, place.vendor_api) == 1
    holds.lift(people.owner, hold, "the case is closed")
    assert drive(rotation).step == Step.DONE


def test_no_other_door_works_on_it_meanwhile_or_afterwards(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    rotation = retirement.retire(people.owner, key, WHY)
    with pytest.raises(Conflict):
        lifecycle.start(people.operator, key)
    with pytest.raises(Conflict):
        retirement.retire(people.owner, key, WHY)
    made = vendor.create_key(place.vendor_api["id"])
    with pytest.raises(Conflict):
        manual_keys.add_standby(people.operator, key, made["key"])
    joined, new = lifecycle.start(people.operator, key, Reason.LEAK)
    assert (joined.pk, new) == (rotation.pk, False)
    assert drive(rotation).step == Step.DONE, "a leak waits for nobody"
    key.refresh_from_db()
    for act in (
        lambda: lifecycle.start(people.operator, key),
        lambda: lifecycle.start(people.operator, key, Reason.LEAK),
        lambda: retirement.retire(people.owner, key, WHY),
        lambda: manual_keys.add_standby(people.operator, key, made["key"]),
    ):
        with pytest.raises(Conflict):
            act()
    assert Rotation.objects.count() == 1


def test_who_may_retire_and_why(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    for who in (people.operator, people.developer, people.viewer):
        with pytest.raises(Denied):
            retirement.retire(who, key, WHY)
    with pytest.raises(BadInput):
        retirement.retire(people.owner, key, " x ")
    Grant.objects.create(member=people.operator, role=Role.OWNER, application=place.application)
    assert retirement.retire(people.operator, key, WHY).retires


def test_it_is_in_no_list_unless_asked_for_and_its_name_is_free(vendor, place, people):
    key = make_key(vendor, place, people.owner, name="video")
    rotation = retired(people, key)
    assert rotation.step == Step.DONE
    owner, client = Api(people.owner), sign_in(Client(), people.owner)
    assert owner.get("keys/").json["results"] == []
    assert [one["id"] for one in owner.get("keys/?retired=true").json["results"]] == [key.pk]
    assert "video" not in client.get("/keys/").content.decode()
    assert "video" in client.get("/keys/?state=retired").content.decode()
    assert "Retired" in client.get(f"/keys/{key.pk}/").content.decode()
    assert client.get(f"/rotations/{rotation.pk}/").status_code == 200
    assert call("listkeys").out.count("video") == 0
    inheritance.apply_next_scope()
    key_checks.claim_due()
    assert not RotationPolicy.objects.exists()
    assert not KeyCheckSchedule.objects.exists()
    again = make_key(vendor, place, people.owner, name="video")
    assert again.pk != key.pk
    assert call("retirekey", "Sandbox/Development/video", "--reason", WHY).code == 0
    assert Rotation.objects.get(key=again).retires


def test_the_page_and_the_api_begin_it(vendor, place, people):
    key, other = (make_key(vendor, place, people.owner) for _ in range(2))
    made = Api(people.owner).post(f"keys/{key.pk}/retire", {"reason": WHY})
    assert (made.status, made.json["retires"]) == (201, True)
    assert Api(people.operator).post(f"keys/{key.pk}/retire", {"reason": WHY}).status == 403
    client = sign_in(Client(), people.owner)
    assert "Retire this key" in client.get(f"/keys/{other.pk}/").content.decode()
    posted = client.post(f"/keys/{other.pk}/retire", {"reason": WHY})
    rotation = Rotation.objects.get(key=other)
    assert posted.url == f"/rotations/{rotation.pk}/"
    assert client.get(posted.url).status_code == 200
