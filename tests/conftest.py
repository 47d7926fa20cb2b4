"""The cast, the place and the servers that tests share.

Rows are really committed, as in production, and truncated after each test by the owner's role;
nothing is rolled back and nothing is patched but the clock.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from tests import plugin
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def stack() -> plugin.Stack:
    """Return the running servers."""
    if plugin.STACK is None:
        pytest.skip("no servers: TEST_STACK=none")
    return plugin.STACK


@pytest.fixture(scope="session")
def migrated(stack: plugin.Stack, django_db_blocker: Any) -> Iterator[None]:
    """Migrate the database once, as the owner; leave database access open for the whole run."""
    with django_db_blocker.unblock():
        from django.core.management import call_command

        call_command("migrate", database="owner", verbosity=0)
        yield
        for connection in connections.all():
            connection.close()


@pytest.fixture
def database(migrated: None) -> Iterator[None]:
    """Give the test an empty database of its own, really committed."""
    _forget_mark()
    _forget_secrets()
    yield
    _note_mark()
    # A request of the last page may still be under way, and hold what this needs to lock.
    until(_truncated, what="the last request to end")


def _forget_secrets() -> None:
    from keyvault.console import key_matrix
    from keyvault.delivery import fetch
    from keyvault.inventory import vendor_gateway
    from keyvault.vault import secret_cache
    from rotation.engine import missing_secrets
    from rotation.monitoring import stats

    secret_cache.forget()
    stats.forget()
    key_matrix.forget()
    vendor_gateway.forget()
    fetch.forget()
    missing_secrets.forget()


_MARKED: list[bool] = []


def _note_mark() -> None:
    """Remember that the emptied database will leave its mark behind in Vault."""
    from rotation.models import RestoreMarker

    if RestoreMarker.objects.exists():
        _MARKED.append(True)


def _forget_mark() -> None:
    """Remove the mark of the database before, which would freeze every deletion in this one."""
    from rotation.recovery import deletion_lock, external_marker
    from tests.keyvault.vault import inspector

    deletion_lock.forget()
    if _MARKED and plugin.STACK is not None:
        inspector(plugin.STACK.openbao).secrets.kv.v2.delete_metadata_and_all_versions(
            "epoch/mark", mount_point="keyvault"
        )
        external_marker.forget()
        _MARKED.clear()


def _truncated() -> bool:
    try:
        with transaction.atomic(using="owner"):
            _truncate()
    except OperationalError:
        return False
    return True


# Emptying only what is not empty takes a tenth of the time of truncating all: foreign keys are
# checked at the commit, when everything is gone. The audit log lets nobody delete, so it is truncated.
_EMPTY = """
DO $$
DECLARE one record; filled boolean;
BEGIN
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN
        ('django_migrations', 'django_content_type', 'auth_permission', 'audit_chainhead',
         'audit_partition')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', one.tablename) INTO filled;
        CONTINUE WHEN NOT filled;
        IF one.tablename LIKE 'audit%' THEN
            EXECUTE format('TRUNCATE %I RESTART IDENTITY', one.tablename);
        ELSE
            EXECUTE format('DELETE FROM %I', one.tablename);
        END IF;
    END LOOP;
    PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false)
        FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
        AND sequencename NOT IN ('django_migrations_id_seq', 'django_content_type_id_seq',
            'auth_permission_id_seq', 'audit_partition_id_seq');
    DELETE FROM audit_chainhead;
    INSERT INTO audit_chainhead (id, seq, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));
