"""A table with a column of every type that conditions know, and three ways to ask it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from engine.tests.integration.live import database
from tidewire.core.model.change import Row
from tidewire.core.model.relation import Column, Identity, JsonForm, Relation
from tidewire.core.shape.predicate import Predicate
from tidewire.embedded import EmbeddedPostgres
from tidewire.postgres.condition import Parameter, bind, condition_sql
from tidewire.postgres.database import Connection, connection_string

ROWS = 80
OPERATORS = ("=", "<>", "!=", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
EQUALITIES = ("=", "<>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
INTS = ["0", "1", "-1", "7", "32767", "-32768"]
FLOATS = ["0", "-0", "1", "1.5", "-1.5", "0.1", "1e30", "1e-30", "NaN", "Infinity", "-Infinity"]
TEXTS = ["", " ", "a", "a ", "A", "b", "B", "ab", "a%b", "a_b", "a\\b", "it's", "é", "É", "z", "😀"]
TEXTS += ["ﬁ", "a\nb", "ß", "ss", "e\u0301", "\ue000", "NULL", "{a}", "aXb", "abab", "%", "_"]
DATES = [
    "2024-01-01",
    "2024-02-29",
    "0044-03-15 BC",
    "0044-03-16 BC",
    "0045-01-01 BC",
    "12024-01-01",
]
DATES += ["0001-01-01", "9999-12-31", "10000-01-01", "infinity", "-infinity"]
TIMES = ["2024-01-01 00:00:00", "2024-01-01 00:00:00.5", "2024-01-01 00:00:00.45"]
TIMES += ["0044-03-15 12:00:00 BC", "0044-03-15 12:00:00.25 BC", "0045-03-15 12:00:00 BC"]
TIMES += ["10000-01-01 00:00:00", "9999-12-31 23:59:59.999999", "infinity", "-infinity"]
VALUES = {
    "c_bool": ("bool", ["t", "f"]),
    "c_int2": ("int2", INTS),
    "c_int4": ("int4", [*INTS, "2147483647"]),
    "c_int8": ("int8", [*INTS, "9007199254740993", "-9223372036854775808"]),
    "c_numeric": ("numeric", ["0", "0.0", "1", "1.0", "1.00", "-1", "1e30", "0.1", "NaN", "7"]),
    "c_float4": ("float4", FLOATS),
    "c_float8": ("float8", [*FLOATS, "9007199254740993", "1e300"]),
    "c_text": ("text", TEXTS),
    "c_varchar": ("varchar(9)", TEXTS),
    "c_bpchar": ("char(4)", ["", "a", "a ", "A", "b", "ab", "é", "it's", "a\\b"]),
    "c_uuid": ("uuid", [f"{d * 8}-{d * 4}-4000-8000-{d * 12}" for d in "09af"]),
    "c_date": ("date", DATES),
    "c_timestamp": ("timestamp", [*TIMES, "2024-01-01 12:00"]),
    "c_timestamptz": ("timestamptz", [*TIMES, "2024-01-01 02:00:00+02"]),
    "c_time": ("time", ["00:00", "24:00", "12:00:00.5", "12:00:00.45", "12:00"]),
    "c_bytea": ("bytea", ["", "\\x00", "\\x00ff", "\\xff", "\\x6162", "a"]),
    "c_enum": ("mood", ["sad", "ok", "happy", "OK"]),
    "c_domain": ("positive", ["1", "7", "32767"]),
    "c_words": ("words", ["a", "B", "a "]),
}
BARE = ("c_int2", "c_int4", "c_int8", "c_numeric", "c_float8", "c_domain")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@dataclass
class Oracle:
    """The table, its rows as the stream prints them, and a connection like the engine's."""

    runner: asyncio.Runner
    connection: Connection
    facts: dict[str, Any]
    relation: Relation
    rows: dict[int, Row]
    table: str = "oracle"

    def bind(self, where: str, params: tuple[Parameter, ...] = ()) -> Predicate:
        return self.runner.run(bind(self.connection, self.facts, where, params))

    def agree(self, where: str, params: tuple[Parameter, ...] = ()) -> Predicate:
        """Ask all three, and return the predicate."""
        predicate = self.bind(where, params)
        judge = predicate.compile(self.relation)
        ours = {number for number, row in self.rows.items() if judge(row)}
        rendered = condition_sql(predicate).as_string(self.connection)
        texts = [str(p).lower() if isinstance(p, bool) else p for p in params]
        assert self._ids(rendered, []) == ours, (where, params, rendered)
        assert self._ids(where, texts) == ours, (where, params, rendered)
        if equality := predicate.equality:
            place = [c.name for c in self.relation.columns].index(equality.column)
            assert {self.rows[n][place] for n in ours} <= equality.values
        return predicate

    def _ids(self, where: str, params: list[Any]) -> set[int]:
        async def ask() -> set[int]:
            cursor = psycopg.AsyncRawCursor(self.connection, row_factory=dict_row)
            values = [None if p is None else str(p) for p in params]
            query = f"SELECT id FROM {self.table} WHERE (\n{where}\n)".encode()
            await cursor.execute(query, values or None)
            return {row["id"] for row in await cursor.fetchall()}

        return self.runner.run(ask())


