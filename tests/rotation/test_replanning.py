"""After a freeze begins or ends, the first keys are planned anew at once and the worker does the rest."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone

from keyvault.models import ApiKey
from rotation import tasks
from rotation.engine import scheduler
from rotation.models import ChangeFreeze, PolicyScope, ReplanProgress, Rotation, RotationPolicy
from rotation.scheduling import inheritance, policies, replanner
from rotation.scheduling.policies import Wish
from tests.factories import make_key
from tests.waiting import until

DAY = timedelta(days=1)


@pytest.fixture
def keys(vendor: Any, place: Any, people: Any) -> list[ApiKey]:
    """Return five keys that rotate every thirty days."""
    made = [make_key(vendor, place, people.owner) for _ in range(5)]
    for key in made:
        policies.set_policy(people.operator, key, Wish(30))
    return made


def freeze_around(at: Any, environment: Any = None) -> tuple[date, date]:
    """Put a freeze around a moment, as a person would, but plan nothing anew yet."""
    first, last = at.date() - DAY, at.date() + DAY
    ChangeFreeze.objects.create(name="f", first_day=first, last_day=last, environment=environment)
    return first, last


def planned_inside(first: date, last: date) -> int:
    runs = RotationPolicy.objects.values_list("next_run_at", flat=True)
    return sum(first <= at.date() <= last for at in runs if at)


def test_the_worker_carries_on_where_the_request_stopped(keys: list[ApiKey], people: Any) -> None:
    days = freeze_around(RotationPolicy.objects.get(key=keys[0]).next_run_at)
    assert planned_inside(*days) == 5
    replanner.replan(None, at_once=2)
    assert planned_inside(*days) == 3
    assert replanner.carry_on(at_once=2)
    assert planned_inside(*days) == 1
    assert not replanner.carry_on(at_once=2)
    assert planned_inside(*days) == 0
    assert not ReplanProgress.objects.exists()
    assert not replanner.carry_on()


def test_a_tick_does_it_and_other_environments_are_left_alone(
    keys: list[ApiKey], vendor: Any, place: Any, people: Any
) -> None:
    other = make_key(vendor, place, people.owner, environment=place.production)
    policies.set_policy(people.owner, other, Wish(30))
    days = freeze_around(RotationPolicy.objects.get(key=keys[0]).next_run_at, place.environment)
    replanner.replan(place.environment, at_once=1)
    RotationPolicy.objects.filter(key=other).update(next_run_at=None)
    tasks.tick()
    assert planned_inside(*days) == 0
    assert RotationPolicy.objects.get(key=other).next_run_at is None


def test_what_is_not_planned_anew_yet_does_not_begin_within_the_freeze(
    keys: list[ApiKey], people: Any
) -> None:
    _, last = freeze_around(timezone.now())
    replanner.replan(None, at_once=1)
    RotationPolicy.objects.filter(key=keys[4]).update(next_run_at=timezone.now())
    scheduler.start_due()
    assert not Rotation.objects.exists()
    moved_to = RotationPolicy.objects.get(key=keys[4]).next_run_at
    assert moved_to is not None
    assert moved_to.date() > last


def test_a_second_change_begins_anew_and_two_at_once_do_not_collide(
    keys: list[ApiKey], people: Any
) -> None:
    replanner.replan(None, at_once=3)
    replanner.replan(None, at_once=1)
    assert ReplanProgress.objects.get().applied_to == keys[0].pk
    failed: list[DatabaseError] = []

    def change() -> None:
        try:
            with transaction.atomic():
                replanner.replan(None, at_once=1)
        except DatabaseError as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=change) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert failed == []
    assert ReplanProgress.objects.get().applied_to == keys[0].pk


@pytest.mark.parametrize("carry_on", [inheritance.apply_next_scope, replanner.carry_on])
def test_the_worker_locks_in_the_order_of_the_request(
    keys: list[ApiKey], people: Any, carry_on: Any
) -> None:
    """Policies first, then the row: the other way round, each would wait for the other."""
    inheritance.set_scope(people.owner, None, Wish(90), at_once=1)
    replanner.replan(None, at_once=1)
    with a_worker_that_waits(carry_on):
        for rows in (PolicyScope.objects, ReplanProgress.objects):
            assert rows.select_for_update(nowait=True).first() is not None


def test_a_change_that_comes_while_the_worker_waits_is_not_passed_over(
    keys: list[ApiKey], people: Any
) -> None:
    inside = RotationPolicy.objects.get(key=keys[0]).next_run_at
    days = freeze_around(inside)
    replanner.replan(None, at_once=4)
    with a_worker_that_waits(replanner.carry_on):
        RotationPolicy.objects.filter(key=keys[1]).update(next_run_at=inside)
        ReplanProgress.objects.update(applied_to=0)
    assert planned_inside(*days) == 0


@contextmanager
def a_worker_that_waits(carry_on: Callable[[], bool]) -> Iterator[None]:
    """Hold policies within the block while a worker waits for them; it is through afterwards."""

    def work() -> None:
        carry_on()
        connections.close_all()

    worker = threading.Thread(target=work)
    with transaction.atomic():
        inheritance.lock_policies()
        worker.start()
        until(_somebody_waits_for_policies, what="the worker to wait")
        yield
    worker.join(20)
    assert not worker.is_alive()


def _somebody_waits_for_policies() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchone()[0])
