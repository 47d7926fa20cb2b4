"""OpenBao of the sandbox: what each role may do, and that nothing of it leaks or gets lost."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest

from sandbox.services.openbao import OpenBao


@pytest.fixture(scope="module")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    folder = tmp_path_factory.mktemp("openbao")
    server = OpenBao(folder, operator=True, token_ttl="20s", token_max_ttl="60s")
    try:
        server.start()
        yield server
    finally:
        server.stop()


def logged_in(openbao: OpenBao, role: str) -> hvac.Client:
    client = hvac.Client(openbao.address)
    client.auth.approle.login(*openbao.credentials(role))
    return client


Act = Callable[[Any], object]
MOUNT = {"mount_point": "keyvault"}


def writes(path: str, cas: int = 0) -> Act:
    return lambda kv: kv.create_or_update_secret(path, {"s": "x"}, cas=cas, **MOUNT)


def reads(path: str) -> Act:
    return lambda kv: kv.read_secret_version(path, raise_on_deleted_version=True, **MOUNT)


def destroys(path: str) -> Act:
    return lambda kv: kv.destroy_secret_versions(path, [1], **MOUNT)


def deletes(path: str) -> Act:
    return lambda kv: kv.delete_latest_version_of_secret(path, **MOUNT)


def reads_metadata(path: str) -> Act:
    return lambda kv: kv.read_secret_metadata(path, **MOUNT)


def deletes_metadata(path: str) -> Act:
    return lambda kv: kv.delete_metadata_and_all_versions(path, **MOUNT)


def lists(path: str) -> Act:
    return lambda kv: kv.list_secrets(path, **MOUNT)


@pytest.fixture(scope="module")
def filled(openbao: OpenBao) -> OpenBao:
    kv = logged_in(openbao, "operator").secrets.kv.v2
    for area in ("keys", "accounts", "webhooks", "probe"):
        for name in ("there", "web", "worker"):
            writes(f"{area}/{name}")(kv)
    return openbao


@pytest.mark.parametrize(
    ("role", "act"),
    [
        ("web", writes("keys/new-web")),
        ("web", reads("keys/there")),
        ("web", reads_metadata("keys/there")),
        ("web", writes("accounts/new")),
        ("web", writes("webhooks/new")),
        ("web", writes("probe/new-web")),
        ("web", reads("probe/there")),
        ("worker", writes("keys/new-worker")),
        ("worker", reads("keys/there")),
        ("worker", reads("accounts/there")),
        ("worker", reads("webhooks/there")),
        ("worker", writes("probe/new-worker")),
        ("worker", reads("probe/there")),
        ("worker", lists("keys")),
        ("worker", reads_metadata("keys/there")),
        ("worker", destroys("keys/worker")),
        ("worker", deletes_metadata("keys/worker")),
        ("worker", destroys("probe/worker")),
        ("worker", deletes_metadata("probe/worker")),
        ("worker", destroys("webhooks/worker")),
        ("worker", deletes_metadata("webhooks/worker")),
        ("worker", destroys("accounts/worker")),
        ("worker", deletes_metadata("accounts/worker")),
    ],
)
def test_a_role_can_do_its_work(filled: OpenBao, role: str, act: Act) -> None:
    act(logged_in(filled, role).secrets.kv.v2)


@pytest.mark.parametrize(
    ("role", "act"),
    [
        ("web", writes("keys/there", cas=1)),
        ("web", writes("keys/deep/er")),
        ("web", reads("accounts/there")),
        ("web", reads("webhooks/there")),
        ("web", writes("accounts/there", cas=1)),
        ("web", destroys("keys/there")),
        ("web", deletes("keys/there")),
        ("web", deletes_metadata("keys/there")),
        ("web", destroys("probe/there")),
        ("web", lists("keys")),
        ("worker", writes("keys/there", cas=0)),
        ("worker", writes("keys/there", cas=1)),
        ("worker", writes("accounts/there", cas=1)),
        ("worker", writes("accounts/new-worker")),
        ("worker", writes("webhooks/new-worker")),
        ("worker", deletes("keys/there")),
        ("worker", lists("accounts")),
        ("worker", reads("elsewhere/there")),
    ],
)
def test_a_role_can_do_nothing_else(filled: OpenBao, role: str, act: Act) -> None:
    with pytest.raises(hvac.exceptions.Forbidden):
        act(logged_in(filled, role).secrets.kv.v2)


@pytest.mark.parametrize("role", ["web", "worker"])
@pytest.mark.parametrize(
    "path", ["sys/policies/acl", "sys/mounts", "auth/approle/role", "sys/seal"]
)
def test_a_role_has_no_way_into_the_servers_settings(filled: OpenBao, role: str, path: str) -> None:
    with pytest.raises(hvac.exceptions.Forbidden):
        logged_in(filled, role).write(path)


def test_a_write_without_check_and_set_is_refused_even_to_the_operator(filled: OpenBao) -> None:
    kv = logged_in(filled, "operator").secrets.kv.v2
    with pytest.raises(hvac.exceptions.InvalidRequest):
        kv.create_or_update_secret("keys/careless", {"s": "x"}, **MOUNT)


def test_a_token_lives_as_short_as_it_was_told(openbao: OpenBao) -> None:
    client = logged_in(openbao, "web")
    data = client.auth.token.lookup_self()["data"]
    assert (data["creation_ttl"], data["policies"]) == (20, ["web"])
    assert client.auth.token.renew_self()["auth"]["lease_duration"] <= 20


def test_secrets_survive_a_kill_and_a_seal_without_a_human(filled: OpenBao) -> None:
    address = filled.address
    logged_in(filled, "operator").sys.seal()
    filled.kill()
    filled.start()
    assert filled.address == address
    answer = logged_in(filled, "worker").secrets.kv.v2.read_secret_version(
        "keys/there", raise_on_deleted_version=True, **MOUNT
    )
    assert answer["data"]["data"] == {"s": "x"}


def test_every_access_stands_in_the_audit_log_without_the_secret(filled: OpenBao) -> None:
    kv = logged_in(filled, "worker").secrets.kv.v2
    kv.create_or_update_secret("keys/audited", {"s": "canary-in-a-secret"}, cas=0, **MOUNT)
    text = filled.audit_log.read_text()
    assert "keyvault/data/keys/audited" in text
    assert "canary" not in text


def test_no_credential_of_a_role_stands_in_configuration_log_or_arguments(
    openbao: OpenBao,
) -> None:
    pid = openbao.process.pid()
    texts = [(openbao.folder / name).read_text() for name in ("config.json", "openbao.log")]
    texts += [openbao.audit_log.read_text()]
    texts += [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ")]
    canaries = [openbao.credentials(role)[1] for role in openbao.roles]
    canaries.append((openbao.folder / "seal.key").read_text())
    assert [secret for secret in canaries if any(secret in text for text in texts)] == []


def test_a_first_start_that_never_ended_begins_anew(tmp_path: Path) -> None:
    openbao = OpenBao(tmp_path / "openbao")
    (openbao.folder / "data").mkdir(parents=True)
    (openbao.folder / "data" / "vault.db").write_bytes(b"half a database")
    try:
        openbao.start()
        assert logged_in(openbao, "worker").is_authenticated()
        first = openbao.address
        openbao.stop()
        with socket.create_server(("127.0.0.1", int(first.rpartition(":")[2]))):
            openbao.start()
        assert openbao.address != first
        assert logged_in(openbao, "web").is_authenticated()
    finally:
        openbao.stop()
