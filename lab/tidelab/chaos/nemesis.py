"""The enemy: inflicts one fault of a process after another, by a seeded schedule.

The one rule: one fault at a time, healed before the next; and each kind that was asked for comes at
least once in a run that is long enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from random import Random

from tidelab.chaos.process import PROCESS_FAULTS, Processes

FIRST_AFTER_S = 1.5  # clients shall have something to lose


class Nemesis:
    """Draw faults until cancelled."""

    def __init__(self, processes: Processes, faults: Collection[str], *, seed: int) -> None:
        self._processes = processes
        self._random = Random(f"{seed} chaos")  # noqa: S311 -- repeatable, not secret
        self._kinds = [fault for fault in PROCESS_FAULTS if fault in faults]
        self.inflicted = 0

    async def run(self, until: asyncio.Event) -> None:
        """Inflict faults until the event; the one under way is healed first."""
        turn: list[str] = []
        wait_s = FIRST_AFTER_S
        while self._kinds and not await self._is_over(until, wait_s):
            turn = turn or self._random.sample(self._kinds, len(self._kinds))
            await self._processes.inflict(
                turn.pop(), down_s=self._random.choice((0.0, 0.1, 0.5, 1.5, 4.0))
            )
            self.inflicted += 1
            wait_s = self._random.choice((0.3, 1.0, 2.0, 3.0))

    @staticmethod
    async def _is_over(until: asyncio.Event, wait_s: float) -> bool:
        """Wait a while, and tell whether the event has come in the meantime."""
        try:
            async with asyncio.timeout(wait_s):
                await until.wait()
        except TimeoutError:
            return False
        return True
