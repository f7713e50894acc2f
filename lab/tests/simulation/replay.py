"""Run one seed again: python -m lab.tests.simulation.replay SEED [ROUNDS]."""

from __future__ import annotations

import sys

from lab.tests.simulation.world import World

if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    World(numbers[0], numbers[1] if len(numbers) > 1 else 50).run()
