"""How the whole stands, from dates and rows: what is late shows although nothing runs."""

import os
import re
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
import redis
import yaml
from django.db import connection, connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from keyvault.vault import secret_store
from rotation import dependencies
from rotation.models import Heartbeat, Rotation, RotationPolicy, Step
from rotation.monitoring import metrics, status
from rotation.recovery import deletion_lock
from rotation.scheduling import policies
from tests.commands import manage
from tests.conftest import ROOT, Process
from tests.factories import make_key, secret_of
from tests.oracle import assert_all_is_well, creates
from tests.rotation.driving import started
from tests.waiting import until


def told(**headers):
    return status.all_problems()


def beat(name, **ago):
    Heartbeat.objects.update_or_create(
        name=name, defaults={"at": timezone.now() - timedelta(**ago)}
    )


@pytest.fixture
def alive(people):
    """Make everything look well."""
    beat("tick", seconds=1)
    beat("worker:celery@test", seconds=1)
    with override_settings(AUDIT_SIGNING_KEY="c2FtcGxlLXNhbXBsZS1zYW1wbGUtc2FtcGxlLTEyMzQ="):
        from keyvault.audit import checkpoints

        checkpoints.sign_checkpoint()


def test_all_is_well(alive):
    assert told() == []


def test_a_quiet_night_is_no_missing_checkpoint(alive, people):
    """X2: the oldest row that is not signed counts, not when something was last signed."""
    from dataclasses import replace

    from keyvault.audit.actors import member_actor
    from keyvault.audit.log import record_now
    from keyvault.audit.models import Action

    with connections["owner"].cursor() as cursor:
        cursor.execute("UPDATE audit_checkpoint SET created_at = now() - interval '9 hours'")
    assert told() == []
    record_now(Action.MEMBER_SIGNED_OUT, member_actor(people.owner), people.owner)
    assert told() == []
    seen = status.look()
    assert 0 < seen.oldest_unsealed_age < 60
    assert seen.unsealed_rows == 1
    late = replace(seen, oldest_unsealed_age=181.0)
    said = status.problems(late, dependencies.vault_state(), dependencies.broker_facts())
    assert said == ["No audit checkpoint was signed for 3 minutes: look at the worker's log."]


def test_a_loop_that_stands_still_and_an_unconsumed_queue_show_within_two_minutes(alive):
    """B42 (ii, iii): beat stopped, or no worker takes work."""
    beat("tick", minutes=2)
    beat("worker:celery@test", seconds=121)
    assert [text.split(":")[0] for text in told()] == [
        "The loop stands still",
        "No worker takes its work",
    ]


def test_an_overdue_key_shows_from_its_date_although_nothing_runs(alive, vendor, place, people):
    """B42: computed from when it was due, not from what a run reported."""
    key = make_key(vendor, place, people.owner)
    policies.set_policy(people.owner, key, policies.Wish(30, timezone.now().time(), "UTC", 0, 1))
    RotationPolicy.objects.update(next_run_at=timezone.now() - timedelta(hours=2))
    assert "1 keys are overdue for rotation." in told()
    assert sample("keyvault_keys_overdue") == 1
    RotationPolicy.objects.update(enabled=False)
    assert not any("overdue" in text for text in told())


def test_started_and_done_are_different_and_a_rotation_nobody_moves_shows(
    alive, vendor, place, people
):
    rotation = started(people.operator, make_key(vendor, place, people.owner))
    Rotation.objects.update(due_at=timezone.now() - timedelta(minutes=10))
    assert any("due for 10 minutes" in text for text in told())
    assert sample("keyvault_rotations_open", step="generate", waiting_for="") == 1
    assert sample("keyvault_rotations_ended", outcome="done") is None
    assert rotation.step == Step.GENERATE


def test_a_freeze_an_outage_and_a_broker_that_evicts_show(stack, alive):
    deletion_lock.roll_marker()
    deletion_lock.lock_deletions("The test restored something.")
    link = redis.Redis.from_url(stack.valkey.client_url)
    link.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert dependencies.broker_facts().evicts
        problems = told()
        assert "keyvault.W004" in manage(stack, "check", "--database", "default").err
    finally:
        link.config_set("maxmemory-policy", "noeviction")
    assert any(text.startswith("Deletion is frozen. The test") for text in problems)
    assert any("allkeys-lru" in text for text in problems), "B100"


def test_clocks_that_differ_show():
    seen = status.look()
    assert abs(seen.database_skew) < 2
    state = {**secret_store.health(), "server_time": 1_000_000_000}
    assert status.vault_skew(state) < -1000
    assert any(
        "Vault's clock" in t for t in status.problems(seen, state, dependencies.Broker(True))
    )
    assert not any(
        "clock" in t
        for t in status.problems(seen, secret_store.health(), dependencies.Broker(True))
    )


