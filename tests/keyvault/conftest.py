"""Fixtures of the tests of the core."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from keyvault.vault import secret_store
from tests.keyvault.vault import VALUE


@pytest.fixture
def bao(stack: Any) -> Iterator[Any]:
    """Return OpenBao with no login of ours left from another test."""
    secret_store.forget_login()
    yield stack.openbao
    secret_store.forget_login()


@pytest.fixture
def path(bao: Any) -> uuid.UUID:
    """Return the path of a secret that was just written."""
    path = uuid.uuid4()
    secret_store.write_once("keys", path, VALUE)
    return path