async def build(url: str) -> tuple[Connection, dict[str, Any], Relation, dict[int, Row]]:
    connection = await psycopg.AsyncConnection.connect(
        connection_string(url, {}, {}), autocommit=True, row_factory=dict_row
    )
    await connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')")
    await connection.execute("ALTER TYPE mood ADD VALUE 'OK' BEFORE 'ok'")
    await connection.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    await connection.execute('CREATE DOMAIN words AS text COLLATE "C"')
    columns = ", ".join(f"{name} {type}" for name, (type, _) in VALUES.items())
    await connection.execute(f"CREATE TABLE oracle (id int PRIMARY KEY, {columns})".encode())
    chance = random.Random(7)
    for number in range(ROWS):
        # The first rows hold every value in turn; then come chance and NULL.
        picked = [
            None
            if chance.random() < 0.1 and number >= 30
            else values[number % len(values)]
            if number < 30
            else chance.choice(values)
            for _, values in VALUES.values()
        ]
        marks = ", ".join(["%s"] * (len(picked) + 1))
        await connection.execute(f"INSERT INTO oracle VALUES ({marks})".encode(), [number, *picked])
    return connection, *await describe(connection, "oracle")


async def describe(
    connection: Connection, table: str
) -> tuple[dict[str, Any], Relation, dict[int, Row]]:
    """Return the facts of a table with its rows as the output functions print them."""
    cursor = await connection.execute(
        "SELECT attname AS name, atttypid::int8 AS oid FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        [table],
    )
    columns = await cursor.fetchall()
    cursor = await connection.execute("SELECT %s::regclass::oid::int8 AS oid", [table])
    [row] = await cursor.fetchall()
    facts = {"oid": row["oid"], "schema": "public", "name": table}
    relation = Relation(
        facts["oid"],
        "public",
        table,
        Identity.FULL,
        tuple(Column(c["name"], c["oid"], -1, True, JsonForm.TEXT) for c in columns),
    )
    cells = sql.SQL(", ").join(
        sql.SQL("CASE WHEN num_nonnulls({0}) = 1 THEN format('%s', {0}) END AS {0}").format(
            sql.Identifier(c["name"])
        )
        for c in columns
    )
    query = sql.SQL("SELECT {} FROM {}").format(cells, sql.Identifier(table))
    cursor = await connection.execute(query)
    rows = {
        int(row["id"]): tuple(None if v is None else v.encode() for v in row.values())
        for row in await cursor.fetchall()
    }
    return facts, relation, rows


@contextlib.contextmanager
def oracle_on(server: EmbeddedPostgres) -> Iterator[Oracle]:
    """Make a database with the table, and a loop to ask it in."""
    with database(server) as live, asyncio.Runner() as runner:
        made = Oracle(runner, *runner.run(build(live.url)))
        yield made
        runner.run(made.connection.close())
