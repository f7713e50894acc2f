"""Conditions for the tests of what sees rows through shapes: bound trees, without the binding."""

from __future__ import annotations

from collections.abc import Callable

from tidewire.core.model.change import Row
from tidewire.core.model.relation import Relation
from tidewire.core.shape.ast import Among, And, Column, Compare, Node, Operator, Value
from tidewire.core.shape.predicate import Predicate
from tidewire.core.shape.types import ColumnType, Kind

INT = ColumnType(Kind.INT4, 23, "pg_catalog", "int4")
TEXT = ColumnType(Kind.TEXT, 25, "pg_catalog", "text")


def among(column: str, *values: str, type: ColumnType = INT) -> Predicate:
    """Make `column IN (values)`."""
    return Predicate(_among(column, values), ((column, type),))


def above(column: str, number: int, type: ColumnType = INT) -> Predicate:
    """Make `column > number`."""
    return Predicate(_above(column, number), ((column, type),))


def among_and_above(column: str, values: tuple[str, ...], other: str, number: int) -> Predicate:
    """Make `column IN (values) AND other > number`."""
    tree = And((_among(column, values), _above(other, number)))
    return Predicate(tree, tuple(sorted(((column, INT), (other, INT)))))


def _among(column: str, values: tuple[str, ...]) -> Node:
    return Among(Column(column), tuple(Value(value.encode()) for value in values))


def _above(column: str, number: int) -> Node:
    return Compare(Column(column), Operator.GT, Value(str(number).encode()))


class Broken(Predicate, frozen=True):
    """A condition that cannot read the values of its column."""

    def compile(self, relation: Relation) -> Callable[[Row], bool]:
        """Make a judge that fails."""

        def judge(row: Row) -> bool:
            raise ValueError("not a number")

        return judge
