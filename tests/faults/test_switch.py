"""The fault matrix: the cells where consumers are moved."""

import pytest

from tests.faults.choosing import chosen
from tests.faults.running import run


@pytest.mark.parametrize("cell", chosen("S7", "S8", "S9", "S10"), ids=str)
def test_the_cell_keeps_its_letter_and_every_invariant(world, cell):
    run(cell, world)
