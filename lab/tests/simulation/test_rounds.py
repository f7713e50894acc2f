"""Goal: over a hundred thousand rounds (`make soak`: a million) nobody is released wrongly,
wedged or forgotten.

Method: the real core, driven by a seed through joins, deaths, repeats, cuts and kills of the
server (`world.py`). A failure prints the line that replays it.
"""

from __future__ import annotations

import os

import pytest

from lab.tests.simulation.world import World

ROUNDS, BLOCK = 50, 100
SEEDS = 2_000 * int(os.environ.get("TIDEWIRE_EFFORT", "1"))


@pytest.mark.soak
@pytest.mark.timeout(600)  # why: the blocks of a busy machine are slow, and none of them hangs
@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_everybody_meets_in_every_round(first: int) -> None:
    for seed in range(first, first + BLOCK):
        try:
            World(seed, ROUNDS).run()
        except Exception:
            print(f"again: python -m lab.tests.simulation.replay {seed} {ROUNDS}")
            raise
