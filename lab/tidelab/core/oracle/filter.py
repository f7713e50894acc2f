"""Judge rows by filters, as PostgreSQL would.

The one rule: three-valued logic over exact comparisons. A column is compared as a number, as a
boolean or as text, and only for equality as text, because the order of texts is the collation's
business. Types whose equality is not that of their text are refused, never judged almost right.

    judged as   types
    number      int2 int4 int8 numeric
    boolean     bool
    text        text varchar uuid date
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Literal, assert_never

from tidelab.core.history.shape import (
    And,
    Between,
    Equal,
    Everything,
    Filter,
    IsNull,
    Not,
    OneOf,
    Or,
    Shape,
)
from tidelab.core.history.truth import Row, Table
from tidelab.errors import ShapeError

Kind = Literal["number", "boolean", "text"]
Truth = bool | None
Predicate = Callable[[Row], Truth]
Comparable = tuple[bool, Decimal] | str

KINDS: dict[str, Kind] = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric"), "number"),
    "bool": "boolean",
    **dict.fromkeys(("text", "varchar", "uuid", "date"), "text"),
}
_BOOLEANS = ("t", "f")


def kind_of(table: Table, column: str) -> Kind:
    """Return how a column is compared.

    Raises ShapeError if there is no such column, or its type is not in the list.
    """
    for each in table.columns:
        if each.name == column:
            if each.type not in KINDS:
                raise ShapeError(
                    f"{table.name}.{column} is {each.type}; filters know {', '.join(KINDS)}"
                )
            return KINDS[each.type]
    names = ", ".join(each.name for each in table.columns)
    raise ShapeError(f"{table.name} has no column {column!r}; it has {names}")


def comparable(kind: Kind, text: str) -> Comparable:
    """Turn a value into what compares as PostgreSQL compares it; NaN is above all numbers.

    Raises ShapeError.
    """
    if kind == "number":
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise ShapeError(f"{text!r} is no number") from None
        return (True, Decimal(0)) if number.is_nan() else (False, number)
    if kind == "boolean" and text not in _BOOLEANS:
        raise ShapeError(f"{text!r} is no boolean: t and f are")
    return text


def compile_filter(filter: Filter, table: Table) -> Predicate:
    """Make a function of the filter that judges rows of the table.

    Raises ShapeError.
    """
    match filter:
        case Everything():
            return lambda _: True
        case IsNull(column):
            kind_of(table, column)  # refuses a column that is not there
            index = table.index_of(column)
            return lambda row: row[index] is None
        case Equal(column, value):
            return _one_of(table, column, (value,))
        case OneOf(column, values):
            return _one_of(table, column, values)
        case Between(column, low, high):
            return _between(table, column, low, high)
        case Not(part):
            return _negation(compile_filter(part, table))
        case And(parts):
            return _all(_compile_parts(parts, table), decisive=False)
        case Or(parts):
            return _all(_compile_parts(parts, table), decisive=True)
        case _:
            assert_never(filter)


def compile_shape(shape: Shape, table: Table) -> Callable[[Row], Row | None]:
    """Make a function that returns what a shape shows of a row, None if it shows nothing.

    Raises ShapeError.
    """
    if missing := [name for name in table.key if name not in shape.columns]:
        raise ShapeError(f"the key's column {missing[0]!r} is missing in a shape of {table.name}")
    for name in shape.columns:
        if name not in {column.name for column in table.columns}:
            raise ShapeError(f"{table.name} has no column {name!r}")
    indexes = [table.index_of(name) for name in shape.columns]
    judge = compile_filter(shape.filter, table)

    def seen(row: Row) -> Row | None:
        return tuple([row[index] for index in indexes]) if judge(row) is True else None

    return seen


def _compile_parts(parts: Sequence[Filter], table: Table) -> list[Predicate]:
    if not parts:
        raise ShapeError("an empty AND or OR means nothing: give it parts")
    return [compile_filter(part, table) for part in parts]


def _one_of(table: Table, column: str, values: Sequence[str]) -> Predicate:
    kind = kind_of(table, column)
    index = table.index_of(column)
    wanted = {comparable(kind, value) for value in values}
    if not wanted:
        raise ShapeError(f"no values for {column!r}: IN () means nothing")

    def judge(row: Row) -> Truth:
        value = row[index]
        return None if value is None else comparable(kind, value) in wanted

    return judge


def _between(table: Table, column: str, low: str | None, high: str | None) -> Predicate:
    if kind_of(table, column) != "number":
        raise ShapeError(f"{table.name}.{column} is no number: only numbers have ranges here")
    if low is None and high is None:
        raise ShapeError(f"a range of {column!r} without ends means nothing")
    index = table.index_of(column)
    floor = None if low is None else _number(low)
    ceiling = None if high is None else _number(high)

    def judge(row: Row) -> Truth:
        text = row[index]
        if text is None:
            return None
        value = _number(text)
        return (floor is None or floor <= value) and (ceiling is None or value <= ceiling)

    return judge


def _number(text: str) -> tuple[bool, Decimal]:
    value = comparable("number", text)
    assert not isinstance(value, str)
    return value


def _negation(judge: Predicate) -> Predicate:
    def opposite(row: Row) -> Truth:
        truth = judge(row)
        return None if truth is None else not truth

    return opposite


def _all(judges: Sequence[Predicate], *, decisive: bool) -> Predicate:
    """Combine as SQL does: a decisive part decides, else NULL prevails, else the opposite."""

    def judge(row: Row) -> Truth:
        truths = [each(row) for each in judges]
        if decisive in truths:
            return decisive
        return None if None in truths else not decisive

    return judge
