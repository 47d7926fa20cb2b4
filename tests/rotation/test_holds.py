"""A hold keeps every version of a key alive through every door, with a reason, until it ends."""

import signal
from datetime import time, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from keyvault.access.approvals import NeedsApproval
from keyvault.audit.models import AuditEvent
from keyvault.core.errors import BadInput, Conflict, Denied
from keyvault.inventory import hold_status, versions
from keyvault.inventory.hold_status import OnHold
from keyvault.models import (
    Approval,
    KeyHold,
    KeyVersion,
    Role,
    VersionState,
)
from rotation.campaigns import offboarding
from rotation.engine import blockers, cleanup, holds, lifecycle, manual_keys, scheduler
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
from rotation.recovery import reconciliation
from rotation.scheduling import policies
from rotation.scheduling.policies import Wish
from tests.api_client import Api, sign_in
from tests.commands import call
from tests.factories import grant, make_key, make_member, secret_of
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, hurry, started, step
from tests.rotation.test_crashes import frozen_worker, let_the_lease_end, run_until_death

WHY = "Case 4711: evidence"


def waits(rotation):
    return rotation.waiting_for == WaitingFor.HOLD


def alive(vendor, place):
    return sum(key["accepted_now"] for key in vendor.keys(place.vendor_api["id"]))


def plan(by, key):
    """Give the key a policy that is due."""
    policy = policies.set_policy(by, key, Wish(30, time(3), "UTC", 0, 1))
    RotationPolicy.objects.update(next_run_at=timezone.now() - timedelta(minutes=1))
    policy.refresh_from_db()
    return policy


def lift(people, hold):
    """Lift it as the only owner there is."""
    holds.lift(people.owner, hold, "the case is closed")


def test_a_rotation_goes_on_up_to_the_switch_and_waits_and_goes_on_when_the_hold_is_lifted(
    vendor, place, people
):
    """B21: the applications have the new key, the old one lives, and the page says why."""
    key = make_key(vendor, place, people.owner)
    old = key.current
    hold = holds.place(people.owner, key, WHY).hold
    rotation = drive(started(people.operator, key, reason=Reason.LEAK), waits)
    key.refresh_from_db()
    assert key.current_id == rotation.new_version_id != old.pk
    assert (rotation.step, alive(vendor, place)) == (Step.DELETE, 2)
    assert WHY in rotation.waiting_text
    assert not Intent.objects.filter(kind=Intent.Kind.DELETE).exists()
    assert secret_of(KeyVersion.objects.get(pk=old.pk))
    alert = HumanTask.objects.get(kind="finding")
    assert "leaked and lives on" in alert.text
    page = sign_in(Client(), people.owner).get(f"/rotations/{rotation.pk}/").content.decode()
    assert WHY in page
    lift(people, hold)
    rotation.refresh_from_db()
    assert rotation.due_at <= timezone.now()
    assert drive(rotation).step == Step.DONE
    assert alive(vendor, place) == 1
    alert.refresh_from_db()
    assert alert.closed_at
    assert_all_is_well(vendor, place)


def test_a_hold_that_ends_by_itself_lets_things_go_on(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    hold = holds.place(people.owner, key, WHY, timezone.now() + timedelta(days=2)).hold
    rotation = drive(started(people.operator, key, reason=Reason.LEAK), waits)
    KeyHold.objects.filter(pk=hold.pk).update(ends_at=timezone.now())
    assert drive(rotation).step == Step.DONE
    assert not hold_status.holds_on(key.pk)


def test_several_holds_stand_each_for_itself(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    first = holds.place(people.owner, key, WHY).hold
    second = holds.place(people.owner, key, "Audit of 2027").hold
    rotation = drive(started(people.operator, key, reason=Reason.LEAK), waits)
    lift(people, first)
    assert drive(rotation, waits).step == Step.DELETE
    assert "Audit of 2027" in rotation.waiting_text
    assert WHY not in rotation.waiting_text
    lift(people, second)
    assert drive(rotation).step == Step.DONE


def test_a_hold_set_while_a_worker_is_about_to_delete_is_in_time(stack, vendor, place, people):
    """B21, the race: all was looked at, the intent is the next statement."""
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key, reason=Reason.LEAK)
    with frozen_worker(stack, rotation, "delete_intent.before"):
        # A frozen worker past its lease would be fenced off: this one is only slow.
        Rotation.objects.filter(pk=rotation.pk).update(
            claimed_until=timezone.now() + timedelta(minutes=5)
        )
        assert holds.place(people.owner, key, WHY).late == []
    assert drive(rotation, waits).step == Step.DELETE
    assert not Intent.objects.filter(kind=Intent.Kind.DELETE).exists()
    assert alive(vendor, place) == 2


@pytest.mark.parametrize(
    "point", ["delete_intent.after", "disable.after", "link.after", "delete.before"]
)
def test_a_hold_set_after_the_intent_tells_that_it_may_be_late(stack, vendor, place, people, point):
    """B21: what was ordered before is named; what was not yet called is not called any more."""
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key, reason=Reason.LEAK)
    assert run_until_death(stack, rotation, point) == -signal.SIGKILL
    let_the_lease_end(rotation)
    placed = holds.place(people.owner, key, WHY)
    assert [version.number for version in placed.late] == [1]
    assert drive(rotation, waits).step == Step.DELETE
    assert alive(vendor, place) == 2
    lift(people, placed.hold)
    assert drive(rotation).step == Step.DONE
    assert_all_is_well(vendor, place)


