"""The fault matrix: the cells where the old key is ended."""

import pytest

from tests.faults.choosing import chosen
from tests.faults.running import run


@pytest.mark.parametrize("cell", chosen("S11", "S12", "S13", "S14"), ids=str)
def test_the_cell_keeps_its_letter_and_every_invariant(world, cell):
    run(cell, world)
