"""Start the real servers once a run and set the environment, before Django reads its settings.

Named in `addopts`: pytest-django loads settings before any conftest. Setting TEST_STACK=none runs
only what needs no server. Everything lies in one temporary folder and ends with the run.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

FAST = {"TICK_SECONDS": "0.5", "DEFAULT_OVERLAP_SECONDS": "0", "DEFAULT_QUIET_SECONDS": "1"}
SECRETS = {
    "SECRET_KEY": "tests-only-secret-key-0123456789abcdefghij",
    "FINGERPRINT_KEY": "tests-only-fingerprint-key-0123456789abcd",
    "TOKEN_PEPPER": "tests-only-token-pepper-0123456789abcdefgh",
}
COMMON = {
    **SECRETS,
    **FAST,
    "ALLOWED_HOSTS": "127.0.0.1,localhost,testserver",
    "INSECURE_HTTP": "1",
    "ALLOW_LOOPBACK_TARGETS": "1",
    "LOG_LEVEL": "INFO",
    "EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend",
    "WORKER_SHUTDOWN_SECONDS": "2",
}


@dataclass
class Stack:
    """The servers of this run; `environment(kind)` is what a process of that kind is given."""

    folder: Path
    postgres: Any = None
    valkey: Any = None
    openbao: Any = None

    def environment(self, kind: str) -> dict[str, str]:
        """Return the settings for a `web`, `worker` or `owner` process."""
        # The tests' own process plays web and worker both; real processes get their own role.
        role = {"worker": "worker", "tests": "operator"}.get(kind, "web")
        bao, database = self.openbao, self.postgres
        result = {
            **COMMON,
            "DATABASE_URL": database.app_url,
            "CELERY_BROKER_URL": self.valkey.broker_url,
            "VAULT_ADDR": bao.address,
            "VAULT_MOUNT": bao.mount,
            "VAULT_ROLE_ID": bao.credentials(role)[0],
            "VAULT_SECRET_ID_FILE": str(bao.secret_id_file(role)),
        }
        if kind in ("owner", "tests"):
            result["DATABASE_OWNER_URL"] = database.owner_url
        return result


STACK: Stack | None = None


def _start(durable: bool = False) -> Stack:
    from sandbox.services.openbao import OpenBao
    from sandbox.services.postgres import Postgres
    from sandbox.services.valkey import Valkey

    folder = Path(tempfile.mkdtemp(prefix="keyvault-tests-"))
    stack = Stack(folder)
    stack.postgres = Postgres(folder / "postgres", durable=durable)
    stack.valkey = Valkey(folder / "valkey")
    stack.openbao = OpenBao(folder / "openbao", operator=True)
    try:
        for server in (stack.postgres, stack.valkey, stack.openbao):
            server.start()
    except BaseException:
        _stop(stack)
        raise
    return stack


def _stop(stack: Stack) -> None:
    for server in (stack.openbao, stack.valkey, stack.postgres):
        server.stop()
    shutil.rmtree(stack.folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Set the environment before pytest-django reads the settings."""
    global STACK
    # Set once and handed on, so that all processes of a run take the same cells, also at midnight.
    os.environ.setdefault("FAULTS_SEED", str(date.today().toordinal()))
    os.environ.pop("DATABASE_URL", None)
    if os.environ.get("TEST_STACK") == "none" or _needs_no_servers(early_config):
        nowhere = {
            "DATABASE_URL": "postgres://nobody@/nothing",
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/",
        }
        os.environ.update({**COMMON, **nowhere})
        return
    STACK = _start()
    os.environ.update(STACK.environment("tests"))


def pytest_report_header() -> str:
    """Say which sixth of the fault matrix this run takes."""
    taken = (
        "all" if os.environ.get("FAULTS") == "all" else f"FAULTS_SEED={os.environ['FAULTS_SEED']}"
    )
    return f"fault matrix: {taken}"


def _needs_no_servers(config: pytest.Config) -> bool:
    """Tell whether this process runs no test itself: it only collects, or hands out to others."""
    options = config.known_args_namespace
    hands_out = getattr(options, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ
    return bool(options.collectonly or getattr(options, "help", False) or hands_out)


def pytest_unconfigure() -> None:
    """Stop every server this run started."""
    global STACK
    if STACK is not None:
        _stop(STACK)
        STACK = None
