"""Goal: partitions come and go, and who follows the whole table has the rows that are in it.

Method: as in test_schema.py, with all servers: their catalogs tell of partitions in ways of their
own.
"""

from __future__ import annotations

import pytest

from engine.tests.integration.altering import RESET, scene
from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.syncing import compare, script
from tidewire import Shape

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("quick_poll")]

TABLE = (
    "CREATE TABLE t (id int, n int NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
    "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id)",
    "CREATE TABLE t_2a PARTITION OF t_2 FOR VALUES FROM (10) TO (15)",
    "CREATE TABLE later (LIKE t INCLUDING ALL)",
    "INSERT INTO later SELECT n, n FROM generate_series(20, 25) n",
    "INSERT INTO t SELECT n, n FROM generate_series(0, 14) n",
)
NEW = "FOR VALUES FROM (20) TO (30)"
TOGETHER = (
    f"CREATE TABLE t_3 (LIKE t INCLUDING ALL); INSERT INTO t_3 VALUES (20, 1), (21, 2);"
    f"ALTER TABLE t ATTACH PARTITION t_3 {NEW}"
)
HARMLESS = {
    "a partition is made": f"CREATE TABLE t_3 PARTITION OF t {NEW}",
    "a partition is made within a partition": (
        "CREATE TABLE t_2b PARTITION OF t_2 FOR VALUES FROM (15) TO (20)"
    ),
    "a partition is made and filled": (
        f"CREATE TABLE t_3 PARTITION OF t {NEW}; INSERT INTO t SELECT * FROM later"
    ),
    "a partition of partitions is made": (
        f"CREATE TABLE t_3 PARTITION OF t {NEW} PARTITION BY RANGE (id);"
        f"CREATE TABLE t_3a PARTITION OF t_3 {NEW}; INSERT INTO t SELECT * FROM later"
    ),
    "a column is added": "ALTER TABLE t ADD more int DEFAULT 7",
}
HARMFUL = {
    "a table with rows is attached": f"ALTER TABLE t ATTACH PARTITION later {NEW}",
    "a table is made, filled and attached together": f"DO $$BEGIN {TOGETHER}; END$$",
    "a partition of partitions is attached": (
        f"CREATE TABLE t_3 (LIKE t INCLUDING ALL) PARTITION BY RANGE (id);"
        f"ALTER TABLE t_3 ATTACH PARTITION later {NEW}; ALTER TABLE t ATTACH PARTITION t_3 {NEW}"
    ),
    "a partition is detached": "ALTER TABLE t DETACH PARTITION t_1",
    "a partition is detached without a lock": "ALTER TABLE t DETACH PARTITION t_1 CONCURRENTLY",
    "a partition is dropped": "DROP TABLE t_1",
    "a partition is truncated": "TRUNCATE t_1",
    "a partition of a partition is truncated": "TRUNCATE t_2a",
    "a partition is made, filled and truncated": (
        f"CREATE TABLE t_3 PARTITION OF t {NEW}; INSERT INTO t SELECT * FROM later; TRUNCATE t_3"
    ),
    "values are rewritten, and the type is the same": "ALTER TABLE t ALTER n TYPE int USING -n",
    # Nobody could tell these from the last ones: more than is needed is done.
    "all of it is truncated": "TRUNCATE t",
    "a partition is packed": "VACUUM FULL t_1",
}
SHAPES = {
    "whole": Shape("t"),
    "keys": Shape("t", columns=["id"]),
    "some": Shape("t", where="id >= 5"),
}


def statements(text: str) -> list[str]:
    return [text] if text.startswith("DO") else text.split(";")


@pytest.mark.parametrize("event", HARMLESS)
@in_loop
async def test_a_partition_that_came_empty_resets_nobody(live: Live, event: str) -> None:
    async with scene(live, *TABLE) as made:
        await made.follow(**SHAPES)
        await script(live, *statements(HARMLESS[event]))
        await made.expect({})


@pytest.mark.parametrize("event", HARMFUL)
@in_loop
async def test_rows_come_or_go_with_a_partition(live: Live, event: str) -> None:
    async with scene(live, *TABLE) as made:
        await made.follow(**SHAPES)
        await script(live, *statements(HARMFUL[event]))
        await made.expect(dict.fromkeys(SHAPES, RESET))
        await script(live, "UPDATE t SET n = n + 100")
        await compare(live, made.client, *made.shapes.values())


@in_loop
async def test_a_followed_table_becomes_a_partition_of_another_one(live: Live) -> None:
    async with scene(live, *TABLE) as made:
        await made.follow(whole=Shape("t"), later=Shape("later"))
        await script(live, f"ALTER TABLE t ATTACH PARTITION later {NEW}")
        refusal = "unsupported_table: is a partition: follow the table that it is a part of"
        await made.expect({"whole": RESET, "later": refusal})


@in_loop
async def test_a_partition_is_made_that_tells_less_than_its_table(live: Live) -> None:
    """Deletes in it would come with keys only, and be missed where a condition needs more."""
    whole = [f"ALTER TABLE {name} REPLICA IDENTITY FULL" for name in ("t", "t_1", "t_2a")]
    async with scene(live, *TABLE, *whole) as made:
        await made.follow(some=Shape("t", where="n >= 5"))
        await script(live, f"CREATE TABLE t_3 PARTITION OF t {NEW}")
        await made.expect({"some": "unsupported_table: t_3"})
        await script(live, "ALTER TABLE t_3 REPLICA IDENTITY FULL")
        again = await made.client.subscribe("t", where="n >= 5")
        await script(live, "INSERT INTO t VALUES (20, 20), (21, 21)", "DELETE FROM t WHERE id = 20")
        await compare(live, made.client, again)
