"""PostgreSQL is the oracle: a condition means for us what it means for PostgreSQL.

Method: a table with a column of every type that conditions know, full of nasty values. For a text,
three answers are compared row by row: the text itself as PostgreSQL runs it, our rendering as
PostgreSQL runs it, and our own judgement of the cells as the stream prints them. What is refused
is in tables of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.oracle import (
    BARE,
    EQUALITIES,
    OPERATORS,
    TEXTS,
    VALUES,
    Oracle,
    describe,
    oracle_on,
    quoted,
)
from tidewire.core.shape.predicate import Equality
from tidewire.embedded import EmbeddedPostgres
from tidewire.errors import SyncError
from tidewire.postgres.condition import Parameter, bind
from tidewire.postgres.database import connection_string

EFFORT = int(os.environ.get("TIDEWIRE_EFFORT", "1"))


@pytest.fixture(scope="module")
def oracle(server: EmbeddedPostgres) -> Iterator[Oracle]:
    with oracle_on(server) as made:
        yield made


def literals(name: str, value: str) -> list[str]:
    """Write a value in the ways in which users do."""
    type = VALUES[name][0].split("(")[0].replace("char", "bpchar").replace("varbpchar", "varchar")
    type = {"positive": "int4", "words": "text"}.get(type, type)
    ways = [quoted(value), f"CAST({quoted(value)} AS {type})", f"{quoted(value)}::{type}"]
    if name in BARE and value[-1:].isdigit():
        ways.append(value)
    return ways


@pytest.mark.parametrize("name", VALUES)
def test_each_type_compares_as_in_postgresql(oracle: Oracle, name: str) -> None:
    for operator in EQUALITIES if name == "c_bpchar" else OPERATORS:
        for value in VALUES[name][1]:
            oracle.agree(f"{name} {operator} {quoted(value)}")
        for value in VALUES[name][1][::3]:
            oracle.agree(f"NOT {name} {operator} $1", (value,))
    for value in VALUES[name][1]:
        for literal in literals(name, value):
            oracle.agree(f"{literal} = {name}")
    listed = ", ".join(map(quoted, VALUES[name][1][::2]))
    oracle.agree(f"{name} IN ({listed})")
    oracle.agree(f"{name} NOT IN ({listed}, NULL)")
    oracle.agree(f"({name} IN ({listed}, NULL)) IS NOT TRUE")
    oracle.agree(f"{name} = {name}")
    oracle.agree(f"{name} IS DISTINCT FROM {name} OR {name} IS NULL")
    oracle.agree(f"{name} = $1 IS FALSE OR {name} = ANY ('{{}}')", (None,))


ATOMS = {
    "c_int2": "c_int4", "c_int4": "c_int8", "c_text": "c_varchar", "c_domain": "c_int2",
    "c_float8": "c_float8", "c_date": "c_date", "c_words": "c_text",
}  # fmt: skip
PATTERNS = [
    "%",
    "_",
    "a%",
    "%b",
    "a_b",
    "a\\%b",
    "a\\_b",
    "%a%b%",
    "",
    "é%",
    "a\\\\b",
    "_%_",
    "%😀",
]
PATTERNS += ["a%b%", "%_b", "ab%ab", "a\nb", "%%", "\\a%", "it's%"]


@st.composite
def atoms(draw: st.DrawFn, params: list[Parameter]) -> str:
    name = draw(st.sampled_from(sorted(VALUES)))
    values = VALUES[name][1]

    def constant() -> str:
        value = draw(st.sampled_from(values))
        way = draw(st.integers(0, 5))
        if way == 0:
            params.append(draw(st.sampled_from([value, None])))
            return f"${len(params)}"
        ways = [*literals(name, value), "NULL"]
        return draw(st.sampled_from(ways))

    match draw(st.integers(0, 9)):
        case 0:
            return f"{name} IS {draw(st.sampled_from(['', 'NOT ']))}NULL"
        case 1:
            return (
                f"{name} {draw(st.sampled_from(['', 'NOT ']))}BETWEEN {constant()} AND {constant()}"
            )
        case 2 | 3:
            listed = ", ".join(constant() for _ in range(draw(st.integers(1, 4))))
            return f"{name} {draw(st.sampled_from(['', 'NOT ']))}IN ({listed})"
        case 4:
            params.append("{" + ",".join(f'"{v}"' for v in values[:3] if "\\" not in v) + "}")
            return f"{name} = ANY (${len(params)})"
        case 5:
            text = draw(st.sampled_from(["c_text", "c_varchar", "c_words"]))
            pattern = draw(st.sampled_from(PATTERNS))
            return f"{text} {draw(st.sampled_from(['', 'NOT ']))}LIKE {quoted(pattern)}"
        case 6:
            return draw(st.sampled_from(["c_bool", "NOT c_bool", "c_bool IS TRUE", "TRUE", "NULL"]))
        case 7:
            return f"{name} {draw(st.sampled_from(OPERATORS))} {ATOMS.get(name, name)}"
        case _:
            operator = draw(st.sampled_from(OPERATORS))
            sides = [name, constant()]
            return f" {operator} ".join(sides if draw(st.booleans()) else sides[::-1])


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, tuple[Parameter, ...]]:
    """Draw a text with few parentheses, so that precedence is put to the test, and parameters."""
    params: list[Parameter] = []
    words = [draw(atoms(params))]
    for _ in range(draw(st.integers(0, 5))):
        words.append(draw(st.sampled_from(["AND", "OR", "and", "OR NOT", "AND NOT"])))
        atom = draw(atoms(params))
        shape = draw(st.sampled_from(["{}", "({})", "({}) IS NOT FALSE", "(({})) IS TRUE", "{}"]))
        words.append(shape.replace("{}", atom))
    text = " ".join(words)
    return (f"NOT ({text}) IS TRUE" if draw(st.booleans()) else text), tuple(params)


@pytest.mark.soak
def test_conditions_by_chance_mean_what_postgresql_says(oracle: Oracle) -> None:
    seen = {"agreed": 0, "refused": 0}

    @settings(
        max_examples=200 * EFFORT, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck), print_blob=True,
    )  # fmt: skip
    @given(conditions())
    def run(case: tuple[str, tuple[Parameter, ...]]) -> None:
        try:
            oracle.agree(*case)
        except SyncError:
            # PostgreSQL's own word, or a combination that we do not promise.
            seen["refused"] += 1
        else:
            seen["agreed"] += 1

    run()
    assert seen["agreed"] > seen["refused"], seen


# Traps in which a constant is not compared in the column's type; all of these are followed.
TRAPS: list[tuple[str, tuple[Parameter, ...]]] = [
    ("c_float4 = $1 AND c_float8 = $1", ("0.1",)),
    ("c_date <= $1 AND c_timestamp >= $1", ("2024-01-01 12:00",)),
    ("c_float4 = 1.5 OR c_float4 IN (1.5, 0) OR c_float4 = '0.1'", ()),
    ("c_int4 = 1.0 OR c_int2 = 7::int8 OR c_int8 = $1::int2", ("7",)),
    ("c_timestamp > '2024-01-01'::date AND c_timestamptz > DATE '2024-01-01'", ()),
    ("c_float8 = 9007199254740993 OR c_float8 = '0.1'::float4", ()),
    ("c_int4 = 1.5::int4 OR c_numeric = 1.5::int4", ()),
    ("c_bpchar IN ('a ', 'b'::bpchar)", ()),
    ("c_enum = ANY ($1) OR c_enum = 'ok'::mood OR c_enum > $2", ("{ok,NULL}", "sad")),
    ("c_int4 = ANY (ARRAY[1, NULL, 7]) OR c_text = ANY (ARRAY['a', 'b'])", ()),
    ("c_int4 = ANY ('{1,7}'::int8[]) OR c_int4 = ANY (ARRAY['7']::int2[])", ()),
    ("c_int4 = ANY ($1::int[]) OR NOT c_int2 = ANY ($2)", ("{{1},{7}}", None)),
    ("c_text = 'a\\b' OR c_text = 'it''s' OR c_text = '%'", ()),
    ("c_bool = $1 OR c_int4 = $2 OR c_float8 < $3", (True, 7, -0.5)),
    ('C_INT4 = -1 AND "c_int2" IS NOT NULL OR c_bool', ()),
    ("c_timestamptz = '2024-01-01 02:00+02' OR c_date = 'infinity'", ()),
    ("c_date < 'now' AND c_timestamptz < 'today'", ()),
]


@pytest.mark.parametrize(("where", "params"), TRAPS)
def test_constants_of_other_types_mean_the_same(
    oracle: Oracle, where: str, params: tuple[Parameter, ...]
) -> None:
    oracle.agree(where, params)


ONE = [
    ("c_int4 IN (1, 7)", "c_int4 in(7,1,\n1)", "7 = c_int4 OR FALSE", ()),
    ("c_int4 = 7 AND c_text <> 'a'", "(('a' != c_text)) AND c_int4 IN ($1)", "c_int4 = 7", (7,)),
    ("c_int4 BETWEEN 1 AND 7", "c_int4 <= $1 AND 1 <= c_int4", "c_int4 >= 1", ("7",)),
    ("c_bool", "c_bool = 'yes'", "c_bool IS TRUE", ()),
]


@pytest.mark.parametrize(("one", "same", "other", "params"), ONE)
def test_equal_conditions_are_one(
    oracle: Oracle, one: str, same: str, other: str, params: tuple[Parameter, ...]
) -> None:
    predicate = oracle.bind(one)
    assert oracle.bind(same, params) == predicate
    assert hash(oracle.bind(same, params)) == hash(predicate)
    assert oracle.bind(other) != predicate


def test_an_index_finds_a_condition_by_its_equality(oracle: Oracle) -> None:
    both = oracle.bind("c_int4 IN (1, 7, NULL) AND c_text = 'a' AND c_float8 = 0")
    assert both.equality == Equality("c_text", frozenset({b"a"}))
    assert oracle.bind("c_numeric = 1 AND c_bpchar = 'a' AND c_int4 > 1").equality is None
    assert both.columns == {"c_int4", "c_text", "c_float8"}


COLLATIONS = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname) AS name
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE c.collname IN ('C', 'POSIX', 'ucs_basic', 'pg_c_utf8', 'C.utf8', 'en_US.utf8', 'de_DE.utf8',
                     'und-x-icu', 'en-x-icu', 'tr-x-icu', 'de-x-icu')
  AND c.collencoding IN (-1, pg_char_to_encoding('UTF8'))
"""
BYTEWISE = ("C", "POSIX", "ucs_basic", "pg_c_utf8", '"C.utf8"')


