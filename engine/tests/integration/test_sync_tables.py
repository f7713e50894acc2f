"""Goal: tables of every form and size are copied and followed: wide, odd, empty and large.

Method: each is subscribed, written to, and compared with a SELECT.
"""

from __future__ import annotations

import pytest

from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.syncing import compare, only_newest, script, together
from tidewire import Client, Shape, limits

pytestmark = [pytest.mark.postgres, only_newest]


@pytest.mark.parametrize("count", [99, 100, 101, 200, 1000])
@in_loop
async def test_a_table_has_many_columns(live: Live, count: int) -> None:
    """A function takes 100 arguments, and the key is one of them."""
    columns = ", ".join(f"c{n} int" for n in range(count - 1))
    values = ", ".join(f"{n}" for n in range(count - 1))
    await script(live, f"CREATE TABLE t (id int PRIMARY KEY, {columns})")
    await script(live, f"INSERT INTO t VALUES (1, {values}), (2, {values})")
    await script(live, "INSERT INTO t VALUES (3)")
    last = f"c{count - 2}"
    async with live.engine() as engine, Client(engine.url) as client:
        both = await client.subscribe_all(Shape("t"), Shape("t", columns=[last]))
        assert len(both[0].columns) == count
        await script(
            live,
            f"UPDATE t SET {last} = NULL WHERE id = 1",
            f"INSERT INTO t VALUES (4, {values})",
            "UPDATE t SET id = -2 WHERE id = 2",
        )
        await compare(live, client, *both)


@in_loop
async def test_a_table_has_odd_names(live: Live) -> None:
    odd = 'odd "schema".x'
    table = 'Tab.le "ü" % $1 {0}'
    columns = ('"', "'", "select", "Groß ß", "a.b", "😀", "%s", "{}", "\\", "$1", " ", "x" * 63)
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in (odd, table, *columns)}
    full = f"{quoted[odd]}.{quoted[table]}"
    listed = ", ".join(f"{quoted[name]} text" for name in columns)
    key = f"{quoted[columns[0]]}, {quoted['Groß ß']}"
    rest = ", ".join(quoted[name] for name in columns[1:])
    some = ", ".join(f"'{n}'" for n in range(len(columns)))
    await script(
        live,
        f"CREATE SCHEMA {quoted[odd]}",
        f"CREATE TABLE {full} ({listed}, PRIMARY KEY ({key}))",
        f"ALTER TABLE {full} REPLICA IDENTITY FULL",
        f"INSERT INTO {full} VALUES ({some})",
    )
    async with live.engine() as engine, Client(engine.url) as client:
        rows = await client.subscribe(f"{odd}.{table}", where="\"select\" = '2' AND \"%s\" = '6'")
        assert rows.key == ('"', "Groß ß")
        assert dict(rows.rows) == {("0", "3"): {name: str(n) for n, name in enumerate(columns)}}
        await script(
            live,
            f"""UPDATE {full} SET {quoted["'"]} = 'new', {quoted["😀"]} = NULL""",
            f"UPDATE {full} SET {quoted[columns[0]]} = 'key'",
            f"INSERT INTO {full} SELECT 'in', {rest} FROM {full}",
        )
        await client.wait_for(await position_of(live))
        assert {row["'"] for row in rows.rows.values()} == {"new"}
        assert [*rows.rows] == [("key", "3"), ("in", "3")]
        await script(live, f"""UPDATE {full} SET "%s" = 'out' WHERE {quoted['"']} = 'in'""")
        await client.wait_for(await position_of(live))
        assert [*rows.rows] == [("key", "3")]


async def position_of(live: Live) -> str:
    rows = await live.execute("SELECT pg_current_wal_flush_lsn()::text")
    return str(rows[0][0])


@in_loop
async def test_tables_have_no_rows_or_one_or_only_a_key(live: Live) -> None:
    await script(
        live,
        "CREATE TABLE empty (id int PRIMARY KEY, n int)",
        "CREATE TABLE one (id int PRIMARY KEY, n int)",
        "INSERT INTO one VALUES (1, 1)",
        "CREATE TABLE only_key (b text, a int, PRIMARY KEY (a, b))",
        "INSERT INTO only_key VALUES ('x', 1), ('y', 1)",
        "CREATE TABLE by_index (n int, code text NOT NULL)",
        "CREATE UNIQUE INDEX by_code ON by_index (code)",
        "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_code",
        "INSERT INTO by_index VALUES (NULL, 'a')",
    )
    async with live.engine() as engine, Client(engine.url) as client:
        names = ("empty", "one", "only_key", "by_index")
        rows = await client.subscribe_all(*(Shape(name) for name in names))
        assert [len(each.rows) for each in rows] == [0, 1, 2, 1]
        assert [each.key for each in rows] == [("id",), ("id",), ("a", "b"), ("code",)]
        narrow = await client.subscribe("one", columns=[])
        assert narrow.columns == (("id", "int4"),)
        await together(
            live,
            [
                "INSERT INTO empty VALUES (1, 1), (2, 2)",
                "DELETE FROM one",
                "UPDATE only_key SET a = 2 WHERE b = 'x'",
                "DELETE FROM only_key WHERE b = 'y'",
                "UPDATE by_index SET code = 'b', n = 1",
            ],
        )
        await compare(live, client, *rows, narrow)
        await script(live, "DELETE FROM empty", "INSERT INTO one VALUES (2, 2)")
        await compare(live, client, *rows, narrow)


@in_loop
async def test_the_index_of_a_key_includes_another_column(live: Live) -> None:
    await script(
        live,
        "CREATE TABLE t (id int, n int, PRIMARY KEY (id) INCLUDE (n))",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
    )
    async with live.engine() as engine, Client(engine.url) as client:
        t = await client.subscribe("t")
        assert t.key == ("id",)
        await script(live, "UPDATE t SET n = 9 WHERE id = 1", "DELETE FROM t WHERE id = 2")
        await compare(live, client, t)
        assert t.resets == 0


@in_loop
async def test_a_chunk_is_full_with_any_byte_of_the_last_row(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the rows comes like one more row, of no length."""
    await script(live, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    async with live.engine() as engine, Client(engine.url) as client:
        for size in range(1, 12):
            monkeypatch.setattr(limits, "CHUNK_BYTES", size)
            t = await client.subscribe("t", where=f"id < {100 + size}")
            assert list(t.rows) == [1, 2]


@in_loop
async def test_a_table_has_200_000_rows(live: Live) -> None:
    rows = 200_000
    await script(live, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    await script(live, f"INSERT INTO t SELECT n, -n FROM generate_series(1, {rows}) n")
    async with live.engine() as engine, Client(engine.url) as client:
        t = await client.subscribe("t")
        assert len(t.rows) == rows
        assert sum(row["n"] for row in t.rows.values()) == -rows * (rows + 1) // 2
        await script(live, "DELETE FROM t WHERE id % 1000 <> 0")
        await compare(live, client, t)
