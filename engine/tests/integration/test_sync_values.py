"""Goal: a row reads the same, byte for byte, whether it came with a copy or with a commit.

Method: one table with a column for each type. Its rows are there when a raw client comes; then all
of them are inserted again under other keys. The texts of the values, cut out of the frames as they
came, have to be equal; and the database's own settings are as odd as they can be.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql

from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.syncing import script, wire
from engine.tests.integration.test_engine_values import MAKE_TYPES, TYPES

pytestmark = pytest.mark.postgres

MORE_TYPES = """
CREATE DOMAIN money_amount AS numeric(10, 2);
CREATE DOMAIN moods AS mood[];
CREATE DOMAIN some_pair AS pair;
CREATE DOMAIN padded AS char(4);
CREATE TYPE nested AS (p pair, a int[], d document, t timestamptz);
CREATE TYPE mood_range AS RANGE (subtype = mood);
"""
MORE: dict[str, tuple[str, ...]] = {
    "float4": ("-0", "0.1", "3.4028235e38", "1e-45", "16777216", "NaN", "-Infinity"),
    "float8": ("-0", "5e-324", "1.7976931348623157e308", "0.30000000000000004", "1e20"),
    "float8[]": ("{NaN,-0,Infinity,0.1,NULL}",),
    "numeric": ("-0.00", "NaN", "-Infinity", "1e-20", "00012.3400"),
    "numeric(8,-2)": ("12345",),
    "int2": ("0", "-0"),
    "bytea": ("\\x", "\\x5c6e27", "\\xffffff"),
    "bytea[]": ('{"\\\\x00","\\\\xff5c"}',),
    "char(6)": ("", "é", "a  "),
    "char(3)[]": ('{"a","b  "}',),
    "padded": ("x",),
    "json": ('{ "b" :1,\t"a":[ ] }', '"\\u0000"', "\n1e400\n", "-0", '{"k":"\\ud83d\\ude00"}'),
    "json[]": ('{"{\\"a\\": 1}",NULL}',),
    "jsonb": ('{"z": {"a": [1.00, -0, 1e2]}, "": null}', "null", "1e400"),
    "jsonb[]": ('{"{\\"a\\": 1}"}',),
    "xml": ("<a  b='1'>\n&#233;<!-- c --></a>", "text"),
    "inet": ("10.0.0.1/32", "fe80::1/64"),
    "cidr": ("::/0",),
    "interval": ("-1 year -2 mons +3 days -04:05:06.000001", "00:00:00", "178000000 years"),
    "interval[]": ('{"1 day","-1 mon"}',),
    "timestamptz": ("2026-07-01 00:00:00+05:30", "4713-01-01 00:00:00+00 BC"),
    "time": ("24:00:00", "23:59:59.999999"),
    "timetz": ("00:00:00-15:59:59",),
    "date[]": ("{infinity,2026-01-02,NULL}",),
    "daterange": ("[2026-01-01,2026-02-01)", "(,)", "empty"),
    "tsrange": ('("2026-01-01 00:00:00","2026-01-02 00:00:00"]',),
    "nummultirange": ("{[1,2),(3,)}", "{}"),
    "int8range": ("[-9223372036854775808,1)",),
    "mood_range": ('["sad \\"quoted\\"",)',),
    "moods": ('{"glad, with comma",NULL}',),
    "some_pair": ('(7,"x")',),
    "money_amount": ("1.5",),
    "nested": ('("(1,""a,b"")","{1,2}","{""a"": 1}","2026-01-02 03:04:05+02")',),
    "nested[]": ('{"(,,,)"}',),
    "tsvector": ("'it''s':1A,2 'b':3",),
    "tsquery": ("'a':* & !'b' <-> 'c'",),
    "money": ("-92233720368547758.08", "0"),
    "bit(5)": ("10101",),
    "varbit": ("",),
    '"char"': ("", "\\377"),
    "name": ("x" * 63,),
    "text": ("\ud7ff\ufffd\U0010ffff", "</script>", "\b\f\r\x1f\x7f", "a\u0085b", "\\u0041"),
    "text[]": ('{{a,"b\nc"},{"",NULL}}',),
    "int2vector": ("1 2 3",),
    "oidvector": ("1 4294967295",),
    "oid[]": ("{1,2}",),
    "tid": ("(1,2)",),
    "xid": ("4294967295",),
    "cid": ("1",),
    "regclass": ("pg_class", "12345678"),
    "regtype": ("int4[]", "mood"),
    "regproc": ("pg_backend_pid",),
    "regrole": ("pg_monitor",),
    "regnamespace": ("public",),
    "refcursor": ("c",),
    "aclitem": ("pg_monitor=r/pg_monitor",),
    "txid_snapshot": ("1:2:",),
    "path": ("[(0,0),(1e-10,-0)]",),
    "polygon": ("((0,0),(1,1),(1,0))",),
    "uuid[]": ("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",),
    "bool[]": ("{t,f,NULL}",),
}
EXTENSIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "hstore": {"hstore": ('"a"=>"1", "b"=>NULL, "c d"=>"\\"q\\""',), "hstore[]": ('{"a=>1"}',)},
    "citext": {"citext": ("MiXed",)},
    "ltree": {"ltree": ("Top.Science",), "lquery": ("Top.*{1,2}",)},
    "cube": {"cube": ("(1,2),(3,4)",)},
    "seg": {"seg": ("1.50 .. 2.5",)},
    "isn": {"isbn13": ("978-0-393-04002-9",)},
}
ODD_SETTINGS = (
    "DateStyle = 'German, DMY'",
    "IntervalStyle = 'iso_8601'",
    "TimeZone = 'Asia/Kolkata'",
    "extra_float_digits = -5",
    "bytea_output = 'escape'",
    "xmlbinary = 'hex'",
    "quote_all_identifiers = on",
    "search_path = pg_catalog",
    "array_nulls = on",
)


def values_of(text: str, at: int) -> tuple[list[str], int]:
    """Cut a JSON array into the texts of its values; return where it ends."""
    decode, found = json.JSONDecoder(strict=False).raw_decode, list[str]()
    assert text[at] == "["
    at += 1
    while text[at] != "]":
        while text[at] in ", \n\t":
            at += 1
        _, end = decode(text, at)
        found.append(text[at:end])
        at = end
    return found, at + 1


def rows_of(text: str) -> list[list[str]]:
    """Cut the rows out of a chunk, or the inserted ones out of a commit."""
    message = json.loads(text, strict=False)
    name = "rows" if message["type"] == "snapshot" else "changes"
    rows, _ = values_of(text, text.index(f'"{name}":') + len(name) + 3)
    if name == "changes":
        rows = [values_of(change, 0)[0][1] for change in rows]
    return [values_of(row, 0)[0] for row in rows]


async def make(live: Live, extensions: bool) -> list[tuple[str, tuple[str, ...]]]:
    """Make types, extensions and the table; return the type and the values of each column."""
    types = [*TYPES.items(), *MORE.items()]
    async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
        await connection.execute((MAKE_TYPES + MORE_TYPES).encode())
        for name, its in EXTENSIONS.items() if extensions else ():
            found = "SELECT FROM pg_available_extensions WHERE name = %s"
            if await (await connection.execute(found, [name])).fetchone() is not None:
                await connection.execute(f"CREATE EXTENSION {name}".encode())
                types += its.items()
        try:
            await connection.execute("SELECT '<a/>'::xml")
        except psycopg.errors.FeatureNotSupported:  # the wheel's server is built without it
            types = [each for each in types if each[0] != "xml"]
        columns = ", ".join(f"c{n} {name}" for n, (name, _) in enumerate(types))
        await connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, {columns})".encode())
    return types


async def insert(live: Live, first: int, types: list[tuple[str, tuple[str, ...]]]) -> None:
    """Insert rows, in one transaction, that have every value of every type."""
    async with await psycopg.AsyncConnection.connect(live.url) as connection:
        await connection.execute("SET LOCAL search_path = public")
        await connection.execute("SET LOCAL DateStyle = 'ISO, YMD'")
        await connection.execute("SET LOCAL TimeZone = 'UTC'")
        for n in range(max(len(values) for _, values in types) + 1):
            row: list[Any] = [v[n] if n < len(v) else None for _, v in types]
            marks = sql.SQL(", ").join([sql.Placeholder()] * (len(row) + 1))
            query = sql.SQL("INSERT INTO public.t VALUES ({})").format(marks)
            await connection.execute(query, [first + n, *row])


async def check(live: Live, types: list[tuple[str, tuple[str, ...]]]) -> None:
    name = live.url.rpartition("/")[2]
    for setting in ODD_SETTINGS:
        await script(live, f'ALTER DATABASE "{name}" SET {setting}')
    await insert(live, 0, types)
    async with live.engine() as engine, wire(engine.url) as raw:
        await raw.say("subscribe", shapes=[{"id": "1", "table": "t"}])
        subscribed = (await raw.until("subscribed"))[-1]
        copied = rows_of(await raw.text())
        assert (await raw.until("up_to_date"))[-1]["live"] == ["1"]
        await insert(live, 1000, types)
        while '"commit"' not in (text := await raw.text()):
            pass
        committed = rows_of(text)
        assert len(copied) == len(committed) > 1
        for one, other in zip(copied, committed, strict=True):
            assert int(other[0]) - int(one[0]) == 1000
            for (kind, _), (_, told), a, b in zip(
                types, subscribed["columns"][1:], one[1:], other[1:], strict=True
            ):
                assert a == b, f"{kind} ({told}): {a!r} in the copy, {b!r} in the commit"
                assert repr(json.loads(a, strict=False)) == repr(json.loads(b, strict=False))
        null = [row[1:] for row in copied if int(row[0]) == len(copied) - 1]
        assert set(null[0]) == {"null"}, "the last row has no value"


@in_loop
async def test_a_row_reads_the_same_by_copy_and_by_commit_for_every_type(live: Live) -> None:
    await check(live, await make(live, extensions=True))


@in_loop
async def test_a_row_reads_the_same_in_a_database_of_another_encoding(live: Live) -> None:
    name = live.url.rpartition("/")[2] + "_latin1"
    create = f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    await script(live, create)
    other = Live(live.url + "_latin1")
    try:
        types = {"text": ("é ÿ \x85", "plain"), "char(3)": ("ü",), "text[]": ('{"ö",NULL}',)}
        columns = [*types.items(), ("json", ('{"ä": "\\u00e9 é"}',))]
        named = ", ".join(f"c{n} {kind}" for n, (kind, _) in enumerate(columns))
        await script(other, f"CREATE TABLE t (id int PRIMARY KEY, {named})")
        await check(other, columns)
    finally:
        await drop(live, name)


async def drop(live: Live, name: str) -> None:
    """Remove a database and its slot."""
    slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    await script(live, f"{slots} WHERE database = '{name}'", f"DROP DATABASE {name} WITH (FORCE)")
