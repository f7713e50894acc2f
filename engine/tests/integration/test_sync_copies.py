"""Goal: what happens while tables are copied is in the rows afterwards, exactly once, and whole.

Method: copies are held where their snapshot is taken and nothing is read, transactions move money
between tables, and after every message of the server the sum of all that is visible is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import psycopg
import pytest

import tidewire
from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import (
    Watched,
    compare,
    hold_rows,
    hold_snapshots,
    make_small,
    only_newest,
    script,
    together,
)
from tidewire import Client, Engine, Shape, Subscription, limits

pytestmark = pytest.mark.postgres

TABLES = ("a", "b", "c")
ROWS = 30
WHOLE = len(TABLES) * ROWS * 100


async def prepare(live: Live) -> None:
    for table in TABLES:
        await script(
            live,
            f"CREATE TABLE {table} (id int PRIMARY KEY, owner text, amount int NOT NULL)",
            f"INSERT INTO {table} SELECT n, repeat('o', n), 100 FROM generate_series(1, {ROWS}) n",
        )


def transfer(chance: random.Random) -> list[str]:
    """Write a transaction that leaves the sum over all tables as it is."""
    one, other = chance.sample(TABLES, 2)
    id, new = chance.randint(1, ROWS), chance.randint(10**3, 10**9)
    some = f"(SELECT id FROM {other} ORDER BY id LIMIT 1 OFFSET {id})"
    less = f"UPDATE {other} SET amount = amount - 7 WHERE id = {some}"
    gone = f"DELETE FROM {other} WHERE id = {some}"
    swapped = ((id, -new), (id % ROWS + 1, id), (-new, id % ROWS + 1))
    return chance.choice(
        [
            [f"WITH x AS ({less} RETURNING 1) INSERT INTO {one} SELECT {new}, 'new', 7 FROM x"],
            [f"WITH x AS ({gone} RETURNING *) INSERT INTO {one} SELECT {new}, 'x', amount FROM x"],
            [f"UPDATE {other} SET id = {new} WHERE id = {some}"],
            [f"UPDATE {one} SET id = {now} WHERE id = {old}" for old, now in swapped],
            [
                f"INSERT INTO {one} VALUES ({new}, 'short', 1)",
                f"UPDATE {one} SET amount = amount + 1 WHERE id = {new}",
                f"DELETE FROM {one} WHERE id = {new}",
            ],
        ]
    )


def empty(table: str, into: str, offset: int) -> list[str]:
    return [
        f"LOCK TABLE {table}",
        f"INSERT INTO {into} SELECT id + {offset}, 'saved', amount FROM {table}",
        f"TRUNCATE {table}",
        f"INSERT INTO {table} VALUES (0, 'first', 0)",
    ]


async def write(
    live: Live, chance: random.Random, is_enough: asyncio.Event, done: list[int]
) -> None:
    async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
        while not is_enough.is_set():
            with contextlib.suppress(
                psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation
            ):
                async with connection.transaction():
                    for statement in transfer(chance):
                        await connection.execute(statement.encode())
                done.append(1)


def look_at(rows: list[Subscription[Any]], seen: list[bool]) -> None:
    """Check what is visible: everything, or nothing yet."""
    if not rows:
        return
    is_live = {each.is_live for each in rows}
    assert len(is_live) == 1, "they become visible together"
    total = sum(row["amount"] for each in rows for row in each.rows.values())
    assert total == (WHOLE if is_live == {True} else 0)
    seen.append(is_live == {True})


@pytest.mark.parametrize("seed", range(2))
@in_loop
async def test_tables_are_written_to_while_each_of_them_is_copied(
    live: Live, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    await prepare(live)
    gate = hold_rows(monkeypatch)
    chance, is_enough, done = random.Random(seed), asyncio.Event(), list[int]()
    seen: list[bool] = []
    async with live.engine() as engine, Watched(engine.url) as client, asyncio.TaskGroup() as tasks:
        client.look = lambda: look_at([*client._following.subscriptions.values()], seen)
        writers = [
            tasks.create_task(write(live, random.Random(chance.random()), is_enough, done))
            for _ in range(2)
        ]
        asking = tasks.create_task(client.subscribe_all(*(Shape(table) for table in TABLES)))
        await eventually(lambda: sorted(gate.arrived) == list(TABLES))
        for number, table in enumerate(chance.sample(TABLES, 3), 1):
            await more(done)
            gate.open(table)
            await read(engine, number)
            if number < 3:  # it is read, but not shown: others are held
                await until_done(live, empty(table, "abc".replace(table, "")[0], 10**6 * number))
        subscriptions = await asking
        await more(done)
        is_enough.set()
        async with asyncio.timeout(20):
            await asyncio.wait(writers)
        await compare(live, client, *subscriptions)
        assert seen.count(True) > 5, "it was looked at while it changed"
        assert seen == sorted(seen), "what was visible once stays visible"
        assert "reset" not in client.kinds


async def more(done: list[int], count: int = 15) -> None:
    """Wait for so many more transactions."""
    wanted = len(done) + count
    await eventually(lambda: len(done) >= wanted)


async def read(engine: Engine, count: int) -> None:
    """Wait until the rows of so many tables are in the spool."""
    await eventually(lambda: sum(c.is_complete for c in engine.hub.copies._entries) >= count)


async def until_done(live: Live, statements: list[str]) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(psycopg.errors.DeadlockDetected):
                return await together(live, statements)


@only_newest
@in_loop
async def test_a_table_is_asked_for_first_by_two_while_a_transaction_writes_to_it(
    live: Live,
) -> None:
    await script(live, "CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1)")
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE '%is_settled%' AND application_name = 'tidewire'"
    )
    for is_committed in (True, False):
        writer = await psycopg.AsyncConnection.connect(live.url)
        async with (
            live.engine() as engine,
            writer,
            Client(engine.url) as one,
            Client(engine.url) as other,
            asyncio.TaskGroup() as tasks,
        ):
            await writer.execute("INSERT INTO t VALUES (2, 2)")
            asking = [tasks.create_task(client.subscribe("t")) for client in (one, other)]
            async with asyncio.timeout(10):
                while await live.execute(waits) != [(1,)]:
                    pass
            assert not any(task.done() for task in asking)
            await writer.execute("UPDATE t SET n = n + 10 WHERE id = 1")
            await (writer.commit() if is_committed else writer.rollback())
            for client, task in zip((one, other), asking, strict=True):
                await compare(live, client, await task)
            await script(
                live, "UPDATE t SET n = n + 100 WHERE id = 1", "DELETE FROM t WHERE id > 1"
            )
            for client, task in zip((one, other), asking, strict=True):
                await compare(live, client, await task)
        await script(live, "ALTER PUBLICATION tidewire_default DROP TABLE t")


@in_loop
async def test_transactions_larger_than_a_part_come_live_behind_and_during_a_copy(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    await script(
        live,
        "CREATE TABLE t (id int PRIMARY KEY, body text)",
        "INSERT INTO t SELECT n, repeat('a', 50) FROM generate_series(1, 300) n",
        "CREATE TABLE u (id int PRIMARY KEY, body text)",
    )
    gate = hold_rows(monkeypatch)
    large = [
        "INSERT INTO t SELECT n, repeat('b', 50) FROM generate_series(301, 600) n",
        "UPDATE t SET id = -id WHERE id % 3 = 0",
        "INSERT INTO u SELECT id, body FROM t",
        "UPDATE t SET body = 'c' WHERE id % 5 = 0",
        "DELETE FROM t WHERE id % 7 = 0",
        "UPDATE u SET id = id + 10000",
    ]
    async with live.engine() as engine, asyncio.TaskGroup() as tasks:
        async with Watched(engine.url) as early, Watched(engine.url) as late:
            gate.open("u")
            early_u = await early.subscribe("u")
            asking = tasks.create_task(late.subscribe_all(Shape("t"), Shape("u")))
            await eventually(lambda: gate.arrived.count("t") == 1)
            await together(live, large)
            await together(live, ["DELETE FROM u WHERE id % 2 = 0", "UPDATE t SET body = 'd'"])
            gate.open("t")
            both = await asking
            await compare(live, early, early_u)
            await compare(live, late, *both)
            await together(live, ["TRUNCATE u", *large[2:3], "DELETE FROM t", large[0]])
            await compare(live, early, early_u)
            await compare(live, late, *both)
        assert early.kinds.count("commit") > 20, "in parts"


@only_newest
@in_loop
async def test_a_really_large_transaction_comes_while_a_copy_runs(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 60_000
    await script(
        live,
        "CREATE TABLE t (id int PRIMARY KEY, body text)",
        f"INSERT INTO t SELECT n, repeat('é', 60) FROM generate_series(1, {rows}) n",
    )
    gate = hold_rows(monkeypatch)
    async with live.engine() as engine, Client(engine.url) as client, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t"))
        await eventually(lambda: gate.arrived == ["t"])
        await script(live, "UPDATE t SET body = body || 'x', id = -id")
        await eventually(lambda: engine.hub.history.bytes > limits.TRANSACTION_MEMORY_BYTES)
        gate.open("t")
        t = await asking
        assert len(t.rows) == rows
        assert t.rows[-7] == {"id": -7, "body": "é" * 60 + "x"}
        assert min(t.rows) == -rows
        assert max(t.rows) == -1


@only_newest
@in_loop
async def test_equal_shapes_share_one_copy_and_it_goes_when_nobody_comes(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(live)
    gate = hold_rows(monkeypatch)
    async with live.engine() as engine, asyncio.TaskGroup() as tasks:
        async with Client(engine.url) as one, Client(engine.url) as two, Client(engine.url) as odd:
            asking = [tasks.create_task(client.subscribe("a")) for client in (one, two)]
            other = tasks.create_task(odd.subscribe("a", where="id < 3"))
            await eventually(lambda: len(engine.hub.copies) == 2 and len(gate.arrived) == 2)
            assert b"tidewire_copies 2" in engine.metrics.exposition()
            gate.open("a")
            assert [len((await task).rows) for task in (*asking, other)] == [ROWS, ROWS, 2]
            await script(live, "INSERT INTO a VALUES (1000, 'late', 1)")
            async with Client(engine.url) as third:
                assert 1000 in (await third.subscribe("a")).rows
            assert gate.arrived == ["a", "a"], "the third reads what the others have read"
        monkeypatch.setattr(limits, "COPY_KEEP_S", 0.0)
        await eventually(lambda: len(engine.hub.copies) == 0 and len(engine.hub.index) == 0)
        assert b"tidewire_copies 0" in engine.metrics.exposition()
        async with Client(engine.url) as late:
            assert 1000 in (await late.subscribe("a")).rows
        assert gate.arrived == ["a"] * 3


@only_newest
@in_loop
async def test_a_shape_that_is_copied_meets_one_that_is_live_at_one_commit(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("a", "b"):
        await script(
            live,
            f"CREATE TABLE {table} (id int PRIMARY KEY, n int)",
            f"INSERT INTO {table} SELECT i, 0 FROM generate_series(1, 50) i",
        )
    monkeypatch.setattr(limits, "CHUNK_BYTES", 100)
    gate = hold_rows(monkeypatch)
    gate.open("a")
    step = ["UPDATE a SET n = n + 1", "UPDATE b SET n = n + 1"]
    visible: list[tuple[int, ...]] = []
    async with live.engine() as engine, Watched(engine.url) as client, asyncio.TaskGroup() as tasks:
        a = await client.subscribe("a")

        def look() -> None:
            shown = [each for each in client._following.subscriptions.values() if each.is_live]
            values = [{row["n"] for row in each.rows.values()} for each in shown]
            assert all(len(each) == 1 for each in values), values
            visible.append(tuple(n for each in values for n in each))

        client.look = look
        asking = tasks.create_task(client.subscribe("b"))
        await eventually(lambda: gate.arrived[-1] == "b")
        for _ in range(5):
            await together(live, step)
        await eventually(lambda: visible and visible[-1] == (5,))
        gate.open("b")
        for _ in range(5):
            await together(live, step)
        await compare(live, client, a, await asking)
    assert {shown for shown in visible if len(shown) == 2} <= {(n, n) for n in range(5, 11)}
    assert visible[-1] == (10, 10)


async def read_and_roll_back(live: Live) -> None:
    """Write to the log as a hint on a page does: no commit follows, so that nobody flushes it."""
    async with await psycopg.AsyncConnection.connect(live.url) as connection:
        await connection.execute("SELECT pg_logical_emit_message(false, 'test', 'unflushed')")
        await connection.rollback()


@in_loop
async def test_somebody_reads_and_nobody_writes_while_a_table_is_asked_for(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await script(live, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    gate = hold_snapshots(monkeypatch)
    async with live.engine() as engine, Client(engine.url) as client, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t"))
        await eventually(lambda: gate.arrived)
        await read_and_roll_back(live)
        gate.open("t")
        async with asyncio.timeout(5):
            await asking
        await read_and_roll_back(live)
        async with asyncio.timeout(5):
            await client.subscribe("t", initial=False)


@only_newest
@in_loop
async def test_a_copy_is_all_that_reads_and_nobody_writes(live: Live) -> None:
    """Its own hints in the log must not hold up who waits for a position."""
    await script(live, "CREATE TABLE t (id int PRIMARY KEY)")
    await script(live, "INSERT INTO t SELECT generate_series(1, 3000)", "CHECKPOINT")
    async with live.engine() as engine, Client(engine.url) as client:
        await client.subscribe("t")
        async with await psycopg.AsyncConnection.connect(live.url) as connection:
            await client.wait_for(await tidewire.position(connection), timeout_s=4)


@only_newest
@in_loop
async def test_somebody_reads_and_nobody_writes_while_a_position_is_waited_for(live: Live) -> None:
    await script(live, "CREATE TABLE t (id int PRIMARY KEY)")
    connecting = psycopg.AsyncConnection.connect(live.url, autocommit=True)
    async with live.engine() as engine, Client(engine.url) as client, await connecting as writer:
        await client.subscribe("t")
        await writer.execute("INSERT INTO t VALUES (1)")
        await read_and_roll_back(live)
        await client.wait_for(await tidewire.position(writer), timeout_s=2)
