"""The task settings as a worker in production has them; each stands for a failure it prevents."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.guards import ROOT

PRODUCTION = {
    "SECRET_KEY": "sample",
    "FINGERPRINT_KEY": "sample",
    "TOKEN_PEPPER": "sample",
    "DATABASE_URL": "postgres://keyvault_app@127.0.0.1:9/keyvault",
    "CELERY_BROKER_URL": "redis://127.0.0.1:9/0",
}
NAMES = (
    "task_acks_late",
    "task_reject_on_worker_lost",
    "task_soft_time_limit",
    "task_time_limit",
    "task_ignore_result",
    "task_store_errors_even_if_ignored",
    "result_backend",
    "accept_content",
    "task_serializer",
    "worker_prefetch_multiplier",
    "worker_max_tasks_per_child",
    "worker_soft_shutdown_timeout",
    "worker_enable_soft_shutdown_on_idle",
    "worker_send_task_events",
    "worker_hijack_root_logger",
    "broker_transport_options",
    "task_publish_retry",
    "beat_schedule",
)
READ = f"""
import django, json
django.setup()
from django.conf import settings
from keyvault.celery import app
conf = {{name: app.conf[name] for name in {NAMES!r}}}
conf["visibility_timeout"] = settings.CELERY_VISIBILITY_TIMEOUT
print(json.dumps(conf, default=str))
"""


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    """Return what Celery itself holds, in a process with nothing but the required settings."""
    environment = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "keyvault.settings"}
    done = subprocess.run(
        [sys.executable, "-c", READ],
        cwd=ROOT,
        env={**environment, **PRODUCTION},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_a_killed_worker_loses_no_step(conf: dict[str, Any]) -> None:
    assert conf["task_acks_late"] is True
    assert conf["task_reject_on_worker_lost"] is True


def test_a_hung_step_ends(conf: dict[str, Any]) -> None:
    assert (conf["task_soft_time_limit"], conf["task_time_limit"]) == (45, 60)


def test_no_step_runs_twice_because_it_took_long(conf: dict[str, Any]) -> None:
    timeout = conf["broker_transport_options"]["visibility_timeout"]
    assert timeout == conf["visibility_timeout"] == 300
    assert timeout > 3 * conf["task_time_limit"]


def test_a_dead_workers_tasks_come_back_in_seconds(conf: dict[str, Any]) -> None:
    options = conf["broker_transport_options"]
    assert options["unacked_restore_throttle"] == 1
    assert options["unacked_restore_interval"] <= 5
    assert conf["worker_prefetch_multiplier"] == 1


def test_a_half_open_connection_is_noticed(conf: dict[str, Any]) -> None:
    options = conf["broker_transport_options"]
    assert options["socket_timeout"] == 30
    assert options["socket_connect_timeout"] == 5
    assert options["health_check_interval"] == 25
    assert options["socket_keepalive"] is True


def test_publishing_fails_fast_since_the_database_remembers(conf: dict[str, Any]) -> None:
    assert conf["task_publish_retry"] is False
    assert conf["broker_transport_options"]["max_retries"] <= 1


def test_a_deploy_lets_steps_finish(conf: dict[str, Any]) -> None:
    assert conf["worker_soft_shutdown_timeout"] == 70
    assert conf["worker_soft_shutdown_timeout"] > conf["task_time_limit"]
    assert conf["worker_enable_soft_shutdown_on_idle"] is True


def test_nothing_of_a_task_stays_in_the_broker(conf: dict[str, Any]) -> None:
    assert conf["result_backend"] is None
    assert conf["task_ignore_result"] is True
    assert conf["task_store_errors_even_if_ignored"] is False
    assert conf["worker_send_task_events"] is False


def test_messages_are_plain_json(conf: dict[str, Any]) -> None:
    assert conf["accept_content"] == ["json"]
    assert conf["task_serializer"] == "json"


def test_a_workers_memory_does_not_live_for_ever(conf: dict[str, Any]) -> None:
    assert conf["worker_max_tasks_per_child"] == 200


def test_logs_stay_redacted_in_workers(conf: dict[str, Any]) -> None:
    assert conf["worker_hijack_root_logger"] is False


def test_a_worker_that_was_away_finds_one_tick_and_not_a_thousand(conf: dict[str, Any]) -> None:
    schedule = conf["beat_schedule"]
    assert schedule["tick"]["schedule"] <= 15
    for name, entry in schedule.items():
        # The pulse goes to who listens now and is kept for nobody.
        assert name == "pulse" or 0 < entry["options"]["expires"] <= entry["schedule"]
        assert not entry.get("args")
        assert not entry.get("kwargs")
