"""Run one seed of the simulation again: python -m engine.tests.simulation.replay SEED [STEPS]."""

from __future__ import annotations

import sys

from engine.tests.simulation.world import World, small_world

if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    with small_world():
        World(numbers[0]).run(numbers[1] if len(numbers) > 1 else 200)
