"""The tree of a condition, first as it is written and then as it is bound to a table.

One family of nodes serves both. As written, operands are columns, literals, parameters and arrays,
in the user's order. As bound (`binding.py`), a column stands on the left, each literal and
parameter is a `Value` that PostgreSQL has cast to the column's type, and `canonical` has put into
one order what has none, so that equal conditions are equal values.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TypeAlias, assert_never

import msgspec


class Operator(enum.Enum):
    """How two values are compared."""

    EQ = "="
    NE = "<>"
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    DISTINCT = "IS DISTINCT FROM"


FLIPPED = {
    Operator.LT: Operator.GT,
    Operator.LE: Operator.GE,
    Operator.GT: Operator.LT,
    Operator.GE: Operator.LE,
}
"""Operators that become another one when their sides are swapped: those that need an order."""


class Form(enum.Enum):
    """How a literal is written."""

    STRING = "string"
    NUMBER = "number"
    BOOL = "bool"
    NULL = "null"


TypeName: TypeAlias = tuple[str, ...]
"""A type as PostgreSQL names it, perhaps behind its schema."""


class Column(msgspec.Struct, frozen=True):
    """A column of the table."""

    name: str


class Literal(msgspec.Struct, frozen=True):
    """A constant as written."""

    form: Form
    text: str = ""
    cast: TypeName | None = None


class Parameter(msgspec.Struct, frozen=True):
    """A parameter as written: $1 is the first."""

    number: int
    cast: TypeName | None = None


class Array(msgspec.Struct, frozen=True):
    """A list of constants as written; `cast` is the type of an element."""

    items: tuple[Literal | Parameter, ...]
    cast: TypeName | None = None


class Value(msgspec.Struct, frozen=True):
    """A constant as PostgreSQL prints it in the column's type; None is NULL."""

    text: bytes | None


Constant: TypeAlias = Literal | Parameter | Value
Operand: TypeAlias = Column | Constant


class Truth(msgspec.Struct, frozen=True):
    """TRUE, FALSE or NULL, written as a condition."""

    value: bool | None


class Flag(msgspec.Struct, frozen=True):
    """A column of type bool as a condition (as written only)."""

    column: Column


class Compare(msgspec.Struct, frozen=True):
    """A comparison of a column with a constant or with another column."""

    left: Operand
    operator: Operator
    right: Operand


class Among(msgspec.Struct, frozen=True):
    """A column is one of some constants."""

    column: Column
    items: tuple[Constant, ...]


class AmongArray(msgspec.Struct, frozen=True):
    """A column is one of the elements of an array (as written only)."""

    column: Column
    array: Literal | Parameter | Array


class Like(msgspec.Struct, frozen=True):
    """A column matches a pattern, with the backslash as escape."""

    column: Column
    pattern: Constant


class IsNull(msgspec.Struct, frozen=True):
    """A column is NULL."""

    column: Column


class Is(msgspec.Struct, frozen=True):
    """A condition is true, or false, and never NULL."""

    operand: Node
    value: bool


class Not(msgspec.Struct, frozen=True):
    """A condition is not true; of NULL it is NULL."""

    operand: Node


class And(msgspec.Struct, frozen=True):
    """All conditions are true."""

    operands: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    """One of the conditions is true."""

    operands: tuple[Node, ...]


Node: TypeAlias = Truth | Flag | Compare | Among | AmongArray | Like | IsNull | Is | Not | And | Or


def canonical(node: Node) -> Node:
    """Give a bound tree the one form that it shares with all that differ in order only."""
    match node:
        case And(operands=operands):
            return And(_ordered(And, operands))
        case Or(operands=operands):
            return Or(_ordered(Or, operands))
        case Not(operand=operand):
            return Not(canonical(operand))
        case Is(operand=operand, value=value):
            return Is(canonical(operand), value)
        case Among(column=column, items=items):
            values = sorted(set(items), key=repr)
            if len(values) == 1:
                return Compare(column, Operator.EQ, values[0])
            return Among(column, tuple(values))
        case Compare(left=left, operator=operator, right=right) if _is_swapped(left, right):
            return Compare(right, FLIPPED.get(operator, operator), left)
        case Truth() | Flag() | Compare() | AmongArray() | Like() | IsNull():
            return node
        case _:
            assert_never(node)


def _is_swapped(left: Operand, right: Operand) -> bool:
    if isinstance(left, Column) and isinstance(right, Column):
        return left.name > right.name
    return isinstance(right, Column)


def _ordered(kind: type[And | Or], operands: tuple[Node, ...]) -> tuple[Node, ...]:
    """Flatten what parentheses had grouped, and sort."""
    flat: list[Node] = []
    for operand in map(canonical, operands):
        flat += operand.operands if isinstance(operand, And | Or) and type(operand) is kind else ()
        flat += () if type(operand) is kind else (operand,)
    return tuple(sorted(flat, key=repr))


def columns_of(node: Node) -> Iterator[Column]:
    """Walk over the columns that a tree names, each as often as it does."""
    match node:
        case Truth():
            pass
        case Compare(left=left, right=right):
            yield from (side for side in (left, right) if isinstance(side, Column))
        case Flag(column=column) | IsNull(column=column) | Like(column=column):
            yield column
        case Among(column=column) | AmongArray(column=column):
            yield column
        case Is(operand=operand) | Not(operand=operand):
            yield from columns_of(operand)
        case And(operands=operands) | Or(operands=operands):
            for operand in operands:
                yield from columns_of(operand)
        case _:
            assert_never(node)
