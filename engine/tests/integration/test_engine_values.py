"""Values of every built-in type read as PostgreSQL itself would write them into a JSON array.

Method: a table for each type, one row per literal; what comes over the socket is compared with
`json_build_array` of the same row, in which exactly those types are cast to text that the protocol
names.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from engine.tests.integration.live import Live, in_loop

pytestmark = pytest.mark.postgres

MAKE_TYPES = """
CREATE TYPE mood AS ENUM ('sad "quoted"', 'glad, with comma');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN small AS int CHECK (VALUE < 1000);
CREATE DOMAIN smaller AS small CHECK (VALUE < 100);
CREATE DOMAIN word AS text;
CREATE DOMAIN large AS int8;
CREATE DOMAIN ratio AS float8;
CREATE DOMAIN flag AS bool;
CREATE DOMAIN document AS jsonb;
CREATE DOMAIN numbers AS int[];
"""

# Types whose cast to JSON keeps PostgreSQL's own text: sent as they are.
PLAIN: dict[str, tuple[str, ...]] = {
    "bool": ("t", "f"),
    "int2": ("-32768",),
    "int4": ("2147483647",),
    "float4": ("1.5", "NaN", "Infinity", "-Infinity", "1e-30"),
    "float8": ("0.1", "NaN", "-Infinity", "1e300", "-0", "123456789012345680"),
    "json": (' {"a": 1.0,\n "a": [null, "\\u00e9"]} ', "null", '"x"', "1e5"),
    "jsonb": ('{"b": 1, "a": [1.50, null]}', "true", '"\\"\\\\"'),
    "money": ("12.34", "-1000"),
    "text": ("", 'quote " backslash \\ tab\t newline\n', "é €  😀", "\x7f\u2028", "\x01"),
    "varchar(5)": ("ab",),
    "char(6)": ("ab",),
    '"char"': ("x",),
    "name": ("a name",),
    "bytea": ("\\x", "\\x00ff10"),
    "bit(3)": ("101",),
    "varbit": ("10101",),
    "uuid": ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",),
    "inet": ("10.0.0.1", "10.0.0.1/8", "::1"),
    "cidr": ("10.0.0.0/8",),
    "macaddr": ("08:00:2b:01:02:03",),
    "macaddr8": ("08:00:2b:01:02:03:04:05",),
    "point": ("(1,2)",),
    "line": ("{1,2,3}",),
    "lseg": ("[(0,0),(1,1)]",),
    "box": ("(1,1),(0,0)",),
    "path": ("((0,0),(1,1))",),
    "polygon": ("((0,0),(1,1),(1,0))",),
    "circle": ("<(0,0),1>",),
    "tsvector": ("'a' 'b':1",),
    "tsquery": ("'a' & 'b'",),
    "int4range": ("[1,5)", "empty"),
    "numrange": ("[1.5,)",),
    "tstzrange": ('["2026-01-01 00:00:00+00",infinity)',),
    "int4multirange": ("{[1,3),[5,6)}",),
    "oid": ("4294967295",),
    "xid8": ("18446744073709551615",),
    "pg_lsn": ("16/B374D848",),
    "pg_snapshot": ("10:20:10,14,15",),
    "jsonpath": ('$."a"[*]',),
    "mood": ('sad "quoted"', "glad, with comma"),
    "small": ("7",),
    "smaller": ("8",),
    "word": ('"w"',),
    "ratio": ("0.25", "NaN"),
    "flag": ("true",),
    "document": ('{"a": 1}',),
}

# Types that the protocol sends as text although JSON could hold them, or would reformat them.
AS_TEXT: dict[str, tuple[str, ...]] = {
    "int8": ("9223372036854775807",),
    "numeric": ("1.50", "NaN", "Infinity", "123456789012345678901234567890.123456789"),
    "date": ("2026-01-02", "infinity", "0044-03-15 BC"),
    "time": ("03:04:05.678901",),
    "timetz": ("03:04:05+02",),
    "timestamp": ("2026-01-02 03:04:05.6", "-infinity", "294276-12-31 23:59:59"),
    "timestamptz": ("2026-01-02 03:04:05.678901+02", "infinity", "0044-03-15 00:00:00+00 BC"),
    "interval": ("1 year 2 mons 3 days 04:05:06.7", "-1 mons +2 days"),
    "int4[]": ("{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[2:3]={1,2}"),
    "text[]": ('{"a b","c\\"d",NULL,"NULL",""}',),
    "timestamptz[]": ('{"2026-01-02 03:04:05+00"}',),
    "mood[]": ('{"sad \\"quoted\\""}',),
    "pair": ('(1,"a ""b"" c")', "(,)"),
    "pair[]": ('{"(1,x)"}',),
    "large": ("9007199254740993",),
    "numbers": ("{1,2}",),
}

# What the protocol promises about the form of texts, whatever the server's own settings are.
PINNED = (
    "DateStyle = 'ISO, YMD'",
    "TimeZone = 'UTC'",
    "IntervalStyle = 'postgres'",
    "extra_float_digits = 1",
)

TYPES = {**PLAIN, **AS_TEXT}


def expected_query(name: str, count: int) -> sql.Composed:
    """Ask PostgreSQL for the rows as the protocol's rule writes them."""
    column = sql.SQL("v::text" if name in AS_TEXT else "v")
    query = "SELECT json_build_array(id, {})::text FROM t ORDER BY id LIMIT {}"
    return sql.SQL(query).format(column, sql.Literal(count))


