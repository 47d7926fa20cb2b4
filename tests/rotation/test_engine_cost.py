"""What a rotation costs in statements and calls: counted here, timed only by `make bench`."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keyvault.models import ApiKey
from keyvault.vault import secret_store
from rotation.engine import runner
from rotation.models import Attempt, Rotation, Step
from tests.api_client import counting
from tests.factories import lone_key
from tests.rotation.driving import drive, hurry, started

_FAST = {"propagation_seconds": 0.05, "steady_spacing_seconds": 0.05, "list_lag_seconds": 0.05}


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> ApiKey:
    place.api_account.settings = _FAST
    place.api_account.save()
    return lone_key(vendor, place, people.owner)


@contextmanager
def asked_of_store(stack: Any) -> Iterator[list[str]]:
    """Collect the first two parts of each path that the store is asked for within the block."""
    log = stack.openbao.audit_log
    paths: list[str] = []
    read = len(log.read_bytes())
    yield paths
    for line in log.read_bytes()[read:].splitlines():
        entry = json.loads(line)
        if entry["type"] == "request":
            paths.append("/".join(entry["request"]["path"].split("/")[1:3]))


def rotated(by: Any, key: ApiKey) -> Rotation:
    key.refresh_from_db()
    rotation = drive(started(by, key))
    assert rotation.step == Step.DONE, rotation.outcome
    return rotation


def last_step(by: Any, key: ApiKey) -> list[str]:
    """Rotate up to the last step, and return the statements of that one."""
    key.refresh_from_db()
    rotation = drive(
        started(by, key), lambda one: one.step == Step.DELETE and one.waiting_for == "vendor"
    )
    hurry(rotation)
    with counting() as statements:
        runner.advance(rotation.pk)
    rotation.refresh_from_db()
    assert rotation.step == Step.DONE, rotation.outcome
    return statements


def test_a_rotation_sends_at_most_170_statements(people: Any, key: ApiKey) -> None:
    rotation = started(people.owner, key, overlap_seconds=0)
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=0)
    sent: list[str] = []
    while rotation.is_open:
        hurry(rotation)
        with counting() as statements:
            runner.advance(rotation.pk)
        rotation.refresh_from_db()
        if rotation.waiting_for != "quiet":  # how often that is asked is a matter of time
            sent += statements
    assert rotation.step == Step.DONE, rotation.outcome
    assert len(sent) <= 170, len(sent)


def test_the_end_of_a_rotation_costs_the_same_however_many_came_before(
    people: Any, key: ApiKey
) -> None:
    first = last_step(people.owner, key)
    for _ in range(4):
        rotated(people.owner, key)
    # Two more where the marks of Vault and Postgres were compared longer ago; one a rotation before.
    assert len(last_step(people.owner, key)) <= len(first) + 2


def test_rotations_that_start_together_share_one_probe_and_one_read_of_the_credential(
    stack: Any, vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    other = lone_key(vendor, place, people.owner)
    secret_store.forget_login()
    with asked_of_store(stack) as paths:
        for one in (key, other):
            runner.advance(started(people.owner, one).pk)
    assert paths.count("data/probe") == 3, "written, read back, and looked for after its end"
    assert paths.count("data/accounts") == 1


def test_a_new_login_and_a_check_of_the_installation_probe_anew(stack: Any, database: None) -> None:
    secret_store.probe()
    with asked_of_store(stack) as paths:
        secret_store.probe(60.0)
    assert "data/probe" not in paths
    secret_store.forget_login()
    with asked_of_store(stack) as paths:
        secret_store.probe(60.0)
        secret_store.probe()
    assert paths.count("data/probe") == 6


def test_another_credential_of_the_account_is_used_at_once(
    vendor: Any, place: Any, people: Any, key: ApiKey
) -> None:
    """What is kept for some seconds is kept by its path, and another credential has another one."""
    rotated(people.owner, key)
    path = uuid.uuid4()
    wrong = {"credential": "mgmt_of_somebody_else"}
    secret_store.write_once("accounts", path, wrong)
    type(place.api_account).objects.filter(pk=place.api_account.pk).update(management_path=path)
    key.refresh_from_db()
    rotation = started(people.owner, key)
    runner.advance(rotation.pk)
    rotation.refresh_from_db()
    assert "Invalid management credential" in rotation.waiting_text


def test_a_try_like_the_last_one_raises_its_count(people: Any, key: ApiKey) -> None:
    rotation = drive(started(people.owner, key), lambda one: one.waiting_for == "quiet")
    Rotation.objects.filter(pk=rotation.pk).update(quiet_seconds=3600)
    before = Attempt.objects.filter(rotation=rotation).order_by("pk")
    rows = [(row.pk, row.count) for row in before]
    for _ in range(3):
        hurry(rotation)
        runner.advance(rotation.pk)
    again = [(row.pk, row.count) for row in before.all()]
    assert again[:-1] == rows[:-1]
    assert again[-1] == (rows[-1][0], rows[-1][1] + 3)
