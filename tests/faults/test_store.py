"""The fault matrix: the cells where a key is stored and checked."""

import pytest

from tests.faults.choosing import chosen
from tests.faults.running import run


@pytest.mark.parametrize("cell", chosen("S4", "S5", "S6"), ids=str)
def test_the_cell_keeps_its_letter_and_every_invariant(world, cell):
    run(cell, world)
