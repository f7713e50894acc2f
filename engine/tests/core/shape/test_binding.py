"""A condition as written meets the columns: which constants PostgreSQL is asked to cast, and what
comes of it.

Method: a text, the questions that it raises, and a tree for made-up answers. That the rules are
PostgreSQL's own is shown in `integration/test_condition.py`.
"""

from __future__ import annotations

import pytest

from engine.tests.core.shape.columns import TYPES, compare, value
from tidewire import limits
from tidewire.core.shape.ast import (
    Among,
    And,
    Column,
    Compare,
    Is,
    IsNull,
    Like,
    Node,
    Not,
    Operator,
    Or,
    Truth,
    canonical,
)
from tidewire.core.shape.binding import Given, ParameterType, Question, bind
from tidewire.core.shape.parser import parse
from tidewire.core.shape.types import Kind
from tidewire.errors import SyncError

INT4 = ParameterType(Kind.INT4)
NO_PARAMETERS = Given()


def questions(text: str, given: Given = NO_PARAMETERS) -> list[Question]:
    return bind(parse(text), TYPES, given, {})[1]


def bound(text: str, given: Given = NO_PARAMETERS) -> Node:
    """Bind with answers that repeat the question; an array is split at its commas."""
    answers = {}
    for each in questions(text, given):
        parts = each.text.strip("{}").split(",") if each.is_array else [each.text]
        answers[each] = tuple(part.encode() for part in parts if part)
    tree, left = bind(parse(text), TYPES, given, answers)
    assert not left
    return tree


TREES: list[tuple[str, Given, Node]] = [
    ("int4 = 1", NO_PARAMETERS, compare("int4", "=", "1")),
    ("1 < int4", NO_PARAMETERS, compare("int4", ">", "1")),
    ("int4 = $1", Given(["7"], [INT4]), compare("int4", "=", "7")),
    ("int4 = $1", Given([None], [INT4]), compare("int4", "=", None)),
    ("enum = $1", Given(["a"], [ParameterType(None)]), compare("enum", "=", "a")),
    ("bool", NO_PARAMETERS, compare("bool", "=", "t")),
    ("NOT bool IS TRUE", NO_PARAMETERS, Not(Is(compare("bool", "=", "t"), True))),
    ("TRUE", NO_PARAMETERS, Truth(True)),
    ("other IS NULL", NO_PARAMETERS, IsNull(Column("other"))),
    ("int4 IN (2, 1, 2)", NO_PARAMETERS, Among(Column("int4"), (value("1"), value("2")))),
    ("int4 = ANY ('{1,2}')", NO_PARAMETERS, Among(Column("int4"), (value("1"), value("2")))),
    ("int4 = ANY ('{}')", NO_PARAMETERS, Among(Column("int4"), ())),
    ("int4 = ANY (NULL)", NO_PARAMETERS, compare("int4", "=", None)),
    ("int4 = ANY ($1)", Given(["{7}"], [ParameterType(Kind.INT4, True)]),
     compare("int4", "=", "7")),
    ("int4 = ANY (ARRAY[1, NULL])", NO_PARAMETERS,
     Among(Column("int4"), (value("1"), value(None)))),
    ("int4 = ANY (ARRAY['1']::int[])", NO_PARAMETERS, compare("int4", "=", "1")),
    ("text LIKE 'a\\\\'", NO_PARAMETERS, Like(Column("text"), value("a\\\\"))),
    ("text LIKE NULL", NO_PARAMETERS, Like(Column("text"), value(None))),
    ("int4 = int2 AND (text < varchar OR bool)", NO_PARAMETERS,
     And((Compare(Column("int2"), Operator.EQ, Column("int4")),
          Or((Compare(Column("text"), Operator.LT, Column("varchar")),
              compare("bool", "=", "t")))))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "given_", "tree"), TREES)
def test_trees(text: str, given_: Given, tree: Node) -> None:
    found = bound(text, given_)
    repeated = bound(text, given_)
    assert found == repeated
    assert found == canonical(tree)


N, F4, F8 = Kind.NUMERIC, Kind.FLOAT4, Kind.FLOAT8
THROUGH: list[tuple[str, tuple[Kind, ...], bool]] = [
    # text, what the constant is cast through on its way to the column's type, must it stay the same
    ("int4 = '1'", (), False),
    ("int4 = 1", (N,), True),
    ("int4 = 1::int8", (N, Kind.INT8), True),
    ("int4 = '1'::int4", (), False),
    ("int4 = 1::int4", (N, Kind.INT4), False),
    ("int8 = '1'::int4", (Kind.INT4,), True),
    ("numeric = 1", (), False),
    ("numeric = '1'::int4", (Kind.INT4,), False),
    ("float4 = '1'", (), False),
    ("float4 = 1", (N, F8), True),
    ("float4 = '1'::float8", (F8,), True),
    ("float4 = '1'::float4", (), False),
    ("float8 = 1", (N,), False),
    ("float8 = '1'::float4", (F4,), False),
    ("float4 IN ('1', 1::float8)", (F8,), True),
    ("float4 IN ('1', '2'::float4)", (), False),
    ("float8 IN ('1', 1)", (), False),
    ("date = 'x'", (), False),
    ("date = 'x'::timestamp", (Kind.TIMESTAMP,), True),
    ("date IN ('x', 'y'::timestamp)", (Kind.TIMESTAMP,), True),
    ("timestamp = 'x'::date", (Kind.DATE,), False),
    ("timestamptz = 'x'::timestamp", (Kind.TIMESTAMP,), False),
    ("text = 'x'::varchar", (Kind.VARCHAR,), False),
    ("text = ANY (ARRAY['x'])", (), False),
    ("varchar = ANY (ARRAY['x'])", (Kind.TEXT,), False),
    ("bool = TRUE", (), False),
    ("enum = 'a'::mood", (), False),
    ("enum = 'a'::public.mood", (), False),
    ("bool = 'x'::pg_catalog.bool", (), False),
]


