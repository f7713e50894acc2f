"""Goal: at every position, every client shows exactly the rows that were committed up to there.

Method: the real hub, sessions, client and store, driven by a seed through a database in which
commits are written, flushed and seen in different orders, through links that delay and cut, crashes
of both ends, clients that die and go on from what they have written down, and copies that fail
(`system.py`). Every message that arrives is judged at once; at the end everybody is live, and
nothing is left behind. A failure prints the line that replays it.
"""

from __future__ import annotations

import os

import pytest

from engine.tests.simulation.world import World, small_world

SEEDS = 2_000 * int(os.environ.get("TIDEWIRE_EFFORT", "1"))
STEPS = 200
BLOCK = 250


@pytest.mark.soak
@pytest.mark.timeout(600)  # why: the blocks of a busy machine are slow, and none of them hangs
@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_what_clients_see_is_the_database_at_their_position(first: int) -> None:
    with small_world():
        for seed in range(first, first + BLOCK):
            World(seed).run(STEPS)
