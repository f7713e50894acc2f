"""All clients of a run.

The one rule: the fleet lives in one loop and one task group; cancelling it ends every client, and
the history then says that they were ended by the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from random import Random

from tidelab.core.driver import Driver
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import Table
from tidelab.fleet.client import Client
from tidelab.fleet.recorder import Recorder
from tidelab.fleet.weather import Weather

ShapeMaker = Callable[[Random], tuple[Shape, bool]]


class Fleet:
    """Make clients and keep them going; each has chances of its own, from the one seed."""

    def __init__(
        self,
        driver: Driver,
        tables: Mapping[str, Table],
        recorder: Recorder,
        make_shape: ShapeMaker,
        *,
        seed: int,
        count: int,
        faults: Collection[str],
    ) -> None:
        self._moved = asyncio.Event()
        self.clients = [
            self._client(f"c{number}", driver, tables, recorder, make_shape, seed, faults)
            for number in range(1, count + 1)
        ]

    def _client(
        self,
        name: str,
        driver: Driver,
        tables: Mapping[str, Table],
        recorder: Recorder,
        make_shape: ShapeMaker,
        seed: int,
        faults: Collection[str],
    ) -> Client:
        shapes = Random(f"{seed} shapes {name}")  # noqa: S311 -- repeatable, not secret
        return Client(
            name,
            driver.endpoint(),
            driver.session(name, tables),
            recorder,
            random=Random(f"{seed} client {name}"),  # noqa: S311 -- as above
            weather=Weather(Random(f"{seed} weather {name}"), faults),  # noqa: S311 -- as above
            make_shape=lambda: make_shape(shapes),
            moved=self._moved,
        )

    async def run(self) -> None:
        """Keep all clients going until cancelled."""
        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                group.create_task(client.run(), name=client.name)

    def leave(self) -> None:
        """Send all clients away."""
        for client in self.clients:
            client.leave()

    def come_back(self) -> None:
        """Let all clients connect again."""
        for client in self.clients:
            client.come_back()

    def stir(self) -> None:
        """Let every client that is connected ask for more, or give something up."""
        for client in self.clients:
            client.stir()

    async def settle(self, goal: Lsn, *, timeout_s: float) -> list[Client]:
        """Calm the weather and wait until all have arrived; return those that have not in time."""
        for client in self.clients:
            client.calm(goal)
        try:
            async with asyncio.timeout(timeout_s):
                while not all(client.has_arrived(goal) for client in self.clients):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            pass
        return [client for client in self.clients if not client.has_arrived(goal)]
