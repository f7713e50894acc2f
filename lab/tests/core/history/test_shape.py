"""Goal: shapes are values. Method: equal ones share a place in a dictionary."""

from __future__ import annotations

from tidelab.core.history.shape import And, Equal, Everything, IsNull, Not, Shape


def test_equal_shapes_are_one_key() -> None:
    def shape() -> Shape:
        return Shape("t", ("a",), And((Equal("a", "1"), Not(IsNull("b")))))

    assert {shape(): 1}[shape()] == 1


def test_without_a_filter_everything_is_shown() -> None:
    assert Shape("t", ("a",)).filter == Everything()
