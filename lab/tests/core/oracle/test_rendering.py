"""Goal: filters are written as SQL that means the same. Method: each kind, and awkward constants.

That PostgreSQL agrees is tested with a real one, in `integration/test_filter.py`.
"""

from __future__ import annotations

import pytest

from lab.tests.core.oracle.test_filter import TABLE
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
from tidelab.core.oracle.rendering import quoted, render_filter, render_where
from tidelab.errors import ShapeError


@pytest.mark.parametrize(
    ("filter", "text"),
    [
        (Everything(), "TRUE"),
        (Equal("name", "it's"), "\"name\" = 'it''s'"),
        (Equal("id", "-3"), '"id" = -3'),
        (Equal("amount", "NaN"), "\"amount\" = 'NaN'"),
        (Equal("done", "t"), '"done" = TRUE'),
        (Equal("done", "f"), '"done" = FALSE'),
        (OneOf("id", ("1", "2.5")), '"id" IN (1, 2.5)'),
        (Between("id", "1", "2"), '"id" >= 1 AND "id" <= 2'),
        (Between("id", None, "2"), '"id" <= 2'),
        (IsNull("id"), '"id" IS NULL'),
        (And((IsNull("id"), Everything())), '("id" IS NULL) AND (TRUE)'),
        (Or((IsNull("id"), Everything())), '("id" IS NULL) OR (TRUE)'),
        (Not(IsNull("id")), 'NOT ("id" IS NULL)'),
    ],
)
def test_filters_are_written(filter: Filter, text: str) -> None:
    assert render_filter(filter, TABLE) == text


def test_a_shape_of_everything_needs_no_where() -> None:
    assert render_where(Shape("t", ("id",)), TABLE) is None
    assert render_where(Shape("t", ("id",), IsNull("id")), TABLE) == '"id" IS NULL'


def test_a_constant_that_is_no_value_is_refused() -> None:
    with pytest.raises(ShapeError):
        render_filter(Equal("id", "1 OR TRUE"), TABLE)


def test_names_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