async def insert(live: Live, name: str, literals: tuple[str, ...]) -> list[str]:
    """Make the table, fill it in one transaction, and return what PostgreSQL makes of it."""
    async with await psycopg.AsyncConnection.connect(live.url) as connection:
        for setting in PINNED:
            await connection.execute(f"SET {setting}".encode())
        for n, literal in enumerate((*literals, None)):
            await connection.execute("INSERT INTO t VALUES (%s, %s)", [n, literal])
        cursor = await connection.execute(expected_query(name, len(literals) + 1))
        return [text for (text,) in await cursor.fetchall()]


async def next_of(socket: ClientConnection, kind: str) -> tuple[dict[str, Any], str]:
    """Read messages until one of a type comes; return it parsed and as it was."""
    while True:
        text = str(await socket.recv())
        message = json.loads(text)
        assert message["type"] != "error", message
        if message["type"] == kind:
            return message, text


@pytest.mark.parametrize("name", TYPES)
def test_a_value_reads_as_postgres_writes_it(live: Live, name: str) -> None:
    in_loop(_check)(live, name)


async def _check(live: Live, name: str) -> None:
    async with await psycopg.AsyncConnection.connect(live.url) as connection:
        await connection.execute(MAKE_TYPES.encode())
        # A server that prints values in its own way must not change what clients read.
        await connection.execute(
            b"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET DateStyle = ''German''',"
            b" current_database()); EXECUTE format('ALTER DATABASE %I SET extra_float_digits = 0',"
            b" current_database()); END $$"
        )
        await connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {name})".encode())
    async with live.engine() as engine:
        subprotocols = [Subprotocol("tidewire.v1")]
        async with connect(engine.url, subprotocols=subprotocols) as socket:
            await socket.send('{"type":"hello","client":"c"}')
            await socket.send('{"type":"subscribe","shapes":[{"id":"1","table":"t"}]}')
            await next_of(socket, "up_to_date")
            expected = await insert(live, name, TYPES[name])
            message, text = await next_of(socket, "commit")
    changes = message["parts"][0]["changes"]
    assert [change[1] for change in changes] == [json.loads(row, strict=False) for row in expected]
    for row in expected:
        wanted = row.replace("[", "", 1).split(", ", 1)[1]
        assert wanted in text, "byte for byte"