END $$
"""


def _truncate() -> None:
    """Empty every table but Django's own fixed ones, and set the audit chain back to its start."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        cursor.execute(_EMPTY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of the two apps a database without each having to ask."""
    for item in items:
        folder = Path(item.fspath).relative_to(ROOT / "tests").parts[0]
        if folder in ("keyvault", "rotation", "end_to_end") and "pure" not in item.keywords:
            item.fixturenames.insert(0, "database")  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    """Declare our marks; take a hasher that does not cost half a second a sign-in."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["tests.hashers.QuickHasher"]
    config.addinivalue_line("markers", "pure: needs neither database nor servers")


@dataclass
class People:
    """A cast of known people; `password` opens each of them."""

    owner: Any
    operator: Any
    developer: Any
    viewer: Any
    auditor: Any
    outsider: Any
    password: str = "correct horse battery staple"


@pytest.fixture
def people(database: None, place: Any) -> Any:
    """Return owner and auditor over everything; operator, developer and viewer of the application."""
    from tests.factories import make_people

    return make_people(place)


@pytest.fixture
def place(database: None, vendor: Any) -> Any:
    """Return an application in two environments with an automatic and a manual vendor account."""
    from tests.factories import make_place

    return make_place(vendor)


@pytest.fixture(scope="session")
def vendor_process(stack: plugin.Stack) -> Iterator[Any]:
    """Run the sandbox vendor as a process of its own."""
    folder = stack.folder / "vendor"
    folder.mkdir(mode=0o700)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.vendor", "--folder", str(folder), "--port", "0"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        until((folder / "port").exists, what="the sandbox vendor")
        yield folder
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def vendor(vendor_process: Path) -> Iterator[Any]:
    """Return a client of the sandbox vendor's control API, without any fault on order."""
    from sandbox.vendor_client import VendorClient

    client = VendorClient(vendor_process)
    client.clear_faults()
    yield client
    client.clear_faults()


class Process:
    """A process of the product, with its output in a file that the leak scan reads."""

    def __init__(self, stack: plugin.Stack, kind: str, command: list[str], **extra: str) -> None:
        self.log = stack.folder / f"{kind}-{os.urandom(4).hex()}.log"
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
        }
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**environment, **stack.environment(kind), **extra},
                start_new_session=True,
            )

    def stop(self, seconds: float = 15) -> None:
        """End the process as a deploy would, by SIGTERM."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the whole process group as a power cut would."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, 9)
        self.popen.wait(10)


@pytest.fixture
def worker(stack: plugin.Stack, database: None) -> Iterator[Process]:
    """Run a real Celery worker with an embedded beat that ticks twice a second."""
    process = Process(
        stack,
        "worker",
        [
            "celery",
            "-A",
            "keyvault",
            "worker",
            "-B",
            "-c",
            "2",
            "--loglevel",
            "INFO",
            "-s",
            str(stack.folder / f"beat-{os.urandom(4).hex()}"),
        ],
    )
    try:
        until(lambda: b"ready" in process.log.read_bytes(), what="the Celery worker")
        yield process
    finally:
        process.stop()


@pytest.fixture
def live_url(live_server_url: str, database: None) -> str:
    """Return the URL of gunicorn on the tests' database, which is this test's own while it runs."""
    return live_server_url


def web(stack: plugin.Stack) -> tuple[Process, str]:
    """Start gunicorn on a free port and return it with its URL once it answers."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = Process(
        stack,
        "web",
        [
            "gunicorn",
            "keyvault.wsgi:application",
            "--worker-class",
            "keyvault.web_server.BufferingWorker",
            "--workers",
            "1",
            "--threads",
            "4",
            "--no-control-socket",
            "--bind",
            f"127.0.0.1:{port}",
        ],
        BASE_URL=url,
    )
    try:
        until(lambda: _answers(port), what="gunicorn")
    except AssertionError:
        process.stop()
        raise
    return process, url


@pytest.fixture(scope="session")
def live_server_url(stack: plugin.Stack, migrated: None) -> Iterator[str]:
    """Run gunicorn for the whole session."""
    process, url = web(stack)
    yield url
    process.stop()


def _answers(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Run Debian's Chromium for the whole session."""
    from playwright.sync_api import sync_playwright

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """Return a fresh browser context; open pages with `browser.new_page()`."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    yield context
    context.close()
