"""The drill of README: restore an older dump or an older Vault, lose nothing, and go on."""

import shutil

import pytest
import requests

from keyvault.models import ApiKey, KeyVersion
from keyvault.vault import secret_store
from rotation.consumers import registry
from rotation.engine import cleanup
from rotation.models import Rotation, Step, WaitingFor
from rotation.recovery import deletion_lock
from tests.commands import call, manage
from tests.factories import make_key, secret_of
from tests.faults.injectors import dump, restore
from tests.oracle import assert_all_is_well
from tests.rotation.driving import drive, everybody_moves, started


@pytest.fixture(autouse=True)
def nothing_left_in_vault(people):
    for path in secret_store.list_paths("keys"):
        secret_store.destroy("keys", path)


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="drill")


def fetch(live_url, key, token):
    return requests.get(
        f"{live_url}/api/v1/keys/{key.pk}/secret",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )


def _to_the_end(rotation):
    """Advance while its consumers move, as they would by themselves."""
    return drive(rotation, lambda r: everybody_moves(r.key_id) or not r.is_open)


def test_an_older_dump_of_postgres(stack, tmp_path, live_url, vendor, place, people, key):
    """F18, hard case d: dump, rotate to the end, restore the dump."""
    new = registry.add_consumer(people.owner, "web-1", place.application, place.environment)
    token = new.token.reveal()
    deletion_lock.roll_marker()
    file = dump(stack, tmp_path)

    _to_the_end(started(people.operator, key))
    newer = secret_of(ApiKey.objects.get().current)
    deletion_lock.roll_marker()

    restore(stack, file)
    assert manage(stack, "check", "--database", "default", kind="worker").code == 0
    deletion_lock.forget()
    assert not Rotation.objects.exists()
    assert "restored from a backup" in deletion_lock.lock_reason()
    answer = fetch(live_url, key, token)
    assert (answer.status_code, answer.json()["code"]) == (503, "vault_missing")
    assert "rotation replaces it" in answer.json()["message"]

    other = started(people.operator, make_key(vendor, place, people.owner, name="meanwhile"))
    drive(other, lambda r: everybody_moves(r.key_id) or r.waiting_for == WaitingFor.RECONCILE)

    ran = manage(stack, "reconcilekeys", "--json", kind="worker")
    assert ran.code == 1, ran
    (forgotten,) = [f for f in ran.json["findings"] if f["kind"] == "secret_without_row"]
    ran = manage(stack, "reconcilekeys", "--adopt", forgotten["id"], kind="worker")
    assert ran.code == 0, ran
    assert fetch(live_url, key, token).json()["secret"] == newer
    ran = manage(stack, "reconcilekeys", "--thaw", "--reason", "restored the dump", kind="worker")
    assert ran.code == 0, ran
    assert _to_the_end(other).step == Step.DONE
    key.refresh_from_db()
    assert _to_the_end(started(people.operator, key)).step == Step.DONE
    cleanup.sweep()
    assert_all_is_well(vendor, place)


def test_an_older_copy_of_vault(stack, tmp_path, vendor, place, people, key):
    """F18: Vault comes back without the secrets written since; nothing is deleted until it is settled."""
    deletion_lock.roll_marker()
    stack.openbao.stop()
    data = stack.openbao.folder / "data"
    shutil.copytree(data, tmp_path / "data")
    stack.openbao.start()
    secret_store.forget_login()
    rotation = started(people.operator, key, overlap_seconds=3600)
    drive(rotation, lambda r: r.waiting_for == WaitingFor.OVERLAP)
    deletion_lock.roll_marker()

    stack.openbao.stop()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "data", data)
    stack.openbao.start()
    secret_store.forget_login()
    deletion_lock.forget()
    assert "restored from a backup" in deletion_lock.lock_reason()
    Rotation.objects.update(overlap_seconds=0)
    drive(rotation, lambda r: r.waiting_for in (WaitingFor.RECONCILE, WaitingFor.PERSON))
    old = KeyVersion.objects.get(pk=rotation.old_version_id)
    assert old.state == "current", (
        "Vault has it, and the vendor takes it: applications get it again"
    )
    assert vendor.lookup(secret_of(old))["accepted_now"], (
        "the old key, which Vault has, still lives"
    )
    ran = call("reconcilekeys", "--json")
    assert "row_without_secret" in {f["kind"] for f in ran.json["findings"]}
