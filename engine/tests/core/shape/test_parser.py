"""The text of a condition becomes a tree as written, or an error that says why not.

Method: texts and trees side by side; then everything that a stranger may send.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.wal.tables import chance
from tidewire import limits
from tidewire.core.shape.ast import (
    Among,
    AmongArray,
    And,
    Array,
    Column,
    Compare,
    Flag,
    Form,
    Is,
    IsNull,
    Like,
    Literal,
    Node,
    Not,
    Operator,
    Or,
    Parameter,
    Truth,
)
from tidewire.core.shape.parser import parse
from tidewire.errors import SyncError

A, B, C = (Column(name) for name in "abc")
ONE, TWO = Literal(Form.NUMBER, "1"), Literal(Form.NUMBER, "2")
X, NULL = Literal(Form.STRING, "x"), Literal(Form.NULL)


def equal(left: Column | Literal | Parameter, right: Column | Literal | Parameter) -> Compare:
    return Compare(left, Operator.EQ, right)


READ: list[tuple[str, Node]] = [
    ("a = 1", equal(A, ONE)),
    ("1 = a", equal(ONE, A)),
    ("(a) = ((1))", equal(A, ONE)),
    ("a = b", equal(A, B)),
    ("A <> 1", Compare(A, Operator.NE, ONE)),
    ("a != 1", Compare(A, Operator.NE, ONE)),
    ("a < 1", Compare(A, Operator.LT, ONE)),
    ("a <= 1", Compare(A, Operator.LE, ONE)),
    ("a > 1", Compare(A, Operator.GT, ONE)),
    ("a >= 1", Compare(A, Operator.GE, ONE)),
    ("a IS DISTINCT FROM 1", Compare(A, Operator.DISTINCT, ONE)),
    ("a IS NOT DISTINCT FROM 1", Not(Compare(A, Operator.DISTINCT, ONE))),
    ('"A b" = \'x\'', equal(Column("A b"), X)),
    ("a = 'it''s \\n'", equal(A, Literal(Form.STRING, "it's \\n"))),
    ("a = -1.5E3", equal(A, Literal(Form.NUMBER, "-1.5e3"))),
    ("a = (- 1)", equal(A, Literal(Form.NUMBER, "-1"))),
    ("a = TRUE", equal(A, Literal(Form.BOOL, "true"))),
    ("a = false", equal(A, Literal(Form.BOOL, "false"))),
    ("a = NULL", equal(A, NULL)),
    ("a = $12", equal(A, Parameter(12))),
    ("a = $1::uuid", equal(A, Parameter(1, ("uuid",)))),
    ("a = CAST($1 AS bigint)", equal(A, Parameter(1, ("int8",)))),
    ("a = 'x'::mood", equal(A, Literal(Form.STRING, "x", ("mood",)))),
    ("a = 'x'::App.\"Mood\"", equal(A, Literal(Form.STRING, "x", ("app", "Mood")))),
    ("a = DATE 'x'", equal(A, Literal(Form.STRING, "x", ("date",)))),
    ("a = 1::float", equal(A, Literal(Form.NUMBER, "1", ("float8",)))),
    ("a = 1::real", equal(A, Literal(Form.NUMBER, "1", ("float4",)))),
    ("a = NULL::int", equal(A, Literal(Form.NULL, "", ("int4",)))),
    ("a IN (1, $2, NULL)", Among(A, (ONE, Parameter(2), NULL))),
    ("a NOT IN (1)", Not(Among(A, (ONE,)))),
    ("a = ANY ($1)", AmongArray(A, Parameter(1))),
    ("a = ANY ($1::int[])", AmongArray(A, Parameter(1, ("int4",)))),
    ("a = ANY ('x')", AmongArray(A, X)),
    ("a = ANY (ARRAY[1, 2])", AmongArray(A, Array((ONE, TWO)))),
    ("a = ANY ((ARRAY[1])::int[])", AmongArray(A, Array((ONE,), ("int4",)))),
    ("a = ANY (ARRAY[]::int[])", AmongArray(A, Array((), ("int4",)))),
    ("a IS NULL", IsNull(A)),
    ("a IS NOT NULL", Not(IsNull(A))),
    ("a IS TRUE", Is(Flag(A), True)),
    ("(a = 1) IS NOT FALSE", Not(Is(equal(A, ONE), False))),
    ("a BETWEEN 1 AND b", And((Compare(A, Operator.GE, ONE), Compare(A, Operator.LE, B)))),
    ("a NOT BETWEEN 1 AND 2 OR b",
     Or((Not(And((Compare(A, Operator.GE, ONE), Compare(A, Operator.LE, TWO)))), Flag(B)))),
    ("a LIKE 'x'", Like(A, X)),
    ("a NOT LIKE $1", Not(Like(A, Parameter(1)))),
    ("a", Flag(A)),
    ("true", Truth(True)),
    ("FALSE", Truth(False)),
    ("NULL", Truth(None)),
    ("NOT a AND b", And((Not(Flag(A)), Flag(B)))),
    ("a AND b AND c", And((Flag(A), Flag(B), Flag(C)))),
    ("a OR b AND c", Or((Flag(A), And((Flag(B), Flag(C)))))),
    ("(a OR b) AND c", And((Or((Flag(A), Flag(B))), Flag(C)))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "tree"), READ)
def test_what_is_in_the_language(text: str, tree: Node) -> None:
    assert parse(text) == tree


REFUSED = [
    # text, and a part of the reason
    ("lower(a) = 'x'", "functions"),
    ("a = now()", "functions"),
    ("a ~ 'x'", "operator ~"),
    ("a[1][2] = 1", "one dimension"),
    ("a || b = c", "operator ||"),
    ("a + 1 = 2", "calculations"),
    ("a = 1 + 1", "calculations"),
    ("a = (SELECT 1)", "query"),
    ("a IN (SELECT 1)", "query"),
    ("a IN $1", "needs a list"),
    ("EXISTS (SELECT 1)", ""),
    ("a ILIKE 'x'", "ILIKE"),
    ("a LIKE 'x' ESCAPE '!'", "escape"),
    ("a LIKE b", "where a constant is expected"),
    ("a BETWEEN SYMMETRIC 1 AND 2", "SYMMETRIC of Between"),
    ("1 BETWEEN 0 AND 2", "no column"),
    ("1 = 1", "no column"),
    ("$1", "not part of the language"),
    ("$1 IS NULL", "where a column is expected"),
    ("(a = 1) IS NULL", ""),
    ("a IS JSON", ""),
    ("a IS OF (int)", ""),
    ("a = (b = 1)", "IS TRUE"),
    ("a = b = c", "IS TRUE"),
    ("a = (b IS NULL)", "IS TRUE"),
    ("a = -$1", "minus"),
    ("a = -'x'", "minus"),
    ("a = -1::int", "minus"),
    ("a = $x", "$1, $2"),
    ("a = @x", "$1, $2"),
    ("a = :x", ""),
    ("a = ?", ""),
    ("a = E'x'", "without E"),
    ("a = 'x' 'y'", "in pieces"),
    ("a = $$x$$", ""),
    ("a = 0x1F", ""),
    ("t.a = 1", "without its table"),
    ("ä = 1", "quotes"),
    ("a::text = 'x'", "cast of a column"),
    ("a = '1'::int::text", "cast of a cast"),
    ("a = TRUE::text", "cast of TRUE"),
    ("a = 'x'::varchar(1)", "VARCHAR(1)"),
    ("a = 'x'::interval", "may change"),
    ("a = 'x'::int[]", "may change"),
    ("a = ANY ($1::int)", "needs an array"),
    ("a = ANY (('{1}'::int)::int8[])", "cast of a cast"),
    ("a = ANY (ARRAY[ARRAY[1]])", ""),
    ("a = ALL ($1)", "functions"),
    ("a <> ANY ($1)", ""),
    ("'" + "x" * 99 + "' IS NULL", "..."),
    ("a = 1 -- b", "comments"),
    ("a = /* b */ 1", "comments"),
    ("(" * 33 + "a" + ")" * 33, "nested"),
    ("(" * 5000, "nested"),
    ("NOT " * 33 + "a", "nested"),
    ("(a, b) = (1, 2)", ""),
    ("a = 'x' COLLATE \"C\"", ""),
    ("a = 1e", "the number '1e'"),
    ("a = 'x'::s.t.u", "calculations"),
    ("a = CAST(1 AS interval day)", ""),
    ("CASE WHEN a THEN b END", ""),
    ("a @> 'x'", ""),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_all_else_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(SyncError) as caught:
        parse(text)
    assert caught.value.code == "unsupported_where"
    assert told in caught.value.text


@pytest.mark.parametrize("number", ["0", "1001", "9" * 5000])
def test_parameters_are_counted(number: str) -> None:
    with pytest.raises(SyncError, match="bad_params"):
        parse(f"a = ${number}")


UNREADABLE = [
    "", " ", ";", "a = 1; b = 2", "a =", "= 1", "a b", "1=1) OR (1=1", "a = 'x", '"a', "a = 1 AND",
    "a IN ()", ")", "NOT " * 3000 + "a", "a = 1_000", "SELECT 1", "DROP TABLE a",
    "a" + "[1]" * 3000, "a = " + "-" * 4001, "\ud800 = 1 1", "a = 1\0b",
]  # fmt: skip


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:20])
def test_what_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(SyncError):
        parse(text)


def test_a_long_condition_is_not_a_deep_one() -> None:
    tree = parse(" AND ".join(["a = 1"] * 1000))
    assert isinstance(tree, And)
    assert len(tree.operands) == 1000
    assert parse("(" * limits.WHERE_DEPTH + "a" + ")" * limits.WHERE_DEPTH) == Flag(A)


WORDS = [
    "a", "b", "\"c\"", "1", "-1", "1.5", "'x'", "''", "$1", "$2", "=", "<>", "<", ">=", "(", ")",
    "[", "]", ",", ";", ".", "::", "AND", "OR", "NOT", "IN", "IS", "NULL", "TRUE", "LIKE",
    "BETWEEN", "DISTINCT", "FROM", "ANY", "ARRAY", "CAST", "AS", "int", "int[]", "SELECT", "CASE",
    "WHEN", "END", "--", "/*", "*/", "'", "\"", "$", "$$", "E'", "U&'", "\\", "@", "#", "?", ":",
    "||", "+", "-", "*", "/", "%", "^", "~", "!", "&", "|", "{", "}", "COLLATE", "ESCAPE",
    "INTERVAL", "DATE", "EXISTS", "OVER", "FILTER",
]  # fmt: skip


@chance
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=12).map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SyncError):
        parse(text)
