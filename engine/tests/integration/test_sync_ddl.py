"""Goal: a table that is altered while it is copied is copied as it is now, or the client is told.

Method: a copy is held where its table was looked up and nothing is locked, or where the snapshot is
taken; what the client has in the end is compared with the table. Nothing is wrong in silence.
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import (
    Watched,
    compare,
    hold_rows,
    hold_snapshots,
    only_newest,
    script,
)
from tidewire import Client, Shape, SyncError, limits

pytestmark = [pytest.mark.postgres, only_newest]

TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, n int)",
    "INSERT INTO t SELECT n, 'v' || n, n FROM generate_series(1, 20) n",
)
BLOCKED = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND NOT granted"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_LONGEST_S", 0.1)
    # The copies themselves are right, whatever is read of the catalog afterwards (test_schema.py).
    monkeypatch.setattr(limits, "SCHEMA_POLL_S", 1_000)


@in_loop
async def test_a_rewrite_commits_while_the_copy_waits_for_its_lock(live: Live) -> None:
    """A snapshot that is older than the rewrite would read the table as empty."""
    await script(live, *TABLE)
    async with live.engine() as engine, Watched(engine.url) as client, asyncio.TaskGroup() as tasks:
        await client.subscribe("t", where="id < 0")  # so that it is published
        altering = await psycopg.AsyncConnection.connect(live.url)
        async with altering:
            await altering.execute("ALTER TABLE t ADD COLUMN chance float8 DEFAULT random()")
            asking = tasks.create_task(client.subscribe("t"))
            async with asyncio.timeout(10):
                while await live.execute(BLOCKED) != [(1,)]:
                    pass
            await altering.commit()
        t = await asking
        assert len(t.rows) == 20
        await compare(live, client, t)
        await script(live, "UPDATE t SET n = 0, chance = 1 WHERE id = 7")
        await compare(live, client, t)


DDL = {
    "a column is added": "ALTER TABLE t ADD COLUMN late float8 DEFAULT random()",
    "a column is dropped": "ALTER TABLE t DROP COLUMN v",
    "a column is renamed": "ALTER TABLE t RENAME COLUMN v TO w",
    "a column gets another type": "ALTER TABLE t ALTER n TYPE int8",
    "a column gets another type, and reads the same": "ALTER TABLE t ALTER v TYPE varchar(9)",
    "a table is made again": "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, w int);"
    " INSERT INTO t VALUES (1, 1)",
    "the key is another": "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (v)",
    "rows are filled in": "TRUNCATE t; INSERT INTO t VALUES (1, 'x', 1)",
}


@pytest.mark.parametrize("event", DDL)
@in_loop
async def test_a_table_is_altered_between_its_look_up_and_its_copy(
    live: Live, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await script(live, *TABLE)
    gate = hold_snapshots(monkeypatch)
    async with live.engine() as engine, Client(engine.url) as client, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t"))
        await eventually(lambda: gate.arrived == ["t"])
        async with await psycopg.AsyncConnection.connect(live.url) as connection:
            await connection.execute(DDL[event].encode())
        gate.open("t")
        t = await asking
        now = await live.execute(
            "SELECT attname::text, atttypid::regtype::text FROM pg_attribute"
            " WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped"
        )
        assert {name for name, _ in t.columns} <= {name for name, _ in now}
        types = {"int4": "integer", "int8": "bigint", "varchar": "character varying"}
        assert {(name, types.get(kind, kind)) for name, kind in t.columns} <= set(now)
        await compare(live, client, t)
        if event == "the key is another":
            await script(live, "INSERT INTO t VALUES (1000, 'new'), (1, 'newer')")
        else:
            await script(live, "INSERT INTO t SELECT 1000", "DELETE FROM t WHERE id = 1")
        await compare(live, client, t)


@in_loop
async def test_a_table_is_dropped_before_its_copy(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await script(live, *TABLE, "CREATE TABLE u (id int PRIMARY KEY)")
    gate = hold_snapshots(monkeypatch)
    gate.open("u")
    async with live.engine() as engine, Client(engine.url) as client:
        u = await client.subscribe("u")

        async def ask() -> None:
            with pytest.raises(SyncError) as refused:
                await client.subscribe("t")
            assert refused.value.code == "unknown_table"

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask())
            await eventually(lambda: gate.arrived[-1] == "t")
            await script(live, "DROP TABLE t")
            gate.open("t")
        await script(live, "INSERT INTO u VALUES (1)")
        await compare(live, client, u)


@pytest.mark.parametrize("event", DDL)
@in_loop
async def test_a_table_is_altered_while_its_rows_are_read_by_a_slow_client(
    live: Live, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are in the spool, the copy of another table holds the client back."""
    monkeypatch.setattr(limits, "SCHEMA_POLL_S", 0.05)
    await script(live, *TABLE, "CREATE TABLE u (id int PRIMARY KEY)")
    gate = hold_rows(monkeypatch)
    gate.open("t")
    async with live.engine() as engine, Watched(engine.url) as client, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(subscribe_both(client))
        await eventually(lambda: gate.arrived.count("t") == 1 and "u" in gate.arrived)
        await eventually(lambda: any(c.is_complete for c in engine.hub.copies._entries))
        async with await psycopg.AsyncConnection.connect(live.url) as connection:
            await connection.execute(DDL[event].encode())
        # The stream tells of an alteration with the next row.
        if event == "the key is another":
            await script(live, "INSERT INTO t VALUES (1000, 'new'), (1, 'newer')")
        else:
            await script(live, "INSERT INTO t SELECT 1000", "UPDATE t SET id = -id")
        if event == "a table is made again":  # which no row of the old one tells
            await eventually(lambda: "reset" in client.kinds)
        gate.open("u")
        await asking
        t, u = client._following.subscriptions.values()
        await eventually(lambda: t.is_live and u.is_live)
        await compare(live, client, t, u)


async def subscribe_both(client: Watched) -> None:
    await client.subscribe_all(Shape("t"), Shape("u"))
