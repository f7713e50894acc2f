"""Goal: whoever follows a table that is altered is right soon, though nobody writes a row to it.

Method: clients follow a table as a whole, by columns and by a condition, and another table; one
statement is run; then the catalog is looked at. Those whose rows or columns are others now have
been reset, or refused with the code that a newcomer gets; nobody else has noticed; and all that are
live have the rows that a SELECT finds.
"""

from __future__ import annotations

import pytest
from psycopg import AsyncConnection

from engine.tests.integration.altering import POLL_S, RESET, Scene, Told, scene
from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import compare, only_newest, script
from tidewire import Shape, limits

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("quick_poll")]

TABLE = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE spot AS (x int, y int)",
    "CREATE TABLE t (id int PRIMARY KEY, v text, n int, feels mood[], at spot)",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "INSERT INTO t SELECT n, 'v' || n, n, '{sad,ok}', '(1,2)' FROM generate_series(1, 20) n",
)
SHAPES = {
    "whole": Shape("t"),
    "texts": Shape("t", columns=["v"]),
    "numbers": Shape("t", columns=["n"]),
    "some": Shape("t", columns=["id"], where="n > 10"),
    "moods": Shape("t", columns=["feels"]),
}
ALL = dict.fromkeys(SHAPES, RESET)


def reset(*names: str) -> Told:
    return dict.fromkeys(names, RESET)


def refused(code: str, *names: str) -> Told:
    return dict.fromkeys(names or SHAPES, code)


# What is in the stream, or changes nothing that a client has.
HARMLESS = {
    "a column is added": "ALTER TABLE t ADD more int",
    "a column is added with a constant default": "ALTER TABLE t ADD more int NOT NULL DEFAULT 7",
    "a generated column is added": "ALTER TABLE t ADD g int GENERATED ALWAYS AS (n * 2) STORED",
    "a label is added to an enum": "ALTER TYPE mood ADD VALUE 'fine' BEFORE 'ok'",
    "a column gets a default": "ALTER TABLE t ALTER n SET DEFAULT 7",
    "a column must not be null": "ALTER TABLE t ALTER n SET NOT NULL",
    "an index is made": "CREATE INDEX ON t (v)",
    "a setting changes": "ALTER TABLE t SET (fillfactor = 50)",
    "the rows are packed": "VACUUM FULL t",
    "the rows are ordered": "CLUSTER t USING t_pkey",
    "the table is truncated": "TRUNCATE t",
    "the table is truncated and filled": "TRUNCATE t; INSERT INTO t VALUES (1, 'x', 11)",
    "other tables change": "DROP TABLE u2; CREATE TABLE u3 (id int)",
}
HARMFUL: dict[str, tuple[str, Told]] = {
    "a column gets another type": (
        "ALTER TABLE t ALTER n TYPE int8",
        reset("whole", "numbers", "some"),
    ),
    "a column gets another type, and no row is touched": (
        "ALTER TABLE t ALTER v TYPE varchar",
        reset("whole", "texts"),
    ),
    "values are rewritten, and the type is the same": (
        "ALTER TABLE t ALTER v TYPE text USING upper(v)",
        reset("whole", "texts"),
    ),
    "the values of a condition are rewritten": (
        "ALTER TABLE t ALTER n TYPE int USING 21 - n",
        reset("whole", "numbers", "some"),
    ),
    "a column is dropped": (
        "ALTER TABLE t DROP v",
        reset("whole") | refused("unknown_column: v", "texts"),
    ),
    "the column of a condition is dropped": (
        "ALTER TABLE t DROP n",
        reset("whole") | refused("unknown_column: n", "numbers", "some"),
    ),
    "a column is dropped and made again": (
        "ALTER TABLE t DROP v, ADD v text DEFAULT 'new'",
        reset("whole", "texts"),
    ),
    "a column is renamed": (
        "ALTER TABLE t RENAME v TO w",
        reset("whole") | refused("unknown_column: v", "texts"),
    ),
    "two columns swap their names": (
        "ALTER TABLE t RENAME id TO x; ALTER TABLE t RENAME n TO id; ALTER TABLE t RENAME x TO n",
        reset("whole", "texts", "numbers", "some", "moods"),
    ),
    "a column is added with a volatile default": (
        "ALTER TABLE t ADD chance float8 DEFAULT random()",
        reset("whole"),
    ),
    "a label of an enum is renamed": (
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        reset("whole", "moods"),
    ),
    "a composite type gets a field": ("ALTER TYPE spot ADD ATTRIBUTE z int", reset("whole")),
    "the table is dropped": ("DROP TABLE t", refused("unknown_table")),
    "the table is dropped and made again": (
        (
            "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text, n int, feels mood[]);"
            "ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (7, 'seven', 77)"
        ),
        ALL,
    ),
    "the table is renamed": ("ALTER TABLE t RENAME TO other", refused("unknown_table")),
    "another table takes its name": (
        (
            "CREATE TABLE t_new (LIKE t INCLUDING ALL); ALTER TABLE t_new REPLICA IDENTITY FULL;"
            "INSERT INTO t_new VALUES (3, 'three', 33); ALTER TABLE t RENAME TO t_old;"
            "ALTER TABLE t_new RENAME TO t"
        ),
        ALL,
    ),
    "the table moves to another schema": (
        "CREATE SCHEMA attic; ALTER TABLE t SET SCHEMA attic",
        refused("unknown_table"),
    ),
    "the key is another column": (
        "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (n)",
        ALL,
    ),
    "the key is dropped": (
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
        refused("unsupported_table: ALTER TABLE public.t ADD PRIMARY KEY"),
    ),
    "the log does not carry old rows any more": (
        "ALTER TABLE t REPLICA IDENTITY DEFAULT",
        refused("unsupported_where: ALTER TABLE public.t REPLICA IDENTITY FULL", "some"),
    ),
    "the table has no identity any more": (
        "ALTER TABLE t REPLICA IDENTITY NOTHING",
        refused("unsupported_table: ALTER TABLE public.t REPLICA IDENTITY DEFAULT"),
    ),
    "somebody takes it out of the publication": (
        "ALTER PUBLICATION tidewire_default DROP TABLE t; UPDATE t SET v = 'unseen'",
        ALL,
    ),
    "somebody takes it out of the publication and puts it back": (
        (
            "ALTER PUBLICATION tidewire_default DROP TABLE t; UPDATE t SET v = 'unseen';"
            "ALTER PUBLICATION tidewire_default ADD TABLE t"
        ),
        ALL,
    ),
}