def test_words_are_for_owners_and_the_metrics_token_and_a_number_for_others(client, people, alive):
    beat("tick", minutes=5)
    assert client.get("/health/ready").json()["problems"] == 1
    with override_settings(METRICS_TOKEN="m" * 40):
        bearer = {"Authorization": "Bearer " + "m" * 40}
        assert client.get("/health/ready", headers=bearer).json()["problems"] == [
            "The loop stands still: look whether beat and worker run."
        ]
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer x"}).status_code == 401
        assert client.get("/metrics", headers=bearer).status_code == 200
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401
    client.force_login(people.operator)
    assert client.get("/metrics").status_code == 401
    client.force_login(people.owner)
    assert b"keyvault_keys" in client.get("/metrics").content


def sample(name, **labels):
    for family in text_string_to_metric_families(metrics.text().decode()):
        for one in family.samples:
            if one.name == name and one.labels == labels:
                return one.value
    return None


def test_a_scrape_asks_the_database_no_more_often_with_more_rows(vendor, place, people):
    for _ in range(3):
        started(people.operator, make_key(vendor, place, people.owner))
    with CaptureQueriesContext(connection) as asked:
        metrics.text()
    assert len(asked) <= 9


def test_every_alert_rule_names_metrics_that_there_are(alive, vendor, place, people):
    make_key(vendor, place, people.owner)
    known = {family.name for family in text_string_to_metric_families(metrics.text().decode())}
    rules = yaml.safe_load((ROOT / "docs/alerts.yml").read_text())["groups"][0]["rules"]
    assert len(rules) > 10
    for rule in rules:
        used = set(re.findall(r"keyvault_\w+", rule["expr"]))
        assert used
        assert used <= known, rule["alert"]


def test_every_worker_shows_by_itself_that_it_takes_work(stack, worker, database):
    """Each worker gets a copy of the pulse; the health check asks for its own name."""
    second = Process(
        stack, "worker", ["celery", "-A", "keyvault", "worker", "-c", "1", "-n", "second@here"]
    )
    try:
        until(
            lambda: Heartbeat.objects.filter(name__startswith="worker:").count() == 2,
            40,
            "both workers' pulses",
        )
    finally:
        second.stop()
    assert Heartbeat.objects.filter(name="worker:second@here").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL])
def test_a_deploy_in_the_middle_of_a_step_loses_nothing(stack, vendor, place, people, worker, how):
    """F19, F1: TERM lets the step end, QUIT does not, KILL takes the whole process group.

    Either way one key is made and known.
    """
    vendor.fault("create", times=1, kind="delay", seconds=1.5)
    rotation = started(people.operator, make_key(vendor, place, people.owner))
    until(lambda: vendor.faults()[0]["used"] == 1, 20, "the call to begin")
    os.killpg(worker.popen.pid, how) if how == signal.SIGKILL else os.kill(worker.popen.pid, how)
    worker.popen.wait(20)
    Rotation.objects.filter(claimed_until__isnull=False).update(
        claimed_until=timezone.now() - timedelta(seconds=1)
    )
    following = Process(stack, "worker", [*WORKER, "-s", str(stack.folder / f"beat-{how}")])
    try:
        until(
            lambda: Rotation.objects.filter(pk=rotation.pk, step=Step.DONE).exists(),
            60,
            "the rotation to end",
        )
    finally:
        following.stop()
    made = creates(vendor, place.vendor_api)
    assert made == 1 if how == signal.SIGTERM else made <= 2
    assert_all_is_well(vendor, place)


WORKER = ["celery", "-A", "keyvault", "worker", "-B", "-c", "2", "--loglevel", "INFO"]

FORKED = """
import json, os, sys, django
django.setup()
from keyvault.vault import secret_store
from keyvault.inventory import versions
from keyvault.models import KeyVersion
from django.db import connections
found = list(KeyVersion.objects.order_by("pk"))
assert [versions.read_secret(v) for v in found]   # the parent has used its login and sessions
connections.close_all()
children = []
for child in range(8):
    pid = os.fork()
    if pid == 0:
        mine = found[child:] + found[:child]
        # read_secret compares with the fingerprint: another's answer would be noticed.
        for _ in range(25):
            for version in mine:
                versions.read_secret(version)
        os._exit(0)
    children.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
"""


def test_forked_processes_share_no_connection_and_each_read_gets_its_own_secret(
    stack, vendor, place, people
):
    """B74: a client that was used before the fork; eight children, 2,000 reads at once."""
    keys = [make_key(vendor, place, people.owner) for _ in range(10)]
    assert len({secret_of(key.current) for key in keys}) == 10
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        cwd=ROOT,
        env={
            **os.environ,
            **stack.environment("worker"),
            "DJANGO_SETTINGS_MODULE": "keyvault.settings",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
