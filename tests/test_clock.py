"""The clock sends names of tasks and loads none; whoever does the work loads all of them."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LOOK = (
    "import sys; from keyvault.celery import app; "
    "print('django.contrib.auth.models' in sys.modules, 'rotation.tick' in app.tasks, "
    "sorted({entry['task'] for entry in app.conf.beat_schedule.values()})[:1])"
)


def loaded(*arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", LOOK, *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


def test_the_clock_knows_what_to_send_and_loads_no_models() -> None:
    assert loaded("beat").startswith("False False ['")


@pytest.mark.parametrize("arguments", [["worker"], ["worker", "-n", "beat"], ["worker", "-B"]])
def test_a_worker_is_never_taken_for_the_clock(arguments: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from keyvault.celery import IS_CLOCK; print(IS_CLOCK)", *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "False\n"
