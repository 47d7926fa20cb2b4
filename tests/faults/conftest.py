"""What the cells share: a receiver and a world."""

import pytest

from keyvault.vault import secret_store
from tests.rotation.test_outbox import receiver  # noqa: F401 - the fixture


@pytest.fixture
def world(stack, vendor, place, people, receiver, tmp_path):  # noqa: F811
    """Return a place with one rotation that is about to begin."""
    from tests.faults.running import World

    for path in secret_store.list_paths("keys"):
        secret_store.destroy("keys", path)
    return World(stack, vendor, place, people, receiver, tmp_path)
