"""F9: a standby that is behind, a Vault that deletes by itself, and one that says it is well and is not."""

import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from keyvault.vault import secret_store
from keyvault.vault.secret_store import StoreExpires, StoreMissing, StoreUnavailable
from rotation import dependencies
from rotation.models import HumanTask, RestoreMarker
from rotation.monitoring import metrics, status
from rotation.recovery import deletion_lock
from tests.commands import manage
from tests.factories import make_key
from tests.keyvault.standby import Standby, standby
from tests.keyvault.vault import VALUE, inspector, vault_at
from tests.oracle import creates
from tests.rotation.driving import drive, started
from tests.waiting import until


@pytest.fixture
def behind(bao: Any) -> Iterator[Standby]:
    """Talk to Vault through a standby."""
    with standby(bao.address) as server, vault_at(server.url):
        deletion_lock.forget()
        yield server


def older_mark(behind: Standby) -> None:
    """Have the standby show the mark of a while ago from now on."""
    deletion_lock.roll_marker()
    deletion_lock.forget()
    assert deletion_lock.lock_reason() == ""
    deletion_lock.roll_marker()
    behind.lag()
    deletion_lock.forget()


def test_a_lagging_standby_is_no_restore(behind: Standby) -> None:
    """F9, B02: its older mark froze every deletion for good."""
    older_mark(behind)
    stale = secret_store.read_mark()
    assert stale[0] != str(RestoreMarker.objects.get().current)
    for _ in range(3):
        deletion_lock.forget()
        assert deletion_lock.lock_reason() == ""
    deletion_lock.roll_marker()
    assert RestoreMarker.objects.get().frozen_since is None
    assert not HumanTask.objects.filter(about="freeze").exists()
    behind.stale = 0
    deletion_lock.forget()
    assert deletion_lock.lock_reason() == ""
    assert secret_store.read_mark()[0] == str(RestoreMarker.objects.get().current)


def test_a_roll_that_was_cut_off_before_a_lag_is_no_restore_either(behind: Standby) -> None:
    older_mark(behind)
    epoch = RestoreMarker.objects.get()
    pending = uuid.uuid4()
    RestoreMarker.objects.update(pending=pending)
    secret_store.write_mark(str(pending), epoch.writes)  # and the process died here
    assert deletion_lock.lock_reason() == ""
    assert RestoreMarker.objects.get().pending is None


def test_a_restored_vault_freezes_although_its_mark_is_older_too(behind: Standby, bao: Any) -> None:
    deletion_lock.roll_marker()
    deletion_lock.roll_marker()
    deletion_lock.roll_marker()
    mark = str(uuid.uuid4())
    client = inspector(bao)
    client.secrets.kv.v2.delete_metadata_and_all_versions("epoch/mark", mount_point="keyvault")
    client.secrets.kv.v2.create_or_update_secret(
        "epoch/mark", secret={"mark": mark}, cas=0, mount_point="keyvault"
    )
    deletion_lock.forget()
    assert "restored from a backup" in deletion_lock.lock_reason()
    client.secrets.kv.v2.delete_metadata_and_all_versions("epoch/mark", mount_point="keyvault")


def test_what_a_standby_does_not_have_yet_is_asked_for_again(behind: Standby) -> None:
    path = uuid.uuid4()
    secret_store.write_once("keys", path, VALUE)
    behind.lag(answers=1)
    assert secret_store.read("keys", path) == VALUE
    behind.lag(answers=2)
    assert secret_store.read("keys", path) == VALUE
    behind.stale = 0
    gone = uuid.uuid4()
    with pytest.raises(StoreMissing):
        secret_store.read("keys", gone)
    # Whoever reads a thousand that are gone does not wait for each of them.
    asked = len(behind.indexes)
    with pytest.raises(StoreMissing):
        secret_store.read("keys", gone)
    assert len(behind.indexes) == asked + 1


def test_a_standby_is_told_what_we_wrote_and_its_412_is_no_failure(behind: Standby) -> None:
    path = uuid.uuid4()
    secret_store.write_once("keys", path, VALUE)
    behind.refuses = 2
    assert secret_store.read("keys", path) == VALUE
    assert behind.indexes[-1] == "v1:state-of-that-write"
    behind.refuses = 10
    with pytest.raises(StoreUnavailable):
        secret_store.read("keys", path)
    behind.refuses = 0


@pytest.fixture
def expiring(bao: Any) -> Iterator[None]:
    """Let the mount delete by itself what is stored."""
    kv = inspector(bao).secrets.kv.v2
    kv.configure(mount_point="keyvault", delete_version_after="1h", cas_required=False)
    secret_store.forget_login()
    yield
    kv.configure(mount_point="keyvault", delete_version_after="0s", cas_required=False)
    secret_store.forget_login()


def test_a_mount_that_deletes_by_itself_is_refused(bao: Any, expiring: None, stack: Any) -> None:
    """F9: the current secret vanished, and nobody had looked."""
    with pytest.raises(StoreExpires, match="delete_version_after"):
        secret_store.probe()
    ran = manage(stack, "check", "--database", "default", kind="worker")
    assert "delete_version_after" in ran.err


def test_no_key_is_made_for_a_mount_that_deletes_by_itself(
    bao: Any, vendor: Any, place: Any, people: Any
) -> None:
    key = make_key(vendor, place, people.owner)
    kv = inspector(bao).secrets.kv.v2
    kv.configure(mount_point="keyvault", delete_version_after="1h", cas_required=False)
    secret_store.forget_login()
    try:
        before = creates(vendor, place.vendor_api)
        drive(started(people.operator, key), lambda r: r.waiting_for != "")
        assert creates(vendor, place.vendor_api) == before
    finally:
        kv.configure(mount_point="keyvault", delete_version_after="0s", cas_required=False)
        secret_store.forget_login()


@pytest.fixture
def full_disk(bao: Any) -> Iterator[None]:
    """Fill the disk of Vault's audit log: it lets nothing happen that it cannot write down."""
    aside = bao.audit_log.with_name("audit.aside")
    bao.audit_log.rename(aside)
    bao.audit_log.symlink_to("/dev/full")
    os.kill(bao.process.pid(), signal.SIGHUP)
    until(lambda: not secret_store.reads(), what="the audit log to be full")
    dependencies.forget()
    try:
        yield
    finally:
        bao.audit_log.unlink()
        aside.rename(bao.audit_log)
        os.kill(bao.process.pid(), signal.SIGHUP)
        until(_well, what="OpenBao")
        dependencies.forget()


def _well() -> bool:
    secret_store.forget_login()
    return secret_store.reads()


def test_a_vault_that_says_it_is_well_and_gives_nothing_is_not_ready(
    bao: Any, full_disk: None, live_url: str
) -> None:
    """P12: sys/health answers 200 and unsealed while every read fails."""
    assert secret_store.health()["active"]
    state = dependencies.vault_state()
    assert (state["active"], state["reads"]) == (False, False)
    said = status.problems(status.look(), state, dependencies.broker_facts())
    assert any("gives no secret" in text for text in said)
    assert b"keyvault_vault_up 0.0" in metrics.text()
    ready = until(lambda: _unready(live_url), what="readiness to fall")
    assert ready["vault"] == "failing"
    assert requests.get(f"{live_url}/health/live", timeout=5).status_code == 200


def _unready(url: str) -> Any:
    answer = requests.get(f"{url}/health/ready", timeout=10)
    return answer.json() if answer.status_code == 503 else None
