"""Which cells of the matrix a run takes: all, or the sixth that its seed names."""

import os

from tests.faults.table import cells


def chosen(*effects):
    """Return this run's cells of these side effects: all, or the sixth that the seed names."""
    rows = [cell for cell in cells() if cell.effect in effects]
    if os.environ.get("FAULTS") == "all":
        return rows
    return [cell for place, cell in enumerate(cells()) if cell in rows and place % 6 == seed() % 6]


def seed() -> int:
    """Return the seed of this run, which tests/plugin.py sets: the day, so that six take all."""
    return int(os.environ.get("FAULTS_SEED", "0"))
