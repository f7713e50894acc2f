"""Goal: rows move in and out of shapes, change keys and tables, and are always those of the SELECT.

Method: each step is a transaction; raw clients read what it is on the wire, clients with rows are
compared with the table after it.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.syncing import (
    Watched,
    compare,
    only_newest,
    script,
    together,
    wire,
)
from tidewire import Client, Shape, SyncError

pytestmark = pytest.mark.postgres

BIG = "repeat('x', 9000)"
FULL = (
    "CREATE TABLE t (id int PRIMARY KEY, owner text, n int, big text)",
    "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    f"INSERT INTO t VALUES (1, 'ann', 1, {BIG}), (2, 'bob', 2, {BIG}), (3, NULL, 3, {BIG})",
)


@in_loop
async def test_rows_move_in_and_out_of_a_shape_with_all_their_values(live: Live) -> None:
    await script(live, *FULL)
    async with live.engine() as engine, Client(engine.url) as client, wire(engine.url) as raw:
        mine = await client.subscribe("t", where="owner = 'ann'")
        narrow = await client.subscribe("t", where="owner = 'ann' AND n < 10", columns=["n"])
        assert [*mine.rows] == [1]
        await raw.subscribe(table="t", where="owner = $1", params=["ann"])
        whole = "x" * 9000
        steps: list[tuple[list[str], list[list[Any]]]] = [
            # The large value is not touched: it has to come from the old row.
            (["UPDATE t SET owner = 'ann' WHERE id = 2"], [["i", [2, "ann", 2, whole]]]),
            (["UPDATE t SET n = 20 WHERE id = 2"], [["u", [2], {"n": 20}]]),
            (["UPDATE t SET owner = 'bob' WHERE id = 1"], [["d", [1]]]),
            (["UPDATE t SET owner = 'ann', id = 30 WHERE id = 3"], [["i", [30, "ann", 3, whole]]]),
            (["UPDATE t SET id = 31 WHERE id = 30"], [["k", [30], [31], {"id": 31}]]),
            (["UPDATE t SET id = 32, owner = NULL WHERE id = 31"], [["d", [31]]]),
            (
                ["UPDATE t SET owner = 'ann' WHERE id = 1", "UPDATE t SET n = 5 WHERE id = 1"],
                [["i", [1, "ann", 5, whole]]],
            ),
            (
                ["UPDATE t SET id = id + 100"],
                [["k", [2], [102], {"id": 102}], ["k", [1], [101], {"id": 101}]],
            ),
            (["TRUNCATE t"], [["t"]]),
        ]
        for statements, wanted in steps:
            await together(live, statements)
            assert sorted(map(str, await raw.changes())) == sorted(map(str, wanted)), statements
            await compare(live, client, mine, narrow)


@only_newest
@in_loop
async def test_a_condition_on_the_key_follows_rows_whose_key_changes(live: Live) -> None:
    await script(
        live,
        "CREATE TABLE t (a int, b text, big text, PRIMARY KEY (a, b))",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        f"INSERT INTO t SELECT n, 'b' || n, {BIG} FROM generate_series(1, 6) n",
    )
    async with live.engine() as engine, Watched(engine.url) as client:
        low, rest = await client.subscribe_all(Shape("t", where="a <= 3"), Shape("t"))
        assert len(low.rows) == 3
        for statement in (
            "UPDATE t SET a = 10 WHERE a = 1",
            "UPDATE t SET b = 'new' WHERE a = 2",
            "DELETE FROM t WHERE a = 3",
            "UPDATE t SET b = 'x', big = 'small' WHERE a = 10",
        ):
            await script(live, statement)
            await compare(live, client, low, rest)
        # It comes in with a value that is not in the log, as its old row is not: it is asked again.
        await script(live, "UPDATE t SET a = 0 WHERE a = 5")
        await compare(live, client, rest)
        await low.live()
        await compare(live, client, low)
        assert (0, "b5") in low.rows
        assert len(low.rows[0, "b5"]["big"]) == 9000
        assert rest.resets == 0


@in_loop
async def test_a_partitioned_table_is_one_table(live: Live) -> None:
    await script(
        live,
        "CREATE TABLE t (id int, region text, n int, PRIMARY KEY (id, region))"
        " PARTITION BY LIST (region)",
        "CREATE TABLE t_eu PARTITION OF t FOR VALUES IN ('eu')",
        # Its columns stand in another order.
        "CREATE TABLE t_us (n int, region text NOT NULL, id int NOT NULL)",
        "ALTER TABLE t ATTACH PARTITION t_us FOR VALUES IN ('us')",
        "CREATE TABLE t_rest PARTITION OF t DEFAULT PARTITION BY RANGE (id)",
        "CREATE TABLE t_low PARTITION OF t_rest FOR VALUES FROM (0) TO (1000)",
        "INSERT INTO t SELECT n, (ARRAY['eu', 'us', 'xx'])[n % 3 + 1], n"
        " FROM generate_series(1, 12) n",
    )
    async with live.engine() as engine, Client(engine.url) as client:
        both = await client.subscribe_all(Shape("t"), Shape("t", where="region = 'us'"))
        assert [len(each.rows) for each in both] == [12, 4]
        for statement in (
            "UPDATE t SET n = n + 1",
            "UPDATE t SET region = 'us' WHERE id = 3",
            "UPDATE t SET region = 'xx', id = 500 WHERE id = 1",
            "DELETE FROM t_us WHERE id = 4",
            "INSERT INTO t_us (id, region, n) VALUES (100, 'us', 1)",
            "TRUNCATE t",
            "INSERT INTO t VALUES (1, 'us', 1), (2, 'eu', 2), (3, 'other', 3)",
        ):
            await script(live, statement)
            await compare(live, client, *both)
        assert sum(each.resets for each in both) == 0


NET: list[tuple[list[str], list[list[Any]]]] = [
    (["INSERT INTO t VALUES (1, 'a')", "UPDATE t SET v = 'b'", "DELETE FROM t"], []),
    (["INSERT INTO t VALUES (1, 'a')", "UPDATE t SET v = 'b'"], [["i", [1, "b"]]]),
    (["UPDATE t SET v = 'c'", "UPDATE t SET v = 'd'"], [["u", [1], {"v": "d"}]]),
    (["UPDATE t SET id = 2", "UPDATE t SET id = 3"], [["k", [1], [3], {"id": 3}]]),
    (["UPDATE t SET id = 9", "UPDATE t SET id = 3"], [["u", [3], {"v": "d"}]]),
    (["UPDATE t SET v = 'e'", "DELETE FROM t"], [["d", [3]]]),
    (["INSERT INTO t VALUES (1, 'a'), (2, 'b')"], [["i", [1, "a"]], ["i", [2, "b"]]]),
    (
        [f"UPDATE t SET id = {now} WHERE id = {old}" for old, now in ((1, 0), (2, 1), (0, 2))],
        [["k", [1], [2], {"id": 2}], ["k", [2], [1], {"id": 1}]],
    ),
    (
        ["DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (1, 'n')"],
        [["u", [1], {"id": 1, "v": "n"}]],
    ),
    (
        ["DELETE FROM t WHERE id = 1", "UPDATE t SET id = 1"],
        [["d", [1]], ["k", [2], [1], {"id": 1}]],
    ),
    (
        ["INSERT INTO t VALUES (7, 'x')", "TRUNCATE t", "INSERT INTO t VALUES (8, 'y')"],
        [["t"], ["i", [8, "y"]]],
    ),
    (
        ["SAVEPOINT s", "DELETE FROM t", "ROLLBACK TO s", "UPDATE t SET v = 'z'"],
        [["u", [8], {"v": "z"}]],
    ),
]


@only_newest
@in_loop
async def test_a_partition_tells_less_of_old_rows_than_the_whole(live: Live) -> None:
    await script(
        live,
        "CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (9)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, 1), (2, 1), (3, 1)",
    )
    async with live.engine() as engine, Client(engine.url) as client:
        remedy = "ALTER TABLE public.t_1 REPLICA IDENTITY FULL"
        with pytest.raises(SyncError, match=remedy):
            await client.subscribe("t")
        await script(live, remedy)
        t = await client.subscribe("t", where="n = 1")
        await script(live, "DELETE FROM t WHERE id = 2", "UPDATE t SET id = 4 WHERE id = 3")
        await compare(live, client, t)
        assert t.resets == 0


@in_loop
async def test_of_a_transaction_only_the_net_effect_is_told(live: Live) -> None:
    await script(live, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    async with live.engine() as engine, Client(engine.url) as client, wire(engine.url) as raw:
        await raw.subscribe(table="t")
        t = await client.subscribe("t")
        for statements, wanted in NET:
            await together(live, statements)
            if wanted:
                told = await raw.changes()
                assert len(told) == len(wanted), (statements, told)
                for change, expected in zip(
                    sorted(told, key=str), sorted(wanted, key=str), strict=True
                ):
                    assert change[:-1] == expected[:-1], (statements, told)
                    last, least = change[-1], expected[-1]
                    if isinstance(least, dict):  # an update may have more than what changed
                        assert least.items() <= last.items(), (statements, told)
                    else:
                        assert last == least
            await compare(live, client, t)
