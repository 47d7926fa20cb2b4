"""What the cells share: a receiver, a world, and which cells this run takes."""

import os
from datetime import date

import pytest

from keyvault import secret_store
from tests.faults.table import cells
from tests.rotation.test_outbox import receiver  # noqa: F401 - the fixture


def chosen(*effects):
    """Return this run's cells of these side effects: all, or the third that the seed names."""
    rows = [cell for cell in cells() if cell.effect in effects]
    if os.environ.get("FAULTS") == "all":
        return rows
    return [cell for place, cell in enumerate(cells()) if cell in rows and place % 3 == seed() % 3]


def seed() -> int:
    """Return the seed of this run: FAULTS_SEED, else the day, so that three days take all."""
    return int(os.environ.get("FAULTS_SEED", date.today().toordinal()))


def pytest_report_header():
    """Print which third of the matrix this run takes."""
    taken = "all" if os.environ.get("FAULTS") == "all" else f"FAULTS_SEED={seed()}"
    return f"fault matrix: {taken}"


@pytest.fixture
def world(stack, vendor, place, people, receiver, tmp_path):  # noqa: F811
    """Return a place with one rotation that is about to begin."""
    from tests.faults.running import World

    for path in secret_store.list_paths("keys"):
        secret_store.destroy("keys", path)
    return World(stack, vendor, place, people, receiver, tmp_path)