def test_a_worker_with_an_intent_looks_again_right_before_it_calls(stack, vendor, place, people):
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key, reason=Reason.LEAK)
    with frozen_worker(stack, rotation, "delete_intent.after"):
        Rotation.objects.filter(pk=rotation.pk).update(
            claimed_until=timezone.now() + timedelta(minutes=5)
        )
        holds.place(people.owner, key, WHY)
    let_the_lease_end(rotation)
    assert drive(rotation, waits).step == Step.DELETE
    assert alive(vendor, place) == 2


def test_what_the_vendor_has_ended_already_is_recorded_and_its_secret_is_kept(
    stack, vendor, place, people
):
    """B21: a hold cannot bring a dead key back, but nothing of it is destroyed in Vault."""
    key = make_key(vendor, place, people.owner)
    old = key.current
    rotation = started(people.operator, key, reason=Reason.LEAK)
    assert run_until_death(stack, rotation, "destroy.before") == -signal.SIGKILL
    let_the_lease_end(rotation)
    hold = holds.place(people.owner, key, WHY).hold
    drive(rotation, waits)
    old.refresh_from_db()
    assert (old.state, old.destroyed_at) == (VersionState.DELETED, None)
    assert secret_of(old)
    lift(people, hold)
    assert drive(rotation).step == Step.DONE
    old.refresh_from_db()
    assert old.destroyed_at


def test_no_door_destroys_the_secret_of_a_key_on_hold(vendor, place, people):
    """The store's own door refuses, whoever comes: the sweep leaves it alone, and is not told off."""
    key = make_key(vendor, place, people.owner)
    drive(started(people.operator, key, reason=Reason.LEAK))
    old = key.versions.get(number=1)
    KeyVersion.objects.filter(pk=old.pk).update(destroyed_at=None)
    hold = holds.place(people.owner, key, WHY).hold
    with pytest.raises(OnHold):
        versions.destroy_secret(old)
    assert cleanup.finish_destroying() == 0
    KeyVersion.objects.filter(pk=old.pk).update(retired_at=timezone.now() - timedelta(days=9))
    assert not [one for one in reconciliation.reconcile().findings if one.kind == "not_destroyed"]
    lift(people, hold)
    assert cleanup.finish_destroying() == 1


def test_nobody_is_asked_to_delete_what_is_on_hold(vendor, place, people):
    """B21 at a vendor where a person ends keys: the task goes, and comes back afterwards."""
    key = make_key(vendor, place, people.owner, manual=True)
    rotation = started(people.operator, key, reason=Reason.LEAK)
    step(rotation)
    manual_keys.paste_for(
        people.operator, rotation, vendor.create_key(place.vendor_manual["id"])["key"]
    )
    drive(rotation, lambda one: one.waiting_for == WaitingFor.DELETION)
    task = HumanTask.objects.get(kind="delete")
    hold = holds.place(people.owner, key, WHY).hold
    drive(rotation, waits)
    task.refresh_from_db()
    assert task.closed_at
    lift(people, hold)
    drive(rotation, lambda one: one.waiting_for == WaitingFor.DELETION)
    assert HumanTask.objects.filter(kind="delete", closed_at=None).exists()


