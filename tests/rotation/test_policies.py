"""Policies start rotations by themselves: once each, once for all missed, never a storm."""

import threading
from datetime import UTC, datetime, time, timedelta

import pytest
import time_machine
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from keyvault.core.errors import BadInput, Denied
from keyvault.models import KeyVersion
from rotation.engine import blockers, lifecycle, scheduler
from rotation.models import Outage, Reason, Rotation, RotationPolicy, Step, WaitingFor
from rotation.scheduling import policies
from rotation.scheduling.freeze_days import Freezes
from tests.factories import lone_key, make_key
from tests.pages import as_
from tests.rotation.driving import drive

WISH = policies.Wish(
    every_days=30,
    at_time=time(2, 30),
    time_zone="Europe/Berlin",
    overlap_seconds=0,
    quiet_seconds=1,
)


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner)


def make_due(*keys):
    RotationPolicy.objects.filter(key__in=keys).update(
        next_run_at=timezone.now() - timedelta(minutes=1)
    )


def test_the_first_run_is_counted_from_the_last_rotation(people, key):
    """B47: from stored facts, never from when a process started."""
    policy = policies.set_policy(people.operator, key, WISH)
    local = policy.next_run_at.astimezone(__import__("zoneinfo").ZoneInfo("Europe/Berlin"))
    assert (local.hour, local.minute) == (2, 30)
    assert (local.date() - key.created_at.astimezone(local.tzinfo).date()).days == 30


def test_a_due_key_is_started_once_and_rotates(vendor, place, people, key):
    policies.set_policy(people.operator, key, WISH)
    make_due(key)
    assert scheduler.start_due() == 1
    assert scheduler.start_due() == 0
    rotation = drive(Rotation.objects.get(key=key))
    assert (rotation.step, rotation.reason) == (Step.DONE, "schedule")
    assert RotationPolicy.objects.get(key=key).next_run_at > timezone.now() + timedelta(days=28)


def test_a_missed_window_is_made_up_for_once(people, key):
    """B46: after months of downtime one run, not one for each missed time."""
    policies.set_policy(people.operator, key, WISH)
    with time_machine.travel(timezone.now() + timedelta(days=200), tick=False):
        assert scheduler.start_due() == 1
        Rotation.objects.update(step=Step.CANCELLED, finished_at=timezone.now())
        assert scheduler.start_due() == 0
    assert Rotation.objects.count() == 1


def test_two_schedulers_start_it_once(people, key):
    """B49: the due-check and the claim are one database step."""
    policies.set_policy(people.operator, key, WISH)
    make_due(key)
    started = []
    gate = threading.Barrier(4)

    def run():
        gate.wait()
        started.append(scheduler.start_due())
        connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(started) == 1
    assert Rotation.objects.count() == 1


def test_a_key_with_an_open_rotation_is_not_started_twice(people, key):
    from rotation.engine import lifecycle

    policies.set_policy(people.operator, key, WISH)
    lifecycle.start(people.operator, key)
    make_due(key)
    assert scheduler.start_due() == 0
    assert RotationPolicy.objects.get(key=key).next_run_at > timezone.now()
    assert Rotation.objects.count() == 1


def test_downtime_does_not_end_in_a_storm(vendor, place, people):
    """B46: everything is overdue at once; the caps hold and nothing is dropped."""
    keys = [lone_key(vendor, place, people.owner) for _ in range(6)]
    for key in keys:
        policies.set_policy(people.owner, key, WISH)
    make_due(*keys)
    with override_settings(MAX_STARTS_PER_TICK=2, MAX_ROTATIONS_PER_ACCOUNT=3):
        assert scheduler.start_due() == 2
        assert scheduler.start_due() == 1
        assert scheduler.start_due() == 0
        Rotation.objects.update(step=Step.CANCELLED, finished_at=timezone.now())
        assert scheduler.start_due() == 2
        assert scheduler.start_due() == 1
    assert Rotation.objects.values("key").distinct().count() == 6


def test_two_keys_of_one_application_rotate_in_turn(vendor, place, people):
    """Unless a person asks: one whose key waits for a person at the vendor holds up no other."""
    keys = [make_key(vendor, place, people.owner, name=f"turn-{number}") for number in range(3)]
    for key in keys:
        policies.set_policy(people.operator, key, WISH)
    make_due(*keys)
    assert scheduler.start_due() == 1
    assert scheduler.start_due() == 0
    first = Rotation.objects.get()
    assert lifecycle.start(people.operator, keys[2], Reason.MANUAL)[1], "a person may"
    Rotation.objects.exclude(pk=first.pk).delete()
    Rotation.objects.update(waiting_for=WaitingFor.KEY)
    assert scheduler.start_due() == 1
    assert scheduler.start_due() == 0
    held = blockers.blocker_of(RotationPolicy.objects.exclude(key__rotations__isnull=False).get())
    assert held is not None
    assert "Two keys of one application never move at the same time" in held.text
    waits = next(one for one in keys if not Rotation.objects.filter(key=one).exists())
    KeyVersion.objects.filter(key=waits).update(expires_at=timezone.now() + timedelta(hours=20))
    assert scheduler.start_due() == 1, "one that is about to end waits for no other"