def test_texts_have_an_order_only_where_it_is_that_of_their_bytes(oracle: Oracle) -> None:
    async def collated(name: str) -> Oracle:
        await oracle.connection.execute("DROP TABLE IF EXISTS collated")
        await oracle.connection.execute(
            f"CREATE TABLE collated (id int PRIMARY KEY, t text COLLATE {name})".encode()
        )
        for number, text in enumerate(TEXTS):
            await oracle.connection.execute("INSERT INTO collated VALUES (%s, %s)", [number, text])
        return Oracle(
            oracle.runner, oracle.connection, *await describe(oracle.connection, "collated")
        )

    cursor = oracle.runner.run(oracle.connection.execute(COLLATIONS))
    names = [row["name"] for row in oracle.runner.run(cursor.fetchall())]
    assert 'pg_catalog."C"' in names
    for name in names:
        words = oracle.runner.run(collated(name))
        words.table = "collated"
        for text in TEXTS:
            words.agree(f"t = {quoted(text)} OR t IS DISTINCT FROM 'a'")
        for pattern in PATTERNS:
            words.agree(f"t LIKE {quoted(pattern)}")
        if name.removeprefix("pg_catalog.").strip('"') in [n.strip('"') for n in BYTEWISE]:
            for text in TEXTS:
                words.agree(f"t < {quoted(text)}")
        else:
            with pytest.raises(SyncError, match='COLLATE "C"'):
                words.bind("t < 'a'")


