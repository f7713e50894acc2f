"""Equal conditions have one tree.

Method: trees that differ in what means nothing become one; those that differ in more stay two.
"""

from __future__ import annotations

import pytest

from engine.tests.core.shape.columns import compare, value
from tidewire.core.shape.ast import (
    Among,
    AmongArray,
    And,
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
    Truth,
    canonical,
    columns_of,
)

A, B, C = (compare(name, "=", "1") for name in "abc")
X, Y = Column("x"), Column("y")
SAME: list[tuple[Node, Node]] = [
    (And((B, A)), And((A, B))),
    (And((A, And((B, C)))), And((And((C, A)), B))),
    (Or((A, Or((B, C)))), Or((C, B, A))),
    (Or((And((A, B)), C)), Or((C, And((B, A))))),
    (Not(And((A, B))), Not(And((B, A)))),
    (Is(Or((A, B)), True), Is(Or((B, A)), True)),
    (Among(X, (value("2"), value("1"), value("2"))), Among(X, (value("1"), value("2")))),
    (Among(X, (value("1"), value("1"))), compare("x", "=", "1")),
    (Among(X, (value(None),)), compare("x", "=", None)),
    (Compare(value("1"), Operator.LT, X), compare("x", ">", "1")),
    (Compare(value("1"), Operator.GE, X), compare("x", "<=", "1")),
    (Compare(value("1"), Operator.DISTINCT, X), compare("x", "IS DISTINCT FROM", "1")),
    (Compare(Y, Operator.LE, X), Compare(X, Operator.GE, Y)),
    (Compare(Y, Operator.NE, X), Compare(X, Operator.NE, Y)),
]
APART: list[tuple[Node, Node]] = [
    (And((A, B)), Or((A, B))),
    (And((A, Or((B, C)))), And((A, B, C))),
    (And((A, A)), A),
    (Not(Not(A)), A),
    (Is(A, True), Is(A, False)),
    (Not(compare("a", "=", "1")), compare("a", "<>", "1")),
    (Among(X, ()), Truth(False)),
    (Compare(X, Operator.LT, Y), Compare(Y, Operator.LT, X)),
    (compare("x", "=", None), compare("x", "=", "")),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_differs_in_nothing_is_one(one: Node, other: Node) -> None:
    assert canonical(one) == canonical(other)
    assert hash(canonical(one)) == hash(canonical(other))
    assert canonical(canonical(one)) == canonical(one)


@pytest.mark.parametrize(("one", "other"), APART)
def test_what_differs_stays_two(one: Node, other: Node) -> None:
    assert canonical(one) != canonical(other)


def test_columns_are_found_wherever_they_stand() -> None:
    tree = And(
        (
            Or((A, Truth(None), Compare(value("1"), Operator.EQ, B.left))),
            Not(Is(Flag(Column("f")), True)),
            IsNull(Column("n")),
            Like(Column("l"), value("%")),
            Among(X, ()),
            AmongArray(Y, Literal(Form.STRING, "{}")),
            Compare(X, Operator.EQ, Y),
        )
    )
    assert [c.name for c in columns_of(tree)] == ["a", "b", "f", "n", "l", "x", "y", "x", "y"]
