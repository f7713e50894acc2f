"""Goal: a transaction that is older than the publishing of a table does not confuse the log.

Whether the stream holds what such a transaction writes to the table depends on what the walsender
decoded before it, so a second reading of the same log may differ from the first.
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import compare, only_newest, script
from tidewire import Client, Subscription
from tidewire.engine import Engine

pytestmark = [pytest.mark.postgres, only_newest]

TABLE = "CREATE TABLE a (id int PRIMARY KEY)"
LATE = "CREATE TABLE late (id int PRIMARY KEY)"
PUBLISHED = "SELECT 1 FROM pg_publication_tables WHERE tablename = 'late'"
END_STREAM = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active"


async def write_across_the_publishing(live: Live, client: Client) -> Subscription:
    """Subscribe to a table that an older transaction, still open, has written to."""
    connecting = psycopg.AsyncConnection.connect(live.url)
    async with await connecting as old, asyncio.TaskGroup() as tasks:
        await old.execute("INSERT INTO late VALUES (2)")
        subscribing = tasks.create_task(client.subscribe("late"))
        while not await live.execute(PUBLISHED):
            await asyncio.sleep(0.01)  # why: the poll of a catalog, under the test's own deadline
        # The walsender learns of the table from a young transaction, and then reads the old one.
        await script(live, "INSERT INTO late VALUES (1)")
        await old.commit()
        rows = await subscribing
        assert sorted(rows.rows) == [1, 2]
        return rows


def tags(engine: Engine) -> list[str]:
    history = engine.hub.history
    return [history.at(number).tag for number in range(history.first, history.next)]


@in_loop
async def test_the_stream_is_cut_behind_a_transaction_that_is_older_than_the_publishing(
    live: Live,
) -> None:
    await script(live, TABLE, LATE)
    async with live.engine() as engine, Client(engine.url) as client:
        a = await client.subscribe("a")
        late = await write_across_the_publishing(live, client)
        epoch, starts = engine.hub.epoch, engine.metrics.replication_starts
        begun = starts._value.get()
        await live.execute(END_STREAM)
        await eventually(lambda: starts._value.get() > begun)
        await script(live, "INSERT INTO a VALUES (1)", "INSERT INTO late VALUES (3)")
        await compare(live, client, a, late)
        assert engine.hub.epoch == epoch


@in_loop
async def test_the_server_is_restarted_behind_such_a_transaction(live: Live) -> None:
    await script(live, TABLE, LATE)
    async with live.engine() as engine, Client(engine.url) as client:
        await client.subscribe("a")
        await write_across_the_publishing(live, client)
        first = tags(engine)
    async with live.engine() as engine:
        await eventually(lambda: engine.is_ready)
        assert tags(engine) == first
