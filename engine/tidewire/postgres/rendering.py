"""Conditions become SQL: the bound tree for snapshots, the tree as written to compare readings.

Every group has its parentheses, so no rule of precedence is left to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import LiteralString, Protocol, assert_never

from psycopg import sql

from tidewire.core.shape.ast import (
    Among,
    AmongArray,
    And,
    Array,
    Column,
    Compare,
    Constant,
    Flag,
    Form,
    Is,
    IsNull,
    Like,
    Literal,
    Node,
    Not,
    Operand,
    Operator,
    Or,
    Parameter,
    Truth,
    TypeName,
    Value,
)
from tidewire.core.shape.predicate import Predicate
from tidewire.core.shape.types import STRINGS, ColumnType, Kind

_ORDERING = (Operator.LT, Operator.LE, Operator.GT, Operator.GE)


def condition_sql(predicate: Predicate) -> sql.Composable:
    """Render a bound predicate, to be put behind WHERE of a query of its table alone.

    The caller executes the query without parameters: a % in a text would be read as one of psycopg.
    """
    return _render(predicate.tree, _Bound(dict(predicate.types)))


def written_sql(node: Node) -> sql.Composable:
    """Render a tree as it was written, with parameters as $1."""
    return _render(node, _Written())


class _Words(Protocol):
    def column(self, column: Column, is_bytewise: bool) -> sql.Composable:
        """Name a column, perhaps with the collation under which it is compared."""

    def constant(self, constant: Constant, column: Column) -> sql.Composable:
        """Write a constant that meets a column."""


class _Bound:
    def __init__(self, types: dict[str, ColumnType]) -> None:
        self._types = types

    def column(self, column: Column, is_bytewise: bool) -> sql.Composable:
        name = sql.Identifier(column.name)
        if is_bytewise and self._types[column.name].kind in STRINGS:
            return sql.SQL('({} COLLATE pg_catalog."C")').format(name)
        return name

    def constant(self, constant: Constant, column: Column) -> sql.Composable:
        assert isinstance(constant, Value)
        text = None if constant.text is None else constant.text.decode()
        type = type_sql(self._types[column.name])
        return sql.SQL("CAST({} AS {})").format(sql.Literal(text), type)


class _Written:
    def column(self, column: Column, is_bytewise: bool) -> sql.Composable:
        return sql.Identifier(column.name)

    def constant(self, constant: Constant, column: Column) -> sql.Composable:
        assert not isinstance(constant, Value)
        return _with_cast(_bare(constant), constant.cast)


def type_sql(type: ColumnType) -> sql.Composable:
    """Name the type to which constants are cast that meet a column."""
    if type.kind is Kind.ENUM:
        return sql.Identifier(type.schema, type.name)
    return kind_sql(Kind.TEXT if type.kind in STRINGS else type.kind)


def kind_sql(kind: Kind) -> sql.Composable:
    """Name a built-in type."""
    return sql.Identifier("pg_catalog", kind.value)


def _render(node: Node, words: _Words) -> sql.Composable:
    match node:
        case Truth(value=value):
            return sql.SQL("NULL" if value is None else "TRUE" if value else "FALSE")
        case Compare():
            return _compare(node, words)
        case Flag() | Among() | AmongArray() | Like() | IsNull():
            return _asked(node, words)
        case Is(operand=operand, value=value):
            return _group(_render(operand, words), " IS TRUE" if value else " IS FALSE")
        case Not(operand=operand):
            return _group("NOT ", _render(operand, words))
        case And(operands=operands):
            return _group(sql.SQL(" AND ").join(_render(each, words) for each in operands))
        case Or(operands=operands):
            return _group(sql.SQL(" OR ").join(_render(each, words) for each in operands))
        case _:
            assert_never(node)


def _asked(node: Flag | Among | AmongArray | Like | IsNull, words: _Words) -> sql.Composable:
    name = words.column(node.column, isinstance(node, Like))
    match node:
        case Flag():
            return name
        case Among(column=column, items=items):
            constants = _list(words.constant(item, column) for item in items)
            return _group(name, " IN (", constants, ")") if items else sql.SQL("FALSE")
        case AmongArray(column=column, array=array):
            return _group(name, " = ANY (", _array(array, column, words), ")")
        case Like(column=column, pattern=pattern):
            return _group(name, " LIKE ", words.constant(pattern, column))
        case IsNull():
            return _group(name, " IS NULL")
        case _:
            assert_never(node)


def _compare(node: Compare, words: _Words) -> sql.Composable:
    # Equality needs no collation, and an index of the column may serve it.
    is_pair = isinstance(node.left, Column) and isinstance(node.right, Column)
    is_bytewise = is_pair or node.operator in _ORDERING
    column = node.left if isinstance(node.left, Column) else node.right
    assert isinstance(column, Column)

    def side(operand: Operand) -> sql.Composable:
        if isinstance(operand, Column):
            return words.column(operand, is_bytewise)
        return words.constant(operand, column)

    operator = _known(f" {node.operator.value} ")
    return _group(side(node.left), operator, side(node.right))


def _array(array: Literal | Parameter | Array, column: Column, words: _Words) -> sql.Composable:
    if isinstance(array, Array):
        items = _list(words.constant(item, column) for item in array.items)
        return _with_cast(sql.SQL("ARRAY[{}]").format(items), array.cast, "[]")
    return _with_cast(_bare(array), array.cast, "[]")


def _bare(constant: Literal | Parameter) -> sql.Composable:
    if isinstance(constant, Parameter):
        return _known(f"${constant.number}")
    if constant.form is Form.STRING:
        return sql.Literal(constant.text)
    # The parser has let nothing through but digits and their like.
    text = "NULL" if constant.form is Form.NULL else constant.text
    return _known(f"({text})" if text.startswith("-") else text)


def _known(text: str) -> sql.SQL:
    """Take text of our own for SQL."""
    return sql.SQL(text)  # type: ignore[arg-type,unused-ignore]


def _with_cast(
    value: sql.Composable, type: TypeName | None, suffix: LiteralString = ""
) -> sql.Composable:
    if type is None:
        return value
    name = sql.Identifier(*type)
    return _group("CAST(", value, " AS ", name, suffix, ")")


def _group(*parts: sql.Composable | LiteralString) -> sql.Composable:
    composed = [part if isinstance(part, sql.Composable) else sql.SQL(part) for part in parts]
    return sql.Composed([sql.SQL("("), *composed, sql.SQL(")")])


def _list(parts: Iterable[sql.Composable]) -> sql.Composable:
    return sql.SQL(", ").join(parts)