@pytest.fixture
def in_place(vendor, place, people):
    """Return a key in an account whose vendor ends the old key as it makes the new one."""
    place.api_account.provider = "sandbox_inplace"
    place.api_account.save()
    return make_key(vendor, place, people.owner)


def replacements(vendor, place):
    return len(vendor.ledger(account=place.vendor_api["id"], route="rotate"))


def test_nothing_is_replaced_in_place_while_a_hold_stands(vendor, place, people, in_place):
    """B21: that call would kill the old key, so it is not made, agreed to or not."""
    hold = holds.place(people.owner, in_place, WHY).hold
    rotation = started(people.owner, in_place, reason=Reason.LEAK)
    assert drive(rotation, waits).step == Step.GENERATE
    assert replacements(vendor, place) == 0
    lift(people, hold)
    assert drive(rotation).step == Step.DONE
    assert replacements(vendor, place) == 1


@pytest.mark.parametrize("point", ["swap_intent.before", "swap_intent.after"])
def test_a_hold_set_while_a_worker_is_about_to_replace_is_in_time(
    stack, vendor, place, people, in_place, point
):
    rotation = started(people.owner, in_place, reason=Reason.LEAK, overlap_seconds=7)
    with frozen_worker(stack, rotation, point):
        Rotation.objects.filter(pk=rotation.pk).update(
            claimed_until=timezone.now() + timedelta(minutes=5)
        )
        holds.place(people.owner, in_place, WHY)
    assert drive(rotation, waits).step == Step.GENERATE
    assert replacements(vendor, place) == 0
    assert rotation.overlap_seconds == (7 if point == "swap_intent.before" else 0)
    assert not Intent.objects.exists()
    assert not HumanTask.objects.filter(kind="paste", closed_at=None).exists()


def test_a_cancelled_rotation_leaves_the_new_key_alive(vendor, place, people):
    """B21: the way back ends nothing either."""
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key)
    drive(rotation, lambda one: one.new_version is not None)
    assert rotation.step == Step.GENERATE
    hold = holds.place(people.owner, key, WHY).hold
    lifecycle.cancel(people.operator, rotation)
    assert drive(rotation, waits).step == Step.ROLL_BACK
    assert alive(vendor, place) == 2
    assert not Intent.objects.filter(kind=Intent.Kind.DELETE).exists()
    lift(people, hold)
    assert drive(rotation).step == Step.CANCELLED
    assert alive(vendor, place) == 1