@pytest.mark.parametrize(("text", "through", "is_exact"), THROUGH)
def test_constants_are_cast_as_postgresql_reads_them(
    text: str, through: tuple[Kind, ...], is_exact: bool
) -> None:
    asked = questions(text)[0]
    assert (asked.through, asked.is_exact) == (through, is_exact)


REFUSED: list[tuple[str, Given, str, str]] = [
    ("nope = 1", NO_PARAMETERS, "unknown_column", "nope"),
    ("composite IS NULL", NO_PARAMETERS, "unsupported_where", "is a row"),
    ("other = 'x'", NO_PARAMETERS, "unsupported_where", "IS [NOT] NULL"),
    ("other IN ('x')", NO_PARAMETERS, "unsupported_where", "IS [NOT] NULL"),
    ("other = ANY ('x')", NO_PARAMETERS, "unsupported_where", "IS [NOT] NULL"),
    ("icu < 'x'", NO_PARAMETERS, "unsupported_where", "COLLATE"),
    ("text < icu", NO_PARAMETERS, "unsupported_where", "COLLATE"),
    ("lax = 'x'", NO_PARAMETERS, "unsupported_where", "nondeterministic"),
    ("lax LIKE 'x'", NO_PARAMETERS, "unsupported_where", "nondeterministic"),
    ("int4", NO_PARAMETERS, "unsupported_where", "not of type bool"),
    ("int4 = numeric", NO_PARAMETERS, "unsupported_where", "different types"),
    ("enum = other_enum", NO_PARAMETERS, "unsupported_where", "different types"),
    ("numeric = '1'::float8", NO_PARAMETERS, "unsupported_where", "type float8"),
    ("int4 = TRUE", NO_PARAMETERS, "unsupported_where", "type bool"),
    ("uuid = 'x'::text", NO_PARAMETERS, "unsupported_where", "type text"),
    ("bpchar = ANY (ARRAY['x'])", NO_PARAMETERS, "unsupported_where", "type text"),
    ("text = 'x'::citext", NO_PARAMETERS, "unsupported_where", "cast to citext"),
    ("text = 'x'::app.text", NO_PARAMETERS, "unsupported_where", "cast to app.text"),
    ("enum = 'x'::other_enum", NO_PARAMETERS, "unsupported_where", "not to mood"),
    ("int4 = ANY (ARRAY[1, '2'])", NO_PARAMETERS, "unsupported_where", "alike"),
    ("int4 = ANY (ARRAY[1::int2]::int[])", NO_PARAMETERS, "unsupported_where", "of a cast"),
    ("text LIKE 'a\\'", NO_PARAMETERS, "unsupported_where", "escape character"),
    ("text LIKE '" + "%" * 1001 + "'", NO_PARAMETERS, "unsupported_where", "1000 characters"),
    ("int4 = $1", NO_PARAMETERS, "bad_params", "$1 has no value"),
    ("int4 = $1::int8", Given(["1"], [INT4]), "unsupported_where", "two types"),
    ("int4 = $1", Given(["1"], [ParameterType(Kind.INT4, True)]), "unsupported_where", "two types"),
    ("int4 = ANY ($1)", Given(["1"], [INT4]), "unsupported_where", "two types"),
    ("float4 = $1", Given(["1"], [ParameterType(Kind.UUID)]), "unsupported_where", "type uuid"),
]


@pytest.mark.parametrize(("text", "given_", "code", "told"), REFUSED)
def test_what_cannot_be_followed(text: str, given_: Given, code: str, told: str) -> None:
    with pytest.raises(SyncError) as caught:
        bound(text, given_)
    assert caught.value.code == code
    assert told in caught.value.text


def test_an_array_has_an_end() -> None:
    text = "int4 = ANY ('{" + ",".join(["1"] * (limits.WHERE_VALUES + 1)) + "}')"
    with pytest.raises(SyncError, match="10000 elements"):
        bound(text)


def test_parameters_are_marked_so_that_errors_name_the_right_culprit() -> None:
    asked = questions("int4 = $1 OR int4 = 1", Given(["1"], [INT4]))
    assert [each.is_parameter for each in asked] == [True, False]
