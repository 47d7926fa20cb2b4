"""The door to rotations: allowed and refused moves, who may, and what is left behind."""

import threading

import pytest
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from keyvault.audit.actors import system_actor
from keyvault.audit.models import Action, AuditEvent
from keyvault.core.errors import Conflict, Denied, KeyServiceError
from keyvault.models import KeyVersion
from keyvault.vendors.base import REFUSED, CheckResult
from rotation import queue
from rotation.engine import lifecycle, runner
from rotation.engine.lease import ClaimLost, claim
from rotation.engine.outcomes import Move, Wait
from rotation.engine.transitions import MOVES, apply_outcome
from rotation.human_tasks import open_alert, open_task
from rotation.models import ENDS, OPEN_STEPS, HumanTask, Intent, Rotation, Step, WaitingFor
from tests.factories import make_key, secret_of
from tests.keyvault.vault import inspector
from tests.oracle import assert_all_is_well, assert_current_is_accepted, creates
from tests.rotation.driving import drive, started, step


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def at(key, where, **options):
    """Insert a rotation that stands at `where`, due now."""
    now = timezone.now()
    proofs = {"verified_at": now, "adopted_at": now} if where == Step.DELETE else {}
    end = {"finished_at": now} if where in ENDS else {"due_at": now}
    return Rotation.objects.create(
        key=key,
        reason="manual",
        step=where,
        overlap_seconds=0,
        quiet_seconds=1,
        step_since=now,
        old_version=key.current,
        **{**proofs, **end, **options},
    )


ALL_MOVES = [(old, new) for old in OPEN_STEPS for new in Step]


@pytest.mark.parametrize(("old", "new"), ALL_MOVES)
def test_only_the_listed_moves_are_possible(key, old, new):
    """AC-8: no step can be skipped, repeated or reordered."""
    rotation = at(key, old)
    held = claim(rotation.pk)
    if new in MOVES[old]:
        if new == Step.DELETE:
            held.write(verified_at=timezone.now(), adopted_at=timezone.now())
        apply_outcome(held, Move(new))
        rotation.refresh_from_db()
        assert rotation.step == new
        return
    with pytest.raises(RuntimeError, match="cannot move"):
        apply_outcome(held, Move(new))
    rotation.refresh_from_db()
    assert rotation.step == old


def test_the_database_refuses_a_delete_without_proof(key):
    """TM-30: even a hand-written UPDATE cannot reach delete before verification and adoption."""
    rotation = at(key, Step.VERIFY)
    with pytest.raises(IntegrityError, match="rotation_delete_was_adopted"), transaction.atomic():
        Rotation.objects.filter(pk=rotation.pk).update(step=Step.DELETE)


def test_the_database_holds_one_open_rotation_a_key(key):
    at(key, Step.GENERATE)
    with pytest.raises(IntegrityError, match="rotation_one_open"), transaction.atomic():
        at(key, Step.VERIFY)


def test_a_state_set_by_hand_deletes_nothing(vendor, place, people, key):
    """TM-30: the preconditions are looked at anew, not believed from the step."""
    rotation = at(key, Step.DELETE, new_version=key.current)
    for _ in range(3):
        step(rotation)
    assert rotation.step == Step.DELETE
    assert not Intent.objects.exists()
    assert_current_is_accepted(vendor, place)


def test_a_pointer_set_back_by_hand_stops_the_delete(vendor, place, people, key):
    """TM-30: consumers get the old key again, whoever did that, so it must not be deleted."""
    rotation = started(people.operator, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    type(key).objects.filter(pk=key.pk).update(current=rotation.old_version)
    Rotation.objects.filter(pk=rotation.pk).update(overlap_seconds=0)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.PERSON)
    assert "current version changed" in rotation.waiting_text
    assert not Intent.objects.filter(kind="delete").exists()
    assert_current_is_accepted(vendor, place)


