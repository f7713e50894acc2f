"""Goal: a client's rows are those of the database, while it is written to and through everything.

Method: the real engine and the real client. Transactions move amounts between two tables, so that
the sum tells of every half of one; in the end the rows are compared with a SELECT.
"""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest

import tidewire
from engine.tests.integration.live import Live, in_loop
from tidewire import Client, Shape, Subscription

pytestmark = pytest.mark.postgres

ACCOUNTS = 40
TABLES = """
CREATE TABLE {} (id int PRIMARY KEY, owner text NOT NULL, amount numeric NOT NULL);
ALTER TABLE {} REPLICA IDENTITY FULL
"""


class Account(msgspec.Struct):
    id: int
    owner: str
    amount: Decimal


async def prepare(live: Live) -> None:
    async with await psycopg.AsyncConnection.connect(live.url) as connection:
        for table in ("checking", "savings"):
            await connection.execute(TABLES.replace("{}", table).encode())
            rows = f"INSERT INTO {table} SELECT n, 'o' || n %% 3, 100 FROM generate_series(1, %s) n"
            await connection.execute(rows.encode(), [ACCOUNTS])


async def move(connection: psycopg.AsyncConnection[Any], chance: random.Random) -> None:
    """Move an amount from one table to the other; now and then rows change their keys."""
    tables = chance.sample(["checking", "savings"], 2)
    async with connection.transaction():
        for table, sign in zip(tables, (1, -1), strict=True):
            await connection.execute(
                f"UPDATE {table} SET amount = amount + %s WHERE id = "
                f"(SELECT min(id) FROM {table} WHERE id >= %s)".encode(),
                [sign * 7, chance.randint(1, ACCOUNTS)],
            )
        if chance.random() < 0.3:
            one, other = chance.sample(range(1, ACCOUNTS + 1), 2)
            for before, now in ((one, -1), (other, one), (-1, other)):
                await connection.execute(
                    f"UPDATE {tables[0]} SET id = %s WHERE id = %s".encode(), [now, before]
                )
        if chance.random() < 0.2:
            number = chance.randint(1, ACCOUNTS)
            await connection.execute(
                f"WITH gone AS (DELETE FROM {tables[0]} WHERE id = %s RETURNING *) "
                f"INSERT INTO {tables[1]} SELECT id + 1000 + %s, 'new', amount FROM gone".encode(),
                [number, chance.randint(1, 10**6) * 100],
            )


def total(*tables: Subscription[Account]) -> Decimal:
    return sum((row.amount for table in tables for row in table.rows.values()), Decimal(0))


@pytest.mark.parametrize("seed", range(3))
@in_loop
async def test_rows_are_whole_at_each_moment_and_those_of_the_database(
    live: Live, seed: int
) -> None:
    await prepare(live)
    chance, is_enough = random.Random(seed), asyncio.Event()

    async def write() -> None:
        connecting = psycopg.AsyncConnection.connect(live.url, autocommit=True)
        async with await connecting as connection:
            while not is_enough.is_set():
                await move(connection, chance)

    async with live.engine() as engine, asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write())
        for is_last in (False, False, True):
            async with Client(engine.url) as client:
                both = await client.subscribe_all(
                    Shape("checking", row_type=Account), Shape("savings", row_type=Account)
                )
                whole = total(*both)
                assert whole == ACCOUNTS * 2 * 100
                seen = 0
                async for transaction in client.commits():
                    assert total(*both) == whole, transaction.lsn
                    seen += 1
                    if seen == 60:
                        break
                if is_last:
                    is_enough.set()
                    await writing
                    await compare(live, client, *both)


async def compare(live: Live, client: Client, *both: Subscription[Account]) -> None:
    async with await psycopg.AsyncConnection.connect(live.url) as connection:
        await client.wait_for(await tidewire.position(connection))
        for subscription in both:
            select = f"SELECT id, owner, amount FROM {subscription.table}"
            cursor = await connection.execute(select.encode())
            rows = {id: Account(id, *rest) for id, *rest in await cursor.fetchall()}
            assert subscription.rows == rows


@in_loop
async def test_a_row_that_leaves_the_condition_leaves_the_rows(live: Live) -> None:
    await prepare(live)
    async with live.engine() as engine, Client(engine.url) as client:
        mine = await client.subscribe(
            "savings", where="owner = $1", params=["o1"], columns=["id", "owner"]
        )
        assert {row["owner"] for row in mine.rows.values()} == {"o1"}
        async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
            await connection.execute("UPDATE savings SET owner = 'o2' WHERE id = 1")
            await connection.execute("UPDATE savings SET owner = 'o1' WHERE id = 2")
            await client.wait_for(await tidewire.position(connection))
        assert 1 not in mine.rows
        assert mine.rows[2] == {"id": 2, "owner": "o1"}


@in_loop
async def test_a_write_elsewhere_is_waited_for_too(live: Live) -> None:
    await prepare(live)
    await live.execute("CREATE TABLE other (id int PRIMARY KEY)")
    async with live.engine() as engine, Client(engine.url) as client:
        await client.subscribe("savings")
        async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
            for number in range(3):
                await connection.execute("INSERT INTO other VALUES (%s)", [number])
                await client.wait_for(await tidewire.position(connection), timeout_s=5)
