"""Play each kind of process against the real OpenBao, and look at it from outside."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hvac
import pytest
from django.test import override_settings

from keyvault.vault import secret_store
from keyvault.vault.secret_store import StoreUnavailable

VALUE = {"secret": "canary-vault-8361-value"}


@contextmanager
def acting_as(bao: Any, role: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log in as a `web` or `worker` process would, with that role's own policy."""
    with monkeypatch.context() as patch, override_settings(VAULT_ROLE_ID=bao.credentials(role)[0]):
        patch.setenv("VAULT_SECRET_ID_FILE", str(bao.secret_id_file(role)))
        secret_store.forget_login()
        try:
            yield
        finally:
            secret_store.forget_login()


@contextmanager
def vault_at(address: str) -> Iterator[None]:
    """Let the secret store talk to another address."""
    with override_settings(VAULT_ADDR=address):
        secret_store.forget_login()
        try:
            yield
        finally:
            secret_store.forget_login()


def inspector(bao: Any) -> hvac.Client:
    """Return a client that may do everything, to set up and to look."""
    client = hvac.Client(url=bao.address, timeout=10)
    role_id, secret_id = bao.credentials("operator")
    client.auth.approle.login(role_id, secret_id)
    return client


def logins(bao: Any, role: str) -> int:
    """Return how many logins of a role OpenBao's own audit log holds."""
    count = 0
    for line in bao.audit_log.read_text().splitlines():
        entry = json.loads(line)
        if entry["type"] == "response" and entry["request"]["path"] == "auth/approle/login":
            metadata = (entry.get("auth") or {}).get("metadata") or {}
            count += metadata.get("role_name") == role
    return count


def unavailable(address: str, seconds: float = 5.0) -> StoreUnavailable:
    """Return the error of a read at `address`, which must come in time and hold no address."""
    with vault_at(address):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            secret_store.read("keys", uuid.uuid4())
        assert time.monotonic() - began < seconds
    assert "127.0.0.1" not in caught.value.message
    assert caught.value.retryable
    assert caught.value.status == 503
    return caught.value
