"""B119: both halves restored from one moment fit each other; what was seen elsewhere tells."""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from keyvault.audit import checkpoints
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record_now
from keyvault.audit.models import Action, ChainHead
from keyvault.vault import secret_store
from rotation.models import Rotation, WaitingFor
from rotation.recovery import deletion_lock, external_marker
from rotation.recovery import restore as recovering
from tests.factories import make_key, secret_of
from tests.faults.injectors import dump, restore
from tests.rotation.driving import drive, started

KEY = "c2FtcGxlLXNhbXBsZS1zYW1wbGUtc2FtcGxlLTEyMzQ="


def act(people: Any) -> None:
    record_now(Action.MEMBER_SIGNED_OUT, member_actor(people.owner), people.owner)


def test_a_log_that_goes_on_is_no_restore(people: Any) -> None:
    for _ in range(3):
        act(people)
        deletion_lock.roll_marker()
        deletion_lock.forget()
        assert deletion_lock.lock_reason() == ""


def test_an_older_log_freezes(people: Any) -> None:
    act(people)
    deletion_lock.roll_marker()
    head = ChainHead.objects.get(pk=1)
    with health_link() as link:
        link.set("keyvault:witness", json.dumps({"seq": head.seq + 3, "hash": "ab" * 32}))
    deletion_lock.forget()
    assert "the broker had seen" in deletion_lock.lock_reason()


def test_a_log_that_went_another_way_freezes_though_it_is_longer(people: Any) -> None:
    for _ in range(3):
        act(people)
    deletion_lock.roll_marker()
    with health_link() as link:
        link.set("keyvault:witness", json.dumps({"seq": 2, "hash": "ab" * 32}))
    deletion_lock.forget()
    assert "the broker had seen" in deletion_lock.lock_reason()


def health_link() -> Any:
    from rotation import dependencies

    return dependencies.broker_link()


@pytest.mark.parametrize("said", ["", "nonsense", "[]", "{}", '{"seq": "x", "hash": 1}'])
def test_a_broker_that_was_emptied_or_is_away_says_nothing(people: Any, said: str) -> None:
    act(people)
    deletion_lock.roll_marker()
    with health_link() as link:
        link.set("keyvault:witness", said)
    assert external_marker.difference() == ""
    with override_settings(CELERY_BROKER_URL="redis://127.0.0.1:9/0"):
        assert external_marker.difference() == ""
        external_marker.note()


def test_exported_checkpoints_ahead_of_the_log_freeze_and_are_kept(
    people: Any, tmp_path: Path
) -> None:
    with override_settings(AUDIT_SIGNING_KEY=KEY, AUDIT_EXPORT_DIR=str(tmp_path)):
        act(people)
        checkpoints.sign_checkpoint()
        file = tmp_path / checkpoints.EXPORT_NAME
        deletion_lock.roll_marker()
        deletion_lock.forget()
        assert deletion_lock.lock_reason() == ""
        text = json.dumps({"v": 1, "seq": 999, "hash": "ab" * 32, "at": "x", "previous": ""})
        with file.open("a") as out:
            out.write(json.dumps({"text": text, "signature": "x"}) + "\n")
        before = file.read_text()
        act(people)
        checkpoints.sign_checkpoint()
        assert file.read_text() == before, "written further it would show nothing any more"
        deletion_lock.forget()
        assert "exported checkpoints" in deletion_lock.lock_reason()
        deletion_lock.unlock_deletions(member_actor(people.owner), "restored on purpose")
        assert not file.exists()
        assert len(list(tmp_path.glob("audit-checkpoints-until-*.jsonl"))) == 1
        deletion_lock.forget()
        assert deletion_lock.lock_reason() == ""
        act(people)
        checkpoints.sign_checkpoint()
        assert file.exists()


def test_both_restored_from_one_moment_freeze_until_it_is_settled(
    stack: Any, tmp_path: Path, vendor: Any, place: Any, people: Any
) -> None:
    """B119: the marks agree; a key that was rotated since is not deleted on the word of the past."""
    key = make_key(vendor, place, people.owner, name="drill")
    assert key.current is not None
    for path in secret_store.list_paths("keys") - {str(key.current.path)}:
        secret_store.destroy("keys", uuid.UUID(path))
    deletion_lock.roll_marker()
    file = dump(stack, tmp_path)
    stack.openbao.stop()
    data = stack.openbao.folder / "data"
    shutil.copytree(data, tmp_path / "data")
    stack.openbao.start()
    secret_store.forget_login()
    act(people)
    deletion_lock.roll_marker()

    restore(stack, file)
    stack.openbao.stop()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "data", data)
    stack.openbao.start()
    secret_store.forget_login()
    deletion_lock.forget()
    assert deletion_lock._settled_difference(deletion_lock._row()) == "", "each half fits the other"
    assert "Vault perhaps with it" in deletion_lock.lock_reason()
    key.refresh_from_db()
    rotation = drive(
        started(people.operator, key), lambda one: one.waiting_for == WaitingFor.RECONCILE
    )
    assert vendor.lookup(secret_of(rotation.old_version))["accepted_now"]
    recovering.unlock_deletions(people.owner, [], "restored both from one night")
    deletion_lock.forget()
    assert deletion_lock.lock_reason() == ""
    assert drive(rotation).step == "done"
    assert Rotation.objects.count() == 1
    for alias in connections:
        connections[alias].close()
