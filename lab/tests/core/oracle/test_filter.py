"""Goal: rows are judged as PostgreSQL would.

Method: truth tables, and the refusal of the inexact.
"""

from __future__ import annotations

import pytest

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
from tidelab.core.history.truth import Column, Table
from tidelab.core.oracle.filter import compile_filter, compile_shape
from tidelab.errors import ShapeError

TABLE = Table(
    "t",
    ("id",),
    (
        Column("id", "int8"),
        Column("name", "text"),
        Column("amount", "numeric"),
        Column("done", "bool"),
        Column("ratio", "float8"),
    ),
)
TRUE, FALSE = Equal("name", "a"), Equal("name", "b")
NULL = Equal("amount", "1")
ROW = ("1", "a", None, "t", "0.5")


def judge(filter: Filter, row: tuple[str | None, ...] = ROW) -> bool | None:
    return compile_filter(filter, TABLE)(row)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Everything(), True),
        (TRUE, True),
        (FALSE, False),
        (NULL, None),
        (IsNull("amount"), True),
        (IsNull("name"), False),
        (OneOf("name", ("x", "a")), True),
        (OneOf("name", ("x", "y")), False),
        (Equal("id", "01"), True),
        (Equal("done", "t"), True),
        (Between("id", "0", None), True),
        (Between("id", "1", "1"), True),
        (Between("id", None, "0"), False),
        (Between("amount", "0", "1"), None),
        (Not(TRUE), False),
        (Not(FALSE), True),
        (Not(NULL), None),
        (And((TRUE, TRUE)), True),
        (And((TRUE, NULL)), None),
        (And((NULL, FALSE)), False),
        (Or((FALSE, FALSE)), False),
        (Or((FALSE, NULL)), None),
        (Or((NULL, TRUE)), True),
    ],
)
def test_three_valued_logic(filter: Filter, expected: bool | None) -> None:
    assert judge(filter) is expected


def test_numbers_are_compared_as_numbers() -> None:
    row = ("10", "a", "1.50", "t", "0.5")
    assert judge(Equal("amount", "1.5"), row)
    assert judge(Between("id", "9", "11"), row)


def test_nan_is_equal_to_itself_and_above_all() -> None:
    row = ("1", "a", "NaN", "t", "0.5")
    assert judge(Equal("amount", "NaN"), row)
    assert judge(Between("amount", "Infinity", None), row)
    assert not judge(Between("amount", None, "Infinity"), row)


@pytest.mark.parametrize(
    ("filter", "words"),
    [
        (Equal("nobody", "1"), "has no column 'nobody'; it has id, name"),
        (IsNull("nobody"), "has no column"),
        (Equal("ratio", "1"), "is float8; filters know int2"),
        (Equal("id", "x"), "is no number"),
        (Equal("done", "true"), "is no boolean"),
        (OneOf("id", ()), "no values"),
        (Between("name", "a", "b"), "only numbers have ranges"),
        (Between("id"), "without ends"),
        (And(()), "give it parts"),
        (Or(()), "give it parts"),
    ],
)
def test_what_is_not_exact_is_refused(filter: Filter, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        judge(filter)


def test_a_shape_shows_its_columns_of_its_rows() -> None:
    seen = compile_shape(Shape("t", ("name", "id"), TRUE), TABLE)
    assert seen(ROW) == ("a", "1")
    assert seen(("2", "b", None, "t", "0.5")) is None
    assert seen(("2", None, None, "t", "0.5")) is None


def test_a_shape_needs_its_key_and_known_columns() -> None:
    with pytest.raises(ShapeError, match="'id' is missing"):
        compile_shape(Shape("t", ("name",)), TABLE)
    with pytest.raises(ShapeError, match="no column 'nobody'"):
        compile_shape(Shape("t", ("id", "nobody")), TABLE)