def test_a_key_whose_rotation_waits_for_a_hold_is_watched_meanwhile(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    holds.place(people.owner, key, WHY)
    drive(started(people.operator, key, reason=Reason.LEAK), waits)
    key_checks.claim_due()
    KeyCheckSchedule.objects.update(next_check_at=timezone.now() - timedelta(minutes=1))
    assert key_checks.claim_due() == [key.pk]


def test_a_new_key_that_is_refused_goes_back_to_the_old_one_and_is_kept(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    old = key.current_id
    rotation = drive(started(people.operator, key), lambda one: one.step == Step.VERIFY)
    holds.place(people.owner, key, WHY)
    drive(rotation, waits)
    new = rotation.new_version
    vendor.delete_key(new.vendor_id)
    drive(rotation, lambda one: one.step == Step.ROLL_BACK and waits(one))
    key.refresh_from_db()
    new.refresh_from_db()
    assert (key.current_id, new.state, new.destroyed_at) == (old, VersionState.PREVIOUS, None)


def test_a_refused_standby_is_not_thrown_away(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    made = vendor.create_key(place.vendor_api["id"])
    standby = manual_keys.add_standby(people.operator, key, made["key"]).version
    vendor.delete_key(made["id"])
    holds.place(people.owner, key, WHY)
    rotation = drive(started(people.operator, key, reason=Reason.LEAK), waits)
    standby.refresh_from_db()
    assert (standby.state, standby.destroyed_at) == (VersionState.STANDBY, None)
    assert rotation.new_version_id != standby.pk


def test_reconcile_and_off_boarding_advise_to_delete_nothing_of_it(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    drive(started(people.operator, key, reason=Reason.LEAK))
    key.refresh_from_db()
    leaver = grant(make_member("leaver@example.com"), Role.OPERATOR, application=place.application)
    made = vendor.create_key(place.vendor_api["id"])
    standby = manual_keys.add_standby(leaver, key, made["key"]).version
    old = key.versions.get(number=1)
    KeyVersion.objects.filter(pk=old.pk).update(vendor_id=made["id"])
    holds.place(people.owner, key, WHY)
    found = [
        one for one in reconciliation.reconcile().findings if one.kind == "alive_after_deletion"
    ]
    assert [one.do for one in found] == [
        "Its key is on hold: delete nothing of it, at the vendor or in Vault, until an owner lifts "
        "the hold."
    ]
    offboarding.off_board(people.owner, leaver, heir=people.owner)
    text = HumanTask.objects.get(about=f"standby of a leaver {standby.pk}").text
    assert "on hold" in text
    assert "Delete it" not in text


def test_an_owner_sets_it_and_a_second_one_agrees_before_it_is_lifted(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    for who in (people.operator, people.developer, people.viewer):
        with pytest.raises(Denied):
            holds.place(who, key, WHY)
    with pytest.raises(BadInput):
        holds.place(people.owner, key, "  x ")
    with pytest.raises(BadInput):
        holds.place(people.owner, key, WHY, timezone.now() - timedelta(seconds=1))
    hold = holds.place(people.owner, key, WHY).hold
    second = grant(make_member("second@example.com"), Role.OWNER)
    with pytest.raises(Denied):
        holds.lift(people.operator, hold, "no longer needed")
    with pytest.raises(NeedsApproval):
        holds.lift(people.owner, hold, "no longer needed")
    assert hold_status.holds_on(key.pk) == [hold]
    from keyvault.access import approvals

    approvals.decide(second, Approval.objects.get(), granted=True)
    with pytest.raises(NeedsApproval):
        holds.lift(people.owner, hold, "for another reason")
    holds.lift(people.owner, hold, "no longer needed")
    with pytest.raises(Conflict):
        holds.lift(people.owner, hold, "no longer needed")
    rows = AuditEvent.objects.filter(action__startswith="hold.").order_by("seq")
    assert [row.action for row in rows] == ["hold.set", "hold.lifted"]


def test_pages_api_and_command_show_it(vendor, place, people):
    key = make_key(vendor, place, people.owner)
    other = make_key(vendor, place, people.owner)
    owner = Api(people.owner)
    made = owner.post("holds/", {"key": key.pk, "reason": WHY})
    assert (made.status, made.json["late"]) == (201, [])
    assert owner.get(f"keys/{key.pk}/").json["on_hold"] is True
    listed = {one["id"]: one["on_hold"] for one in owner.get("keys/").json["results"]}
    assert listed == {key.pk: True, other.pk: False}
    assert len(owner.get("keys/?on_hold=true").json["results"]) == 1
    assert len(Api(people.viewer).get("holds/?open=true").json["results"]) == 1
    assert Api(people.outsider).get("holds/").json["results"] == []
    assert Api(people.operator).post("holds/", {"key": key.pk, "reason": WHY}).status == 403
    client = sign_in(Client(), people.owner)
    assert WHY in client.get(f"/keys/{key.pk}/").content.decode()
    page = client.get("/keys/?state=held").content.decode()
    assert key.name in page
    assert other.name not in page
    plan(people.owner, key)
    assert "On hold" in client.get("/calendar/").content.decode()
    assert WHY in call("holdkey", key.pk, "--by", people.owner.email).out
    number = made.json["hold"]["id"]
    lifted = owner.post(f"holds/{number}/lift", {"reason": "the case is closed"})
    assert lifted.json["lifted_why"] == "the case is closed"
    assert owner.get("holds/?open=true").json["results"] == []
    posted = client.post(f"/keys/{key.pk}/hold", {"hold-reason": "Audit of 2027"})
    assert posted.status_code == 302
    (hold,) = hold_status.holds_on(key.pk)
    client.post(f"/holds/{hold.pk}/lift", {"reason": "the audit is over"})
    assert not hold_status.holds_on(key.pk)


def test_a_key_that_waits_for_its_hold_takes_up_no_turn(vendor, place, people):
    """A hold may last for years; the other keys of the application rotate all the same."""
    key, sibling = make_key(vendor, place, people.owner), make_key(vendor, place, people.owner)
    holds.place(people.owner, key, WHY)
    rotation = drive(started(people.operator, key, reason=Reason.LEAK), waits)
    hurry(rotation)
    policy = plan(people.owner, sibling)
    assert blockers.blocker_of(policy) is None
    assert scheduler.start_due() == 1
