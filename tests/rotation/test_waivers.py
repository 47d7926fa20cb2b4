"""A waiver speaks for the holders that were left when the person gave it, and for nobody else."""

import pytest

from keyvault.audit.models import Action, AuditEvent
from keyvault.core.errors import Conflict
from keyvault.delivery import fetch, tokens
from rotation.consumers import holders, registry
from rotation.engine import holds, lifecycle, retirement
from rotation.models import HumanTask, Step, WaitingFor
from tests.factories import make_key
from tests.pages import as_, text
from tests.rotation.driving import drive, started, step

WHY = "billing-1 was switched off"


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def add(people, place, name):
    return registry.add_consumer(people.owner, name, place.application, place.environment)


@pytest.fixture
def waiting(people, place, key):
    """Return a rotation that waits for billing-1."""
    add(people, place, "billing-1")
    rotation = started(people.operator, key)
    return drive(rotation, lambda one: one.waiting_for == WaitingFor.ADOPTION)


def waits_for_late_1(rotation, at):
    for _ in range(3):
        step(rotation)
        assert (rotation.step, rotation.waiting_for) == (at, WaitingFor.ADOPTION)
    assert "late-1" in rotation.waiting_text
    assert "billing-1" not in rotation.waiting_text
    task = HumanTask.objects.get(rotation=rotation, kind="confirm", closed_at=None)
    assert "late-1" in task.text
    return task


def test_a_holder_that_appears_after_the_waiver_is_waited_for(place, people, waiting):
    lifecycle.waive(people.operator, waiting, WHY)
    add(people, place, "late-1")
    waits_for_late_1(waiting, Step.VERIFY)
    lifecycle.waive(people.operator, waiting, "late-1 never had the old key")
    assert drive(waiting).step == Step.DONE
    rows = AuditEvent.objects.filter(action=Action.ADOPTION_WAIVED).order_by("seq")
    assert ["late-1" in row.payload for row in rows] == [False, True]


def test_one_that_appears_before_the_end_of_the_old_key_is_waited_for(place, people, waiting):
    hold = holds.place(people.owner, waiting.key, "Audit of 2027").hold
    lifecycle.waive(people.operator, waiting, WHY)
    drive(waiting, lambda one: one.step == Step.DELETE and one.waiting_for == WaitingFor.HOLD)
    add(people, place, "late-1")
    holds.lift(people.owner, hold, "the case is closed")
    waits_for_late_1(waiting, Step.DELETE)
    lifecycle.waive(people.operator, waiting, "late-1 never had the old key")
    assert drive(waiting).step == Step.DONE


def test_a_waiver_is_given_twice_only_for_somebody_new(people, waiting):
    lifecycle.waive(people.operator, waiting, WHY)
    with pytest.raises(Conflict):
        lifecycle.waive(people.operator, waiting, "once more for the same")


def test_a_copy_that_comes_after_the_waiver_is_waited_for(place, people, key):
    """In a retirement the key is given out until it ends, so a new copy holds it as the first did."""
    _, token = tokens.issue(people.owner, "nightly", place.application, place.environment)
    fetch.fetch(token.reveal(), key.pk, instance="copy-1")
    rotation = retirement.retire(people.owner, key, "Nothing uses it any more.")
    drive(rotation, lambda one: bool(one.waiting_for) and one.step == Step.VERIFY)
    lifecycle.waive(people.owner, rotation, "copy-1 was switched off")
    fetch.fetch(token.reveal(), key.pk, instance="copy-2")
    step(rotation)
    assert (rotation.step, "nightly" in rotation.waiting_text) == (Step.VERIFY, True)
    lifecycle.waive(people.owner, rotation, "copy-2 was switched off too")
    assert drive(rotation).step == Step.DONE


def test_pages_and_api_name_for_whom_a_person_confirms(client, place, people, waiting):
    as_(client, people.operator)
    at = f"/rotations/{waiting.pk}/"
    assert "You confirm it for: billing-1." in text(client.get(at))
    lifecycle.waive(people.operator, waiting, WHY)
    waiting.refresh_from_db()
    assert "You confirm it for" not in text(client.get(at))
    add(people, place, "late-1")
    told = [(one.name, one.waived) for one in holders.of_rotation(waiting)]
    assert told == [("billing-1", True), ("late-1", False)]
    assert "You confirm it for: late-1." in text(client.get(at))
    task = waits_for_late_1(waiting, Step.VERIFY)
    assert "You confirm it for: late-1." in text(client.get(f"/tasks/{task.pk}/"))
