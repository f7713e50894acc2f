"""Live changes of whole tables: PostgreSQL to Python clients, through everything that is real."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest

from engine.tests.integration.live import Live, collect, eventually, following, in_loop
from tidewire import Client, SyncError

pytestmark = pytest.mark.postgres

ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, status text, n bigint)"


@in_loop
async def test_every_kind_of_change_arrives_in_commit_order(live: Live) -> None:
    await live.execute(ORDERS)
    async with live.engine() as engine, following(engine, "orders") as (_, orders):
        assert (orders.table, orders.key) == ("public.orders", ("id",))
        assert orders.columns == (("id", "int4"), ("status", "text"), ("n", "int8"))
        await live.execute("INSERT INTO orders VALUES (1, 'new', 9007199254740993), (2, 'new', 0)")
        await live.execute("UPDATE orders SET status = 'paid' WHERE id = 1")
        await live.execute("UPDATE orders SET id = 3 WHERE id = 2")
        await live.execute("DELETE FROM orders WHERE id = 3")
        await live.execute("TRUNCATE orders")
        commits = await collect(orders, 6)
        seen = [(c.op, c.key, c.old_key) for commit in commits for c in commit.changes]
        assert seen == [
            ("insert", (1,), None),
            ("insert", (2,), None),
            ("update", (1,), None),
            ("rekey", (3,), (2,)),
            ("delete", (3,), None),
            ("truncate", (), None),
        ]
        assert commits[0].changes[0].values == {"id": 1, "status": "new", "n": 9007199254740993}
        assert len(commits[0].changes) == 2, "a transaction arrives whole"


@in_loop
async def test_a_full_replica_identity_sends_only_what_changed(live: Live) -> None:
    await live.execute(ORDERS)
    await live.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    async with live.engine() as engine, following(engine, "orders") as (_, orders):
        await live.execute("INSERT INTO orders VALUES (1, 'new', 5)")
        await live.execute("UPDATE orders SET status = NULL WHERE id = 1")
        _, update = await collect(orders, 2)
        assert update.changes[0].values == {"status": None}


@in_loop
async def test_an_untouched_toast_value_is_absent_from_the_update(live: Live) -> None:
    await live.execute("CREATE TABLE t (id int PRIMARY KEY, big text, n int)")
    await live.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    async with live.engine() as engine, following(engine, "t") as (_, t):
        await live.execute("INSERT INTO t VALUES (1, repeat('x', 9000), 1)")
        await live.execute("UPDATE t SET n = 2")
        insert, update = await collect(t, 2)
        assert len(str(insert.changes[0].values["big"])) == 9000
        assert update.changes[0].values == {"id": 1, "n": 2}


@in_loop
async def test_two_tables_of_one_transaction_arrive_in_one_commit(live: Live) -> None:
    await live.execute("CREATE TABLE a (id int PRIMARY KEY)")
    await live.execute('CREATE TABLE "B.c" (id int PRIMARY KEY)')
    async with live.engine() as engine, Client(engine.url) as client:
        a, b = await client.subscribe("a"), await client.subscribe("B.c")
        async with await psycopg.AsyncConnection.connect(live.url) as connection:
            await connection.execute("INSERT INTO a VALUES (1)")
            await connection.execute('INSERT INTO "B.c" VALUES (2)')
        [one], [two] = await collect(a, 1), await collect(b, 1)
        assert (one.lsn, one.xid) == (two.lsn, two.xid)


@in_loop
async def test_a_rolled_back_transaction_is_never_seen(live: Live) -> None:
    await live.execute(ORDERS)
    async with live.engine() as engine, following(engine, "orders") as (_, orders):
        async with await psycopg.AsyncConnection.connect(live.url) as connection:
            await connection.execute("INSERT INTO orders VALUES (1, 'never', 1)")
            await connection.rollback()
        await live.execute("INSERT INTO orders VALUES (2, 'real', 1)")
        [commit] = await collect(orders, 1)
        assert commit.changes[0].key == (2,)


@in_loop
async def test_a_transaction_larger_than_memory_and_any_frame_arrives_whole(live: Live) -> None:
    await live.execute(ORDERS)
    async with live.engine() as engine, following(engine, "orders") as (_, orders):
        async with following(engine, "orders") as (_, second):
            statement = (
                "INSERT INTO orders SELECT n, repeat('é', 60), n FROM generate_series(1, %s) n"
            )
            await live.execute(statement, 120_000)
            await live.execute("INSERT INTO orders VALUES (0, 'after', 1)")
            for subscription in (orders, second):
                large, after = await collect(subscription, 120_001)
                assert [change.key[0] for change in large.changes] == list(range(1, 120_001))
                assert after.changes[0].key == (0,)
        assert engine.hub.history.bytes > 8 * 1024 * 1024


@in_loop
async def test_values_arrive_as_python_types_or_as_their_text(live: Live) -> None:
    await live.execute(
        "CREATE TABLE t (id uuid PRIMARY KEY, n numeric, at timestamptz, forever timestamptz,"
        " f float8, nan float8, b bytea, ok bool, doc jsonb, a int[])"
    )
    async with live.engine() as engine, following(engine, "t") as (_, t):
        await live.execute(
            "INSERT INTO t VALUES ('00000000-0000-0000-0000-000000000001', 1.50,"
            " '2026-01-02 03:04:05.6+02', 'infinity', 0.1, 'NaN', '\\x00ff', true,"
            " '{\"a\": [1, null]}', '{1,NULL}')"
        )
        [commit] = await collect(t, 1)
    values = commit.changes[0].values
    assert values.pop("nan") != 0
    assert values == {
        "id": UUID(int=1),
        "n": Decimal("1.50"),
        "at": datetime(2026, 1, 2, 1, 4, 5, 600_000, tzinfo=UTC),
        "forever": "infinity",
        "f": 0.1,
        "b": b"\x00\xff",
        "ok": True,
        "doc": {"a": [1, None]},
        "a": "{1,NULL}",
    }


REFUSED = {
    "nowhere": ("", "unknown_table"),
    "no_key": ("CREATE TABLE no_key (id int)", "unsupported_table"),
    "deferred": ("CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE)", "unsupported_table"),
    "a_view": ("CREATE VIEW a_view AS SELECT 1 AS id", "unsupported_table"),
    "unlogged": ("CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)", "unsupported_table"),
    "nothing": (
        "CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        "unsupported_table",
    ),
    "'; DROP TABLE orders; --": ("", "unknown_table"),
    'quo"ted': ("", "unknown_table"),
    "nul\0": ("", "unknown_table"),
}


@in_loop
async def test_tables_that_cannot_be_followed_are_refused_with_the_reason(live: Live) -> None:
    await live.execute(ORDERS)
    async with live.engine() as engine, Client(engine.url) as client:
        for table, (statement, code) in REFUSED.items():
            if statement:
                async with await psycopg.AsyncConnection.connect(live.url) as connection:
                    await connection.execute(statement.encode())
            with pytest.raises(SyncError) as refused:
                await client.subscribe(table)
            assert refused.value.code == code, table
        orders = await client.subscribe("orders")
        await live.execute("INSERT INTO orders VALUES (1, 'x', 1)")
        assert len(await collect(orders, 1)) == 1, "the connection lives on"


@in_loop
async def test_a_table_dropped_and_made_again_under_a_client_is_told_as_a_gap(live: Live) -> None:
    await live.execute(ORDERS)
    async with live.engine() as engine, following(engine, "orders") as (_, orders):
        await live.execute("ALTER TABLE orders DROP COLUMN n")
        await live.execute("INSERT INTO orders VALUES (1, 'fewer')")
        with pytest.raises(SyncError) as gap:
            await collect(orders, 1)
        assert gap.value.code == "schema_changed"
        await eventually(lambda: orders.columns == (("id", "int4"), ("status", "text")))
        await eventually(lambda: orders.is_live)
        assert dict(orders.rows) == {1: {"id": 1, "status": "fewer"}}
        await live.execute("INSERT INTO orders VALUES (2, 'again')")
        [commit] = await collect(orders, 1)
        assert commit.changes[-1].values == {"id": 2, "status": "again"}


@in_loop
async def test_a_table_first_asked_for_while_a_transaction_writes_to_it_waits_for_that(
    live: Live,
) -> None:
    await live.execute(ORDERS)
    async with live.engine() as engine, Client(engine.url) as client:
        writer = await psycopg.AsyncConnection.connect(live.url)
        async with writer, asyncio.TaskGroup() as group:
            await writer.execute("INSERT INTO orders VALUES (1, 'half', 1)")
            asking = group.create_task(client.subscribe("orders"))
            published = "SELECT count(*) FROM pg_publication_tables WHERE tablename = 'orders'"
            async with asyncio.timeout(10):
                while await live.execute(published) != [(1,)]:
                    pass
            assert not asking.done()
            await eventually(lambda: "pid" in str(engine.status()["waiting"]))
            await writer.execute("INSERT INTO orders VALUES (2, 'half', 1)")
            await writer.commit()
            orders = await asking
            assert engine.status()["waiting"] == {}
        await live.execute("INSERT INTO orders VALUES (3, 'whole', 1)")
        [commit] = await collect(orders, 1)
        assert commit.changes[0].key == (3,), "nothing of the transaction that was open"


@in_loop
async def test_only_listed_tables_may_be_followed(live: Live) -> None:
    await live.execute(ORDERS)
    await live.execute("CREATE TABLE secrets (id int PRIMARY KEY)")
    async with live.engine(tables=("orders",)) as engine, Client(engine.url) as client:
        await client.subscribe("public.orders")
        with pytest.raises(SyncError, match="unknown_table"):
            await client.subscribe("secrets")


@in_loop
async def test_progress_is_told_without_rows_and_the_client_knows_its_position(live: Live) -> None:
    await live.execute(ORDERS)
    await live.execute("CREATE TABLE other (id int PRIMARY KEY)")
    async with live.engine() as engine, following(engine, "orders") as (client, _):
        before = client.position
        await live.execute("INSERT INTO other VALUES (1)")
        await eventually(lambda: client.position != before)