def test_a_policy_that_was_seen_as_due_is_looked_at_again(people, key):
    """B49: another scheduler was faster, or a person switched it off: the claim sees it, not memory."""
    policy = policies.set_policy(people.operator, key, WISH)
    assert scheduler._start_one(policy.pk, Freezes()) == 0
    make_due(key)
    RotationPolicy.objects.update(enabled=False)
    assert scheduler._start_one(policy.pk, Freezes()) == 0
    assert not Rotation.objects.exists()


def test_a_disabled_policy_starts_nothing(people, key):
    policies.set_policy(people.operator, key, WISH)
    RotationPolicy.objects.update(enabled=False)
    make_due(key)
    assert scheduler.start_due() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"every_days": 0},
        {"every_days": 4000},
        {"time_zone": "Middle/Earth"},
        {"overlap_seconds": -1},
        {"quiet_seconds": 0},
        {"every_days": 1, "overlap_seconds": 7 * 86400},
        {"every_days": 1, "overlap_seconds": 80000, "quiet_seconds": 80000},
    ],
)
def test_contradictory_policies_are_refused(people, key, change):
    """B71: an overlap longer than the interval could delete instead of rotate."""
    wish = policies.Wish(**{**vars(WISH), **change})
    with pytest.raises(BadInput):
        policies.set_policy(people.operator, key, wish)
    assert not RotationPolicy.objects.exists()


def test_a_quiet_period_that_shows_nothing_is_refused(people, key):
    """B118: it could pass between two uses that the vendor, which rounds to an hour, tells apart."""
    key.account.settings = {"last_use_resolution_seconds": 3600, "last_use_lag_seconds": 60}
    key.account.save()
    with pytest.raises(BadInput, match="to 3600 seconds and 60 seconds late"):
        policies.set_policy(people.operator, key, policies.Wish(30, quiet_seconds=7259))
    assert not RotationPolicy.objects.exists()
    assert policies.set_policy(people.operator, key, policies.Wish(30, quiet_seconds=7260))


def test_where_no_last_use_is_told_any_quiet_period_will_do(vendor, place, people):
    key = make_key(vendor, place, people.owner, manual=True)
    key.account.settings = {"last_use_resolution_seconds": 3600}
    key.account.save()
    assert policies.set_policy(people.operator, key, policies.Wish(30, quiet_seconds=1))


def test_a_viewer_cannot_set_a_policy(people, key):
    with pytest.raises(Denied):
        policies.set_policy(people.viewer, key, WISH)


def test_a_change_takes_effect_at_once(people, key):
    """B83: no restart, no signal: the due time is in the row."""
    policies.set_policy(people.operator, key, WISH)
    policies.set_policy(people.operator, key, policies.Wish(**{**vars(WISH), "every_days": 1}))
    due = RotationPolicy.objects.get(key=key).next_run_at
    assert due < datetime.now(UTC) + timedelta(days=2, hours=3)


def test_an_overdue_key_says_what_holds_it(client, vendor, place, people):
    """Why it waits, since when, and who can do what; nothing is said of one that waits for nothing."""
    first, second = (lone_key(vendor, place, people.owner) for _ in range(2))
    for key in (first, second):
        policies.set_policy(people.owner, key, WISH)
    assert blockers.blocker_of(RotationPolicy.objects.get(key=second)) is None, "it is not due"
    make_due(first, second)
    assert blockers.blocker_of(RotationPolicy.objects.get(key=second)) is None, (
        "the next tick starts it"
    )
    with override_settings(MAX_ROTATIONS_PER_ACCOUNT=1):
        assert scheduler.start_due() == 1
        waits = RotationPolicy.objects.get(next_run_at__lt=timezone.now())
        held = blockers.blocker_of(waits)
        assert held is not None
        assert "As many rotations run at Sandbox as may (1)" in held.text
        page = as_(client, people.owner).get(f"/keys/{waits.key_id}/").content.decode()
        assert "it begins when one of them ends" in page
    Outage.objects.create(
        account=place.api_account,
        failing_since=timezone.now(),
        next_try_at=timezone.now(),
        told_at=timezone.now(),
    )
    held = blockers.blocker_of(waits)
    assert held is not None
    assert "does not answer" in held.text
