"""Real workers: a nudge is only a nudge, and Postgres finds what the broker forgot."""

import inspect

import redis

from rotation import queue, tasks
from rotation.engine import lifecycle
from rotation.models import Heartbeat, Rotation, Step
from tests.factories import make_key
from tests.oracle import assert_all_is_well, creates
from tests.waiting import until


def done(rotation):
    return Rotation.objects.get(pk=rotation.pk).step == Step.DONE


def test_workers_finish_a_rotation_by_themselves(vendor, place, people, worker):
    key = make_key(vendor, place, people.owner)
    rotation, _ = lifecycle.start(people.operator, key)
    until(lambda: done(rotation), 30, "the rotation")
    assert Heartbeat.objects.filter(name="tick").exists()
    assert_all_is_well(vendor, place)


def test_losing_every_message_costs_seconds_and_no_key(stack, vendor, place, people, worker):
    """B100: the queue is emptied again and again while rotations run."""
    client = redis.Redis.from_url(stack.valkey.client_url)
    rotations = []
    for _ in range(3):
        key = make_key(vendor, place, people.owner)
        rotations.append(lifecycle.start(people.operator, key)[0])
        client.delete("celery")

    def all_done():
        client.delete("celery")
        return all(done(rotation) for rotation in rotations)

    until(all_done, 60, "three rotations without a queue")
    assert creates(vendor, place.vendor_api) == 3
    assert_all_is_well(vendor, place)


def test_repeated_messages_change_nothing(vendor, place, people, worker):
    """B04, I9: the same message many times over makes one key."""
    key = make_key(vendor, place, people.owner)
    rotation, _ = lifecycle.start(people.operator, key)
    for _ in range(20):
        queue.send("rotation.advance", rotation.pk)
    until(lambda: done(rotation), 30, "the rotation")
    for _ in range(5):
        queue.send("rotation.advance", rotation.pk)
    assert creates(vendor, place.vendor_api) == 1
    assert_all_is_well(vendor, place)


def test_a_rotation_that_was_rolled_back_never_runs(vendor, place, people, worker):
    """B84: the message leaves after the commit, so a row that never was is never worked on."""
    from django.db import transaction

    key = make_key(vendor, place, people.owner)
    try:
        with transaction.atomic():
            lifecycle.start(people.operator, key)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert not Rotation.objects.exists()
    assert creates(vendor, place.vendor_api) == 0


def test_work_goes_on_after_the_whole_worker_is_killed(stack, vendor, place, people, worker):
    """F2, B91: a dead worker's claim ends with its lease; nobody has to clear anything."""
    from tests.conftest import Process

    key = make_key(vendor, place, people.owner)
    vendor.fault("create", times=1, kind="delay", seconds=2.0)
    rotation, _ = lifecycle.start(people.operator, key)
    until(lambda: Rotation.objects.get(pk=rotation.pk).claimed_until, 20, "a claim")
    worker.kill()
    Rotation.objects.filter(pk=rotation.pk).update(claimed_until="2020-01-01T00:00:00Z")
    fresh = Process(
        stack,
        "worker",
        [
            "celery",
            "-A",
            "keyvault",
            "worker",
            "-B",
            "-c",
            "2",
            "-s",
            str(stack.folder / "beat-second"),
        ],
    )
    try:
        until(lambda: done(rotation), 60, "the rotation")
    finally:
        fresh.stop()
    assert_all_is_well(vendor, place)


def test_every_task_takes_ids_and_nothing_else():
    """B25, TM-1: no argument of a task can carry a secret."""
    from celery import current_app

    ours = [task for name, task in current_app.tasks.items() if name.startswith("rotation.")]
    assert {task.name for task in ours} >= {"rotation.tick", "rotation.advance", "rotation.deliver"}
    for task in ours:
        for parameter in inspect.signature(task.run).parameters.values():
            assert parameter.annotation is int, f"{task.name} takes {parameter}"
    assert tasks.tick.ignore_result
