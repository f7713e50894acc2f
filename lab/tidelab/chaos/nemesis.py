"""The enemy: inflicts one fault after another, by a seeded schedule.

The one rule: one fault at a time, healed before the next; and each kind that was asked for comes at
least once in a run that is long enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Protocol

FIRST_AFTER_S = 1.5  # clients shall have something to lose


class Inflicts(Protocol):
    """Who can make a fault real."""

    async def inflict(self, fault: str, down_s: float) -> None:
        """Inflict one fault, wait, and heal it; raises EngineError if the server stays away."""
        ...


class Nemesis:
    """Draw faults until cancelled; `faults` says who inflicts which."""

    def __init__(self, faults: Mapping[str, Inflicts], *, seed: int) -> None:
        self._faults = faults
        self._random = Random(f"{seed} chaos")  # noqa: S311 -- repeatable, not secret
        self.inflicted = 0

    async def run(self, until: asyncio.Event) -> None:
        """Inflict faults until the event; the one under way is healed first."""
        turn: list[str] = []
        wait_s = FIRST_AFTER_S
        while self._faults and not await self._is_over(until, wait_s):
            turn = turn or self._random.sample(list(self._faults), len(self._faults))
            fault = turn.pop()
            down_s = self._random.choice((0.0, 0.1, 0.5, 1.5, 4.0))
            await self._faults[fault].inflict(fault, down_s)
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
