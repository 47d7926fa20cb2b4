"""The secret store against a real OpenBao: what each role may do, and each way in which it fails."""

import threading
import time
import uuid
from typing import Any

import pytest
from hvac.exceptions import InvalidPath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyvault.vault import secret_store
from keyvault.vault.secret_store import (
    StoreConflict,
    StoreDeleted,
    StoreDenied,
    StoreMissing,
    StoreUnavailable,
)
from tests.keyvault.vault import VALUE, acting_as, inspector, logins, unavailable, vault_at
from tests.rotation.providers.sockets import silent, talking
from tests.waiting import until

MOUNT = "keyvault"


# --- Write once, read, destroy ---


def test_it_gives_back_what_was_written(path: uuid.UUID) -> None:
    assert secret_store.read("keys", path) == VALUE


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=4096))
def test_any_text_comes_back_byte_for_byte(bao: Any, text: str) -> None:
    """B62: lengths and signs of all kinds."""
    path = uuid.uuid4()
    secret_store.write_once("keys", path, {"secret": text})
    assert secret_store.read("keys", path) == {"secret": text}


@pytest.mark.parametrize("role", ["operator", "web", "worker"])
def test_a_path_is_written_once(
    bao: Any, path: uuid.UUID, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writer is told so under every role, and the first value stays."""
    with acting_as(bao, role, monkeypatch):
        for data in ({"secret": "other"}, VALUE):
            with pytest.raises(StoreConflict):
                secret_store.write_once("keys", path, data)
        assert secret_store.read("keys", path) == VALUE


def test_of_many_writers_at_once_one_wins(bao: Any) -> None:
    """The write to Vault decides between two workers."""
    path = uuid.uuid4()
    results: list[str | None] = []

    def write(number: int) -> None:
        try:
            secret_store.write_once("keys", path, {"secret": f"writer {number}"})
        except StoreConflict:
            results.append(None)
        else:
            results.append(f"writer {number}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [result for result in results if result]
    assert len(results) == 8
    assert secret_store.read("keys", path) == {"secret": winner}


def test_destroying_leaves_nothing_to_recover(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B54: under the worker's own role, neither undelete nor metadata bring it back."""
    with acting_as(bao, "worker", monkeypatch):
        secret_store.destroy("keys", path)
        secret_store.destroy("keys", path)  # once more is fine
        with pytest.raises(StoreMissing) as caught:
            secret_store.read("keys", path)
        assert not isinstance(caught.value, StoreDeleted)
    secret_store.write_once("keys", uuid.uuid4(), VALUE)  # so that there is a list at all
    client = inspector(bao)
    client.secrets.kv.v2.undelete_secret_versions(f"keys/{path}", [1], mount_point=MOUNT)
    with pytest.raises(StoreMissing):
        secret_store.read("keys", path)
    listed = client.secrets.kv.v2.list_secrets("keys", mount_point=MOUNT)["data"]["keys"]
    assert str(path) not in listed


def test_destroying_goes_on_where_it_was_cut_off(bao: Any, path: uuid.UUID) -> None:
    """B54: versions destroyed, metadata still there."""
    client = inspector(bao)
    client.secrets.kv.v2.destroy_secret_versions(f"keys/{path}", [1], mount_point=MOUNT)
    with pytest.raises(StoreDeleted):
        secret_store.read("keys", path)
    secret_store.destroy("keys", path)
    with pytest.raises(StoreMissing) as caught:
        secret_store.read("keys", path)
    assert not isinstance(caught.value, StoreDeleted)


def test_the_probe_writes_reads_and_leaves_nothing(
    bao: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = probes(bao)
    with acting_as(bao, "worker", monkeypatch):
        secret_store.probe()
    assert probes(bao) == before


def probes(bao: Any) -> list[str]:
    """Return what lies where probes are written: what a fault in the middle of one left behind."""
    try:
        found = inspector(bao).secrets.kv.v2.list_secrets("probe", mount_point=MOUNT)
    except InvalidPath:
        return []
    return list(found["data"]["keys"])


# --- What each role may not do ---


def test_the_web_role_can_neither_destroy_nor_read_management_credentials(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes over a web process can end no key and become no vendor account."""
    credential = uuid.uuid4()
    with acting_as(bao, "web", monkeypatch):
        secret_store.write_once("accounts", credential, {"credential": "canary-mgmt-1"})
        with pytest.raises(StoreDenied):
            secret_store.read("accounts", credential)
        with pytest.raises(StoreDenied):
            secret_store.destroy("keys", path)
        client = secret_store._client()
        for act in (
            lambda: client.secrets.kv.v2.delete_latest_version_of_secret(
                f"keys/{path}", mount_point=MOUNT
            ),
            lambda: client.secrets.kv.v2.create_or_update_secret(
                f"keys/{path}", {"secret": "x"}, cas=1, mount_point=MOUNT
            ),
            lambda: client.secrets.kv.v2.list_secrets("keys", mount_point=MOUNT),
            lambda: client.sys.list_policies(),
        ):
            with pytest.raises(Exception, match="permission denied"):
                act()
    assert secret_store.read("keys", path) == VALUE


def test_the_worker_role_cannot_overwrite_or_touch_the_system(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    with acting_as(bao, "worker", monkeypatch):
        client = secret_store._client()
        for act in (
            lambda: client.secrets.kv.v2.create_or_update_secret(
                f"keys/{path}", {"secret": "x"}, cas=1, mount_point=MOUNT
            ),
            lambda: client.sys.seal(),
            lambda: client.sys.list_policies(),
            lambda: client.secrets.kv.v2.list_secrets("accounts", mount_point=MOUNT),
        ):
            with pytest.raises(Exception, match="permission denied"):
                act()
    assert secret_store.read("keys", path) == VALUE


# --- Each failure has its own name ---


def test_missing_deleted_destroyed_and_denied_are_told_apart(bao: Any, path: uuid.UUID) -> None:
    """B24, B51: never written, soft-deleted, restored, destroyed, outside the policy."""
    client = inspector(bao).secrets.kv.v2
    with pytest.raises(StoreMissing) as missing:
        secret_store.read("keys", uuid.uuid4())
    assert type(missing.value) is StoreMissing
    client.delete_latest_version_of_secret(f"keys/{path}", mount_point=MOUNT)
    with pytest.raises(StoreDeleted) as deleted:
        secret_store.read("keys", path)
    client.undelete_secret_versions(f"keys/{path}", [1], mount_point=MOUNT)
    assert secret_store.read("keys", path) == VALUE
    client.destroy_secret_versions(f"keys/{path}", [1], mount_point=MOUNT)
    with pytest.raises(StoreDeleted):
        secret_store.read("keys", path)
    assert len({missing.value.message, deleted.value.message}) == 2
    assert {missing.value.status, deleted.value.status} == {503}


def test_an_older_value_is_never_given_in_place_of_a_deleted_one(bao: Any, path: uuid.UUID) -> None:
    """B51: someone wrote a second version by hand and deleted it: no silent step back."""
    client = inspector(bao).secrets.kv.v2
    client.create_or_update_secret(f"keys/{path}", {"secret": "2"}, cas=1, mount_point=MOUNT)
    client.delete_latest_version_of_secret(f"keys/{path}", mount_point=MOUNT)
    with pytest.raises(StoreDeleted):
        secret_store.read("keys", path)


def test_a_taken_path_that_was_deleted_is_taken_still(bao: Any, path: uuid.UUID) -> None:
    """B51: a deleted value is not written over."""
    inspector(bao).secrets.kv.v2.delete_latest_version_of_secret(f"keys/{path}", mount_point=MOUNT)
    with pytest.raises(StoreConflict):
        secret_store.write_once("keys", path, VALUE)


def test_a_policy_that_forbids_is_told_apart_from_an_ended_token(
    bao: Any, path: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B24, B35: a real denial is not answered with a storm of logins."""
    with acting_as(bao, "web", monkeypatch):
        secret_store.read("keys", path)
        before = logins(bao, "web")
        for _ in range(5):
            with pytest.raises(StoreDenied, match="policy"):
                secret_store.read("accounts", path)
        assert logins(bao, "web") == before


def test_a_sealed_vault_is_unavailable_and_works_again_afterwards(
    bao: Any, path: uuid.UUID
) -> None:
    """B24: 503 is no word about any secret. The static seal opens again at a restart."""
    client = inspector(bao)
    secret_store.read("keys", path)
    client.sys.seal()
    with pytest.raises(StoreUnavailable):
        secret_store.read("keys", path)
    secret_store.forget_login()
    with pytest.raises(StoreUnavailable):
        secret_store.write_once("keys", uuid.uuid4(), VALUE)
    assert secret_store.health()["reachable"]
    assert secret_store.health()["sealed"]
    bao.stop()
    with pytest.raises(StoreUnavailable):
        secret_store.read("keys", path)
    assert not secret_store.health()["reachable"]
    bao.start()
    secret_store.forget_login()
    until(lambda: secret_store.health()["active"], what="OpenBao")
    assert secret_store.read("keys", path) == VALUE


def test_a_vault_that_is_down_or_unknown_is_unavailable(bao: Any) -> None:
    unavailable("http://127.0.0.1:9")
    unavailable("http://no-such-host.invalid:8200", seconds=15)


def test_a_silent_vault_is_unavailable_in_time_for_everyone(bao: Any) -> None:
    """B55: it accepts and never answers; callers neither hang nor queue for each other."""
    ends: list[float] = []

    def read() -> None:
        try:
            secret_store.read("keys", uuid.uuid4())
        except StoreUnavailable:
            ends.append(time.monotonic())

    with talking(silent) as url:
        unavailable(url)
        with vault_at(url):
            began = time.monotonic()
            threads = [threading.Thread(target=read) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(ends) == 6
        assert max(ends) - began < 6
