"""A test kit: tables are altered under clients, and no row is written that would tell of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from engine.tests.integration.live import Live, eventually
from engine.tests.integration.syncing import compare, script
from tidewire import Client, Engine, Shape, Subscription, SyncError

POLL_S = 0.05
# Of a shape that is not named here nothing is told.
Told = dict[str, str]
RESET = "reset"


class Scene:
    """Clients of several shapes of a table, one of another table, and a table to know the time."""

    def __init__(self, live: Live, engine: Engine, client: Client) -> None:
        self.live = live
        self.engine = engine
        self.client = client
        self.shapes: dict[str, Subscription] = {}

    async def follow(self, **shapes: Shape) -> None:
        found = await self.client.subscribe_all(*shapes.values())
        self.shapes.update(zip(shapes, found, strict=True))

    async def look(self) -> None:
        """Wait until the tables were looked at once more: behind all that was done before."""
        clock = self.shapes["clock"]
        before = clock.resets
        await script(self.live, "ALTER TABLE clock ALTER id TYPE int USING id + 1")
        await eventually(lambda: clock.resets > before and clock.is_live)

    async def expect(self, told: Told) -> None:
        """Check who was told what, and that all others have the rows that are there."""
        await self.look()
        await self.look()  # what was told with the first look has come before the second
        for name, subscription in self.shapes.items():
            what = told.get(name, "")
            await eventually(lambda its=subscription: its.is_live or its.error)  # type: ignore[misc]
            if what in ("", RESET):
                resets = subscription.resets if name != "clock" else 0
                found = (name, subscription.error, resets)
                assert found == (name, None, int(what == RESET))
                await compare(self.live, self.client, subscription)
            else:
                code, _, text = what.partition(": ")
                assert isinstance(subscription.error, SyncError), name
                assert (name, subscription.error.code) == (name, code)
                assert text in subscription.error.text


@contextlib.asynccontextmanager
async def scene(live: Live, *statements: str) -> AsyncIterator[Scene]:
    """Make tables, an engine and a client."""
    await script(live, *statements)
    await script(
        live, "CREATE TABLE clock (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)"
    )
    async with live.engine() as engine, Client(engine.url) as client:
        made = Scene(live, engine, client)
        await made.follow(clock=Shape("clock"), u=Shape("u"))
        yield made
