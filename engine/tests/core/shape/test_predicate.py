"""What others see of a condition: its columns, its equality, and the function that judges rows.

Method: bound trees by hand.
"""

from __future__ import annotations

import pytest

from engine.tests.core.shape.columns import TYPES, compare, relation, value
from tidewire.core.shape.ast import Among, And, Column, IsNull, Node, Not, Or, columns_of
from tidewire.core.shape.predicate import Equality, Predicate
from tidewire.errors import SyncError

ONE, NULL = compare("int4", "=", "1"), compare("int4", "=", None)
MANY = Among(Column("int4"), (value("1"), value(None), value("2")))
TEXT = compare("text", "=", "a")


def predicate(tree: Node) -> Predicate:
    names = sorted({column.name for column in columns_of(tree)})
    return Predicate(tree, tuple((name, TYPES[name]) for name in names))


EQUALITIES: list[tuple[Node, Equality | None]] = [
    (ONE, Equality("int4", frozenset({b"1"}))),
    (NULL, Equality("int4", frozenset())),
    (MANY, Equality("int4", frozenset({b"1", b"2"}))),
    (And((MANY, TEXT)), Equality("text", frozenset({b"a"}))),
    (And((IsNull(Column("date")), MANY)), Equality("int4", frozenset({b"1", b"2"}))),
    (Or((ONE, TEXT)), None),
    (Not(ONE), None),
    (compare("int4", "<", "1"), None),
    (compare("numeric", "=", "1"), None),
    (compare("float8", "=", "1"), None),
    (compare("bpchar", "=", "1"), None),
]


@pytest.mark.parametrize(("tree", "expected"), EQUALITIES)
def test_an_index_finds_it_by_its_equality(tree: Node, expected: Equality | None) -> None:
    assert predicate(tree).equality == expected


def test_equal_predicates_are_one() -> None:
    assert len({predicate(ONE), predicate(compare("int4", "=", "1")), predicate(TEXT)}) == 2
    assert predicate(And((ONE, TEXT))).columns == {"int4", "text"}


def test_rows_are_judged_wherever_the_column_stands() -> None:
    for names in (("int4", "text"), ("text", "date", "int4")):
        judge = predicate(ONE).compile(relation(*names))
        rows = [tuple(cell if n == "int4" else None for n in names) for cell in (b"1", b"2", None)]
        assert [judge(row) for row in rows] == [True, False, False]


def test_a_table_that_changed_is_not_judged() -> None:
    with pytest.raises(SyncError, match="int4"):
        predicate(ONE).compile(relation("text"))
    retyped = Predicate(ONE, (("int4", TYPES["int8"]),))
    with pytest.raises(SyncError, match="unknown_column"):
        retyped.compile(relation("int4"))
