"""Which rows of a table a client asked for, as values.

The one rule: the list of filters is closed and small. What is in it the lab judges exactly as
PostgreSQL does; what is not in it the lab does not test. Judging and rendering are the oracle's
work, `core/oracle`.
"""

from __future__ import annotations

from msgspec import Struct


class Everything(Struct, frozen=True, tag="everything"):
    """Every row of the table."""


class Equal(Struct, frozen=True, tag="equal"):
    """`column = value`."""

    column: str
    value: str


class OneOf(Struct, frozen=True, tag="one_of"):
    """`column IN (values)`; at least one value."""

    column: str
    values: tuple[str, ...]


class Between(Struct, frozen=True, tag="between"):
    """`low <= column <= high`, for numbers; None leaves a side open, but not both."""

    column: str
    low: str | None = None
    high: str | None = None


class IsNull(Struct, frozen=True, tag="is_null"):
    """`column IS NULL`."""

    column: str


class And(Struct, frozen=True, tag="and"):
    """All of the parts; at least one."""

    parts: tuple[Filter, ...]


class Or(Struct, frozen=True, tag="or"):
    """Any of the parts; at least one."""

    parts: tuple[Filter, ...]


class Not(Struct, frozen=True, tag="not"):
    """The opposite of the part; of NULL it is NULL."""

    part: Filter


Filter = Everything | Equal | OneOf | Between | IsNull | And | Or | Not


class Shape(Struct, frozen=True):
    """Rows and columns of one table; the key is always among the columns."""

    table: str
    columns: tuple[str, ...]
    filter: Filter = Everything()
