"""Write filters as SQL: for the `where` of a shape, and for asking PostgreSQL itself.

The one rule: constants are literals that PostgreSQL reads as values of the column's own type, and
names are always quoted.
"""

from __future__ import annotations

from typing import assert_never

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
from tidelab.core.history.truth import Table
from tidelab.core.oracle.filter import comparable, kind_of


def render_filter(filter: Filter, table: Table) -> str:
    """Write a filter as a condition.

    Raises ShapeError.
    """
    match filter:
        case Everything():
            return "TRUE"
        case Equal(column, value):
            return f"{quoted(column)} = {literal(table, column, value)}"
        case OneOf(column, values):
            listed = ", ".join(literal(table, column, value) for value in values)
            return f"{quoted(column)} IN ({listed})"
        case Between(column, low, high):
            ends = [(">=", low), ("<=", high)]
            return " AND ".join(
                f"{quoted(column)} {sign} {literal(table, column, end)}"
                for sign, end in ends
                if end is not None
            )
        case IsNull(column):
            return f"{quoted(column)} IS NULL"
        case And(parts):
            return " AND ".join(f"({render_filter(part, table)})" for part in parts)
        case Or(parts):
            return " OR ".join(f"({render_filter(part, table)})" for part in parts)
        case Not(part):
            return f"NOT ({render_filter(part, table)})"
        case _:
            assert_never(filter)


def render_where(shape: Shape, table: Table) -> str | None:
    """Write the `where` of a shape; None where every row is wanted."""
    return None if shape.filter == Everything() else render_filter(shape.filter, table)


def literal(table: Table, column: str, value: str) -> str:
    """Write a constant that is compared with a column.

    Raises ShapeError.
    """
    kind = kind_of(table, column)
    comparable(kind, value)
    match kind:
        case "number":
            return value if value.lstrip("-").replace(".", "", 1).isdecimal() else f"'{value}'"
        case "boolean":
            return "TRUE" if value == "t" else "FALSE"
        case "text":
            return "'" + value.replace("'", "''") + "'"
        case _:
            assert_never(kind)


def quoted(name: str) -> str:
    """Quote the name of a column."""
    return '"' + name.replace('"', '""') + '"'
