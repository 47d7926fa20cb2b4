"""Die at every named point, then let a fresh process go on: one live key, and everything known."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from rotation.models import Rotation, Step
from tests.conftest import ROOT
from tests.factories import make_key
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import drive, started
from tests.waiting import until

POINTS = (
    "intent.before",
    "intent.after",
    "create.after",
    "store.before",
    "store.after",
    "record.before",
    "record.after",
    "prove.before",
    "prove.after",
    "publish.before",
    "post_verify.before",
    "post_verify.after",
    "adoption.before",
    "adoption.after",
    "publish.after",
    "delete_intent.before",
    "delete_intent.after",
    "delete.before",
    "delete.after",
    "refused.before",
    "refused.after",
    "destroy.before",
    "destroy.after",
)
_RUN = """
import django, sys, time
django.setup()
from django.db.models.functions import Now
from rotation.engine import runner
from rotation.models import Rotation
pk = int(sys.argv[1])
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    Rotation.objects.filter(pk=pk, due_at__isnull=False).update(due_at=Now())
    runner.advance(pk)
    if not Rotation.objects.filter(pk=pk, finished_at=None).exclude(waiting_for="hold").exists():
        break
"""


def run_until_death(stack, rotation, crash_at):
    """Advance the rotation in a process that is armed to die; returns its exit status."""
    return run_code_until_death(stack, _RUN, crash_at, str(rotation.pk))


def run_code_until_death(stack, code, crash_at, *arguments):
    """Run code as a worker that is armed to die; returns its exit status."""
    environment = {
        **os.environ,
        **stack.environment("worker"),
        "CRASH_AT": crash_at,
        "DJANGO_SETTINGS_MODULE": "keyvault.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode


def let_the_lease_end(rotation):
    Rotation.objects.filter(pk=rotation.pk, claimed_until__isnull=False).update(
        claimed_until="2020-01-01T00:00:00Z"
    )


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_loses_no_key(stack, vendor, place, people, point):
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key)
    assert run_until_death(stack, rotation, point) == -signal.SIGKILL
    let_the_lease_end(rotation)
    with_new = drive(rotation, seconds=30)
    assert with_new.step == Step.DONE
    assert creates(vendor, place.vendor_api) <= 2
    alive = [k for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]
    assert len(alive) == 1
    assert_all_is_well(vendor, place)


@contextlib.contextmanager
def frozen_worker(stack, rotation, point):
    """Advance the rotation in a process that freezes at `point`, and is past its lease then.

    After the block it goes on, and must end in order.
    """
    environment = {
        **os.environ,
        **stack.environment("worker"),
        "CRASH_AT": f"{point}:hold",
        "DJANGO_SETTINGS_MODULE": "keyvault.settings",
    }
    frozen = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(rotation.pk)], cwd=ROOT, env=environment
    )
    try:
        until(lambda: _stopped(frozen.pid), what="the worker to freeze")
        let_the_lease_end(rotation)
        yield
        os.kill(frozen.pid, signal.SIGCONT)
        assert frozen.wait(30) == 0
    finally:
        if frozen.poll() is None:
            frozen.kill()
            frozen.wait()


@pytest.mark.parametrize("point", ["create.after", "store.after", "delete_intent.after"])
def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_wakes(
    stack, vendor, place, people, point
):
    """F4: SIGSTOP, another worker finishes the job, SIGCONT: the stale one stops by itself."""
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key)
    with frozen_worker(stack, rotation, point):
        drive(rotation, seconds=30)
        assert rotation.step == Step.DONE
    key.refresh_from_db()
    assert key.current_id == rotation.new_version_id
    assert_all_is_well(vendor, place)


def test_a_late_worker_deletes_the_key_that_no_list_showed(stack, vendor, place, people):
    """F4 with F20: the mark in Vault tells the stale worker that it lost, so its key dies with it."""
    place.api_account.settings = {"list_lag_seconds": 1}
    place.api_account.save()
    vendor.patch_account(place.vendor_api["id"], list_lag=300)
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key)
    with frozen_worker(stack, rotation, "create.after"):
        drive(rotation, seconds=30)
        assert rotation.step == Step.DONE
    alive = [k for k in vendor.keys(place.vendor_api["id"]) if k["accepted_now"]]
    assert len(alive) == 1
    assert_all_is_well(vendor, place)


def _stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"


def test_a_step_that_kills_its_worker_again_and_again_is_parked(stack, vendor, place, people):
    """B77: after three deaths a person is told; the work is not tried for ever."""
    key = make_key(vendor, place, people.owner)
    rotation = started(people.operator, key)
    for _ in range(3):
        assert run_until_death(stack, rotation, "prove.before") == -signal.SIGKILL
        let_the_lease_end(rotation)
    drive(rotation, lambda r: r.waiting_for == "person", seconds=5)
    assert "died" in rotation.waiting_text
    assert creates(vendor, place.vendor_api) == 1