@in_loop
async def test_a_database_with_the_order_of_a_language_has_none_here(live: Live) -> None:
    await live.execute('CREATE TABLE t (id int PRIMARY KEY, a text, b text COLLATE "C")')
    [(has_icu,)] = await live.execute(
        "SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'"
    )
    if not has_icu:
        return
    name = live.url.rpartition("/")[2] + "_icu"
    await live.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"
    )
    try:
        other = Live(live.url.rpartition("/")[0] + "/" + name)
        await other.execute(
            "CREATE COLLATION lax"
            " (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
        )
        await other.execute(
            'CREATE TABLE t (id int PRIMARY KEY, a text, b text COLLATE "C", c text COLLATE lax)'
        )
        connection = await psycopg.AsyncConnection.connect(
            connection_string(other.url, {}, {}), autocommit=True, row_factory=dict_row
        )
        async with connection:
            facts, _, _ = await describe(connection, "t")
            await bind(connection, facts, "b < 'a' AND a = 'a' AND a LIKE 'a%'")
            for where in ("a < 'a'", "a < b"):
                with pytest.raises(SyncError, match='COLLATE "C"'):
                    await bind(connection, facts, where)
            for where in ("c = 'a'", "c LIKE 'a'", "c IN ('a')"):
                with pytest.raises(SyncError, match="nondeterministic"):
                    await bind(connection, facts, where)
    finally:
        await live.execute(f"DROP DATABASE {name} WITH (FORCE)")
