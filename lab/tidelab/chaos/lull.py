"""A fault that is none: everybody goes away for a moment, and the server may fall asleep.

The one rule: who went away comes back, whatever happens meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tidelab import limits
from tidelab.env.engine import EngineProcess
from tidelab.fleet.fleet import Fleet
from tidelab.fleet.recorder import Recorder

LULL_FAULTS = ("lull",)
SLEEPS = "a server that nobody is connected to falls asleep"


class Lull:
    """Send the clients away, and sometimes the writers too."""

    def __init__(
        self,
        engine: EngineProcess,
        fleet: Fleet,
        writing: asyncio.Event,
        recorder: Recorder,
        *,
        seed: int,
    ) -> None:
        self._engine, self._fleet, self._writing = engine, fleet, writing
        self._recorder = recorder
        self._random = Random(f"{seed} lull")  # noqa: S311 -- repeatable, not secret

    async def inflict(self, fault: str, down_s: float) -> None:
        """Let everybody go, wait until the server sleeps, and for a while; let them come back."""
        is_silent = self._random.random() < 0.5
        detail = f"for {down_s:g} s, {'nobody' if is_silent else 'somebody'} writes"
        with self._recorder.operation("chaos", fault, detail):
            async with self.without(clients=True, writers=is_silent):
                await self._engine.wait_status(
                    "state", lambda state: state == "asleep", timeout_s=limits.FALL_ASLEEP_S
                )
                self._recorder.meet(SLEEPS)
                await asyncio.sleep(down_s)
        await self._engine.wait_ready()

    @asynccontextmanager
    async def without(self, *, clients: bool, writers: bool) -> AsyncIterator[None]:
        """Let nobody of these do anything while the block runs."""
        if clients:
            self._fleet.leave()
        if writers:
            self._writing.clear()
        try:
            yield
        finally:
            self._writing.set()
            self._fleet.come_back()