def test_an_id_that_two_keys_share_is_never_deleted_by_program(vendor, place, people, key):
    """A vendor may keep the id of a key that it replaces: deleting by it would end the new one."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.step == Step.VERIFY)
    KeyVersion.objects.filter(pk=rotation.new_version_id).update(
        vendor_id=rotation.old_version.vendor_id
    )
    drive(rotation, lambda r: r.waiting_for == WaitingFor.DELETION)
    routes = {entry["route"] for entry in vendor.ledger(account=place.vendor_api["id"])}
    assert not routes & {"delete", "disable"}
    assert_current_is_accepted(vendor, place)


def test_the_old_key_is_not_ended_when_vault_has_not_the_new_one(stack, vendor, people, key):
    """Not even where the intent to end it is committed: applications could never fetch the new one."""
    rotation = started(people.operator, key)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.QUIET)
    old, new = rotation.old_version, rotation.new_version
    Intent.objects.create(
        rotation=rotation, kind="delete", version=old, fence=0, vendor_id=old.vendor_id
    )
    Rotation.objects.filter(pk=rotation.pk).update(step=Step.DELETE, adopted_at=timezone.now())
    inspector(stack.openbao).secrets.kv.v2.delete_metadata_and_all_versions(
        f"keys/{new.path}", mount_point="keyvault"
    )
    drive(rotation)
    assert rotation.step == Step.FAILED
    key.refresh_from_db()
    assert key.current == old
    assert vendor.use(secret_of(old)) == 200


def test_a_stale_claim_can_write_nothing(key):
    """F4: the fence of a worker that lost its lease matches no row."""
    rotation = at(key, Step.GENERATE)
    stale = claim(rotation.pk)
    Rotation.objects.filter(pk=rotation.pk).update(claimed_until="2020-01-01T00:00:00Z")
    fresh = claim(rotation.pk)
    assert fresh.fence == stale.fence + 1

    def work_in_a_transaction():
        with stale.transaction():
            pytest.fail("a stale claim was let in")

    for act in (
        work_in_a_transaction,
        lambda: stale.write(last_error="late"),
        lambda: apply_outcome(stale, Move(Step.UPDATE)),
        lambda: apply_outcome(stale, Wait(WaitingFor.NOTHING, "", 0.0)),
    ):
        with pytest.raises(ClaimLost):
            act()
    assert not stale.still_ours()
    assert fresh.still_ours()
    rotation.refresh_from_db()
    assert (rotation.step, rotation.last_error) == (Step.GENERATE, "")


def test_a_transaction_of_a_claim_holds_the_row_until_it_ends(people, key):
    """B50: a cancel that comes while the secret is being published waits, and then comes too late."""
    rotation = at(key, Step.GENERATE)
    held, said = claim(rotation.pk), []

    def cancel():
        try:
            lifecycle.cancel(people.operator, rotation)
        except Conflict as error:
            said.append(error.message)
        finally:
            connections.close_all()

    with held.transaction():
        other = threading.Thread(target=cancel)
        other.start()
        other.join(0.5)
        assert other.is_alive(), "it did not wait"
        held.write(step=Step.UPDATE)
    other.join(10)
    assert "can no longer be cancelled" in said[0]
    assert held.rotation.cancelling is False


def test_a_verdict_is_saved_with_what_it_led_to_and_never_by_a_stale_worker(key):
    rotation, version = at(key, Step.GENERATE), key.current
    stale = claim(rotation.pk)
    Rotation.objects.filter(pk=rotation.pk).update(claimed_until="2020-01-01T00:00:00Z")
    fresh = claim(rotation.pk)
    for held, text in ((fresh, "of now"), (stale, "of before")):
        held.note_check(KeyVersion.objects.get(pk=version.pk), CheckResult(REFUSED, text))
    version.refresh_from_db()
    assert version.check_answer == "valid"
    apply_outcome(fresh, Wait(WaitingFor.VENDOR, "", 0.0))
    with pytest.raises(ClaimLost):
        apply_outcome(stale, Wait(WaitingFor.VENDOR, "", 0.0))
    version.refresh_from_db()
    assert (version.check_answer, version.check_text) == (REFUSED, "of now")


def test_a_claimed_rotation_is_not_claimed_again(key):
    rotation = at(key, Step.GENERATE)
    assert claim(rotation.pk)
    assert claim(rotation.pk) is None
    assert queue.due() == []


def test_an_event_during_a_step_is_not_lost(key):
    """A wake-up that comes while the worker is busy makes the rotation due again at once."""
    rotation = at(key, Step.GENERATE)
    held = claim(rotation.pk)
    queue.look_now(rotation)
    apply_outcome(held, Wait(WaitingFor.KEY, "waits for a person", None))
    rotation.refresh_from_db()
    assert rotation.due_at is not None
    assert queue.due() == [rotation.pk]


def test_a_cancel_during_generate_keeps_consumers_on_the_old_key(people, key):
    """B50: the cancel wins over the move to update, whoever commits last."""
    rotation = at(key, Step.GENERATE)
    held = claim(rotation.pk)
    lifecycle.cancel(people.operator, rotation)
    apply_outcome(held, Move(Step.UPDATE, "The vendor accepts the new key."))
    rotation.refresh_from_db()
    assert rotation.step == Step.GENERATE
    drive(rotation)
    assert rotation.step == Step.CANCELLED


@pytest.mark.parametrize("where", [s for s in Step if s != Step.GENERATE])
def test_cancelling_is_for_the_time_before_the_switch(people, key, where):
    """B99: a cancel that comes too late changes nothing, and says where the rotation is."""
    rotation = at(key, where)
    with pytest.raises(Conflict, match="can no longer be cancelled"):
        lifecycle.cancel(people.operator, rotation)
    assert not AuditEvent.objects.filter(action=Action.ROTATION_CANCELLED).exists()


def test_twenty_at_once_make_one_rotation(vendor, place, people, key):
    """B39: one starts it, nineteen join it, the vendor makes one key."""
    results, gate = [], threading.Barrier(20)

    def press():
        gate.wait()
        results.append(lifecycle.start(people.operator, key, overlap_seconds=0))
        connections.close_all()

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new for _, new in results) == 1
    assert len({rotation.pk for rotation, _ in results}) == 1
    drive(results[0][0])
    assert creates(vendor, place.vendor_api) == 1


def test_two_workers_make_one_key(vendor, place, people, key):
    rotation = started(people.operator, key)

    def work():
        for _ in range(60):
            Rotation.objects.filter(pk=rotation.pk, due_at__isnull=False).update(
                due_at=timezone.now()
            )
            runner.advance(rotation.pk)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drive(rotation)
    assert rotation.step == Step.DONE
    assert creates(vendor, place.vendor_api) == 1
    assert_all_is_well(vendor, place)


def test_two_waivers_at_once_are_one(people, key):
    """B99: exactly one of two takes responsibility; the other is told."""
    rotation = at(key, Step.VERIFY)
    results, gate = [], threading.Barrier(2)

    def press(member):
        gate.wait()
        try:
            lifecycle.waive(member, rotation, "I looked at every server")
            results.append("waived")
        except Conflict:
            results.append("too late")
        connections.close_all()

    threads = [threading.Thread(target=press, args=(m,)) for m in (people.operator, people.owner)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["too late", "waived"]
    assert AuditEvent.objects.filter(action=Action.ADOPTION_WAIVED).count() == 1


@pytest.mark.parametrize("who", ["viewer", "developer", "auditor", "outsider"])
def test_only_operators_and_owners_move_rotations(people, key, who):
    member, rotation = getattr(people, who), at(key, Step.VERIFY)
    for act in (
        lambda: lifecycle.start(member, key),
        lambda: lifecycle.cancel(member, rotation),
        lambda: lifecycle.retry(member, rotation),
        lambda: lifecycle.waive(member, rotation, "because I say so"),
    ):
        with pytest.raises((Denied, KeyServiceError)):
            act()
    rotation.refresh_from_db()
    assert (rotation.wake, rotation.waived_at) == (0, None)


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_nothing_pending_is_left_behind(vendor, place, people, key, end):
    """B92: after any end there is one current version and no pending one, and the next run works."""
    rotation = started(people.operator, key)
    if end == "failed":
        people.operator.grants.all().delete()
    if end == "cancelled":
        drive(rotation, lambda r: r.new_version_id is not None)
        lifecycle.cancel(people.operator, rotation)
    drive(rotation)
    assert rotation.step == end
    states = list(KeyVersion.objects.filter(key=key).values_list("state", flat=True))
    assert states.count("current") == 1
    assert "pending" not in states
    again = drive(started(people.owner, key))
    assert again.step == Step.DONE
    assert_all_is_well(vendor, place)


def test_every_act_has_an_actor(vendor, place, people, key):
    """B86: background work is recorded as the system's, for a reason and on someone's behalf."""
    drive(started(people.operator, key))
    events = AuditEvent.objects.exclude(actor_kind="member")
    assert events.count() > 4
    for event in events:
        assert event.actor_label.startswith("system: rotation ")
        assert '"on_behalf_of": "operator"' in event.payload


def test_no_audit_row_means_no_move(stack, people, key):
    """LO-4: when the log cannot be written, the step is not taken and is tried again."""
    rotation = at(key, Step.GENERATE)
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE audit_chainhead RENAME TO audit_away")
    try:
        from keyvault.audit.log import AuditUnavailable

        with pytest.raises(AuditUnavailable):
            lifecycle.cancel(people.operator, rotation)
        rotation.refresh_from_db()
        assert rotation.cancelling is False
    finally:
        with connections["owner"].cursor() as cursor:
            cursor.execute("ALTER TABLE audit_away RENAME TO audit_chainhead")


def test_a_success_closes_the_tasks_of_failed_runs_before_it_and_no_others(people, place, key):
    actor, other = system_actor("test"), at(neighbour_of(key), Step.FAILED)
    failed = at(key, Step.FAILED)
    for one in (failed, other):
        open_task(actor, one, HumanTask.Kind.LOOK, "look")
    open_alert(actor, HumanTask.Kind.FINDING, "of the key", "stays", key=key)
    drive(started(people.operator, key))
    closed = HumanTask.objects.filter(closed_at__isnull=False, kind=HumanTask.Kind.LOOK)
    assert [(task.rotation, task.outcome) for task in closed] == [
        (failed, "A later rotation succeeded.")
    ]
    left = HumanTask.objects.filter(closed_at__isnull=True).order_by("pk")
    assert [task.text for task in left] == ["look", "stays"]


def neighbour_of(key):
    """Return another key at the same place, without any secret."""
    return type(key).objects.create(
        account=key.account,
        environment=key.environment,
        application=key.application,
        name="another",
    )
