"""What is refused as a condition, with which code, and what the user is told.

Method: texts and parameters against the table of the oracle; readings that differ are made by a
setting and by a column whose name is a keyword.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.oracle import (
    Oracle,
    describe,
    oracle_on,
)
from tidewire.embedded import EmbeddedPostgres
from tidewire.errors import SyncError
from tidewire.postgres.condition import Parameter, bind
from tidewire.postgres.database import connection_string


@pytest.fixture(scope="module")
def oracle(server: EmbeddedPostgres) -> Iterator[Oracle]:
    with oracle_on(server) as made:
        yield made


REFUSED = [
    # text, parameters, code, and a part of what is told
    ("c_int4 = 1.5", (), "unsupported_where", "no value of type int4"),
    ("c_float4 = 1.1", (), "unsupported_where", "no value of type float4"),
    ("c_float4 IN (1.1, 2)", (), "unsupported_where", "no value of type float4"),
    ("c_date > '2024-01-01 12:00'::timestamp", (), "unsupported_where", "no value of type date"),
    ("c_date IN ('2024-01-01 12:00', now())", (), "unsupported_where", "functions"),
    ("c_bpchar < 'a'", (), "unsupported_where", "only equality"),
    ("c_bpchar = ANY (ARRAY['a '])", (), "unsupported_where", "type text"),
    ("c_bpchar = 'a'::text", (), "unsupported_where", "type text"),
    ("c_bpchar LIKE 'a'", (), "unsupported_where", "LIKE is for text"),
    ("c_int4 = c_numeric", (), "unsupported_where", "different types"),
    ("c_domain = '7'::positive", (), "unsupported_where", "cast to positive"),
    ("c_int4 = $1 AND c_float8 = $1::float8", ("1",), "unsupported_where", "two types"),
    ("c_float8 = $1 AND c_float4 = $1", ("1.1",), "unsupported_where", "no value of type"),
    ("c_int4::text = '1'", (), "unsupported_where", "cast the constant"),
    ("c_text || 'a' = 'b'", (), "unsupported_where", "operator ||"),
    ("c_int4 IN (SELECT 1)", (), "unsupported_where", "query inside"),
    ("EXISTS (SELECT 1 FROM pg_authid)", (), "unsupported_where", ""),
    ("c_text ILIKE 'a'", (), "unsupported_where", "ILIKE"),
    ("c_text LIKE 'a!%' ESCAPE '!'", (), "unsupported_where", "escape"),
    ("c_text LIKE 'a\\'", (), "unsupported_where", "must not end"),
    ("c_text = E'a'", (), "unsupported_where", "without E"),
    ("c_text < 'a' COLLATE \"C\"", (), "unsupported_where", ""),
    ("c_bool = (c_int4 = 1)", (), "unsupported_where", "IS TRUE"),
    ("oracle.c_int4 = 1", (), "unsupported_where", "without its table"),
    ("c_int4 = 1 -- AND c_int2 = 1", (), "unsupported_where", "comments"),
    ("c_int4 = 1 /* ) */", (), "unsupported_where", "comments"),
    ("1=1) OR (1=1", (), "unsupported_where", "cannot be read"),
    ("1 = 1", (), "unsupported_where", "no column"),
    ("user = 'a'", (), "unknown_column", "user"),
    ("xmin = 1", (), "unknown_column", "xmin"),
    ("oracle IS NULL", (), "unknown_column", "oracle"),
    ("c_nope = 1", (), "unknown_column", '"c_nope" does not exist, at character 1'),
    ('c_int4 = 1 AND\n"C_INT4" = 1', (), "unknown_column", "at character 16"),
    ("c_int4 = = 1", (), "bad_where", 'at or near "=", at character 10'),
    ("c_int4 <", (), "bad_where", "at the end"),
    ("", (), "bad_where", "at the end"),
    ("c_int4 = 1; SELECT 1", (), "bad_where", 'near ";", at character 11'),
    ("c_int4 < 1 = c_bool = c_bool", (), "unsupported_where", "IS TRUE"),
    ("c_bool = 1", (), "bad_where", "boolean = integer, at character 8"),
    ("c_int4 = 'x'", (), "bad_where", '"x", at character 10'),
    ("c_enum = 'glum'", (), "bad_where", '"glum"'),
    ("c_int4", (), "bad_where", "must be type boolean"),
    ("c_int4 = 99999999999999999999", (), "bad_where", "out of range"),
    ("c_float8 < 1e400", (), "bad_where", "out of range"),
    ("c_text = 'a\0'", (), "bad_where", "NUL"),
    ("c_text = '\ud800'", (), "bad_where", "half a character"),
    ("c_int4 = 1" + " " * 10_000, (), "bad_where", "10000 characters"),
    ("(" * 5000, (), "unsupported_where", "nested"),
    ("NOT " * 40 + "c_bool", (), "unsupported_where", "nested"),
    ("NOT " * 2400 + "c_bool", (), "unsupported_where", ""),
    ("c_int4 = " + "-" * 4000 + "1", (), "unsupported_where", ""),
    ("c_int4 = $1", (), "bad_params", "has 1 parameters, 0 were given"),
    ("c_int4 = 1", (1,), "bad_params", "has 0 parameters, 1 were given"),
    ("c_int4 = $2", (1, 2), "bad_params", "data type of parameter $1"),
    ("c_int4 = $0", (1,), "bad_params", "from $1"),
    ("c_int4 = $1", ("x",), "bad_params", 'integer: "x"'),
    ("c_int4 = $1", (1.5,), "bad_params", 'integer: "1.5"'),
    ("c_int4 = $1", (1 << 5000,), "bad_params", "too large"),
    ("c_text = $1", ("\0",), "bad_params", "NUL"),
    ("c_text = $1", ("\udfff",), "bad_params", "half a character"),
    ("c_int4 = ANY ($1)", ("1",), "bad_params", "array"),
    ("c_int4 = ANY ($1)", ("{" + "1," * 10_000 + "1}",), "unsupported_where", "10000 elements"),
    ("c_int4 = 1", (1,) * 1001, "bad_params", "1000 parameters"),
]


@pytest.mark.parametrize(("where", "params", "code", "told"), REFUSED, ids=lambda v: str(v)[:30])
def test_what_is_refused_and_why(
    oracle: Oracle, where: str, params: tuple[Parameter, ...], code: str, told: str
) -> None:
    with pytest.raises(SyncError) as caught:
        oracle.bind(where, params)
    assert caught.value.code == code
    assert told in caught.value.text


@in_loop
async def test_readings_that_differ_are_refused(live: Live) -> None:
    # With this setting a backslash in a string is no letter; we read it as one.
    await live.execute("CREATE TYPE pair AS (a int, b int)")
    await live.execute(
        'CREATE TABLE t (id int PRIMARY KEY, a text, "user" text, p pair, x json, d numrange,'
        " g int GENERATED ALWAYS AS (id) STORED)"
    )
    connection = await psycopg.AsyncConnection.connect(
        connection_string(live.url, {}, {}), autocommit=True, row_factory=dict_row
    )
    async with connection:
        facts, _, _ = await describe(connection, "t")
        await bind(connection, facts, "x IS NULL AND d IS NOT NULL AND \"user\" = 'a'")
        for where, told in (
            ("user = 'a'", "reads the condition as"),
            ("p IS NULL", "is a row"),
            ("d = 'empty'", "only IS [NOT] NULL"),
        ):
            with pytest.raises(SyncError, match=told.replace("[", "\\[")):
                await bind(connection, facts, where)
        with pytest.raises(SyncError, match="unknown_column"):
            await bind(connection, facts, "g = 1")
        await connection.execute("SET standard_conforming_strings = off")
        await connection.execute("SET escape_string_warning = off")
        with pytest.raises(SyncError, match="reads the condition as"):
            await bind(connection, facts, "a = 'a\\b'")


@in_loop
async def test_trouble_of_the_database_is_no_fault_of_the_condition(live: Live) -> None:
    await live.execute("CREATE TABLE t (id int PRIMARY KEY)")
    connection = await psycopg.AsyncConnection.connect(
        connection_string(live.url, {}, {}), autocommit=True, row_factory=dict_row
    )
    async with connection:
        facts, _, _ = await describe(connection, "t")
        await connection.execute("SET statement_timeout = '100ms'")
        async with await psycopg.AsyncConnection.connect(live.url) as locker:
            await locker.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(psycopg.errors.QueryCanceled):
                await bind(connection, facts, "id = 1")
        await bind(connection, facts, "id = 1")