async def run(made: Scene, statements: str) -> None:
    """Run statements one by one, or as one transaction."""
    await script(made.live, *filter(None, statements.split(";")))


@pytest.mark.parametrize("event", HARMLESS)
@only_newest
@in_loop
async def test_what_changes_nothing_for_a_client_resets_nobody(live: Live, event: str) -> None:
    async with scene(live, *TABLE, "CREATE TABLE u2 (id int PRIMARY KEY)") as made:
        await made.follow(u2=Shape("u2"), **SHAPES)
        await run(made, HARMLESS[event])
        told = refused("unknown_table", "u2") if "u2" in HARMLESS[event] else {}
        await made.expect(told)


@pytest.mark.parametrize("event", HARMFUL)
@only_newest
@in_loop
async def test_a_table_is_altered_and_no_row_tells_of_it(live: Live, event: str) -> None:
    statements, told = HARMFUL[event]
    async with scene(live, *TABLE) as made:
        await made.follow(**SHAPES)
        await run(made, statements)
        await made.expect(told)


@only_newest
@in_loop
async def test_somebody_else_holds_a_lock_and_altered_tables_are_found_all_the_same(
    live: Live,
) -> None:
    async with scene(live, *TABLE) as made, await AsyncConnection.connect(live.url) as altering:
        await made.follow(**SHAPES)
        await altering.execute("ALTER TABLE t ALTER n TYPE int8")
        await made.look()
        await altering.commit()
        await made.expect(reset("whole", "numbers", "some"))


@only_newest
@in_loop
async def test_the_stream_begins_again_and_the_tables_are_looked_at_at_once(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCHEMA_POLL_S", 1_000)
    async with scene(live, *TABLE) as made:
        await made.follow(**SHAPES)
        await run(made, "ALTER TABLE t ALTER v TYPE text USING upper(v)")
        await live.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
            " WHERE database = current_database()"
        )
        texts = made.shapes["texts"]
        await eventually(lambda: texts.resets == 1 and texts.is_live)
        await compare(live, made.client, *made.shapes.values())


@only_newest
@in_loop
async def test_a_row_tells_of_an_alteration_before_the_catalog_does(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks again then has the table as it is now, and is not reset a second time."""
    monkeypatch.setattr(limits, "SCHEMA_POLL_S", 1_000)
    async with scene(live, *TABLE) as made:
        await made.follow(**SHAPES)
        await run(made, "ALTER TABLE t ALTER n TYPE int8; UPDATE t SET v = 'told' WHERE id = 1")
        whole = made.shapes["whole"]
        await eventually(lambda: whole.resets == 1 and whole.is_live)
        monkeypatch.setattr(limits, "SCHEMA_POLL_S", POLL_S)
        made.engine._definitions.look_soon()
        await made.expect(reset("whole", "numbers", "some"))


# The catalog of each server is its own affair.
ESSENTIAL = (
    "the rows are packed",
    "the table is truncated",
    "a column is added with a constant default",
    "values are rewritten, and the type is the same",
    "a column is dropped and made again",
    "a composite type gets a field",
)


@pytest.mark.parametrize("event", ESSENTIAL)
@in_loop
async def test_every_server_tells_rewritten_values_from_moved_rows(live: Live, event: str) -> None:
    statements, told = HARMFUL.get(event) or (HARMLESS[event], {})
    async with scene(live, *TABLE) as made:
        await made.follow(**SHAPES)
        await run(made, statements)
        await made.expect(told)
