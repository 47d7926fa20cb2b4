"""The fault matrix: the cells where a key is being made."""

import pytest

from tests.faults.choosing import chosen
from tests.faults.running import run


@pytest.mark.parametrize("cell", chosen("S1", "S3"), ids=str)
def test_the_cell_keeps_its_letter_and_every_invariant(world, cell):
    run(cell, world)
