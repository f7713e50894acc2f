"""How texts of cells become comparable, and what may be asked of which type.

Method: for each type a ladder of texts as PostgreSQL prints them, in its order; equal ones share a
step. The oracle test holds the same against PostgreSQL itself.
"""

from __future__ import annotations

import itertools

import pytest

from engine.tests.core.shape.columns import TYPES, column_type
from tidewire.core.shape.types import (
    Kind,
    equality_fault,
    key_of,
    like_fault,
    null_fault,
    order_fault,
)
from tidewire.errors import DecodeError

DATES = [
    ["-infinity"],
    ["0045-01-01 BC"],
    ["0044-03-15 BC"],
    ["0044-03-16 BC"],
    ["0001-01-01"],
    ["9999-12-31"],
    ["10000-01-01"],
    ["infinity"],
]
TIMES = ["00:00:00", "00:00:00.25", "00:00:00.5", "00:00:01"]
FLOATS = [["-Infinity"], ["-1e+30"], ["-1"], ["0", "-0"], ["1e-30"], ["1"], ["1.5"], ["10"]]
LADDERS = {
    Kind.INT4: [["-10"], ["-9"], ["0"], ["9"], ["10"]],
    Kind.NUMERIC: [
        ["-Infinity"],
        ["-1"],
        ["0", "0.00"],
        ["1.0", "1"],
        ["10"],
        ["Infinity"],
        ["NaN"],
    ],
    Kind.FLOAT4: [*FLOATS, ["Infinity"], ["NaN"]],
    Kind.FLOAT8: [*FLOATS, ["Infinity"], ["NaN"]],
    Kind.BPCHAR: [["a", "a   "], ["ab  "]],
    Kind.DATE: DATES,
    Kind.TIMESTAMP: [
        ["-infinity"],
        ["0044-03-15 00:00:00 BC"],
        ["0044-03-15 00:00:00.5 BC"],
        *[[f"2024-01-01 {time}"] for time in TIMES],
        ["12024-01-01 00:00:00"],
        ["infinity"],
    ],
    Kind.TIMESTAMPTZ: [
        ["-infinity"],
        ["0044-03-15 00:00:00+00 BC"],
        ["0044-03-15 00:00:00.5+00 BC"],
        *[[f"2024-01-01 {time}+00"] for time in TIMES],
        ["12024-01-01 00:00:00+00"],
        ["infinity"],
    ],
    Kind.ENUM: [["b"], ["a"]],
}


@pytest.mark.parametrize("kind", LADDERS)
def test_values_have_the_order_of_postgresql(kind: Kind) -> None:
    key = key_of(column_type(kind))
    assert key is not None
    steps = [[key(text.encode()) for text in step] for step in LADDERS[kind]]
    for step in steps:
        assert len(set(step)) == 1
    for (low, *_), (high, *_) in itertools.combinations(steps, 2):
        assert low < high  # type: ignore[operator]


def test_other_types_are_compared_as_they_stand() -> None:
    kinds = (Kind.BOOL, Kind.TEXT, Kind.VARCHAR, Kind.UUID, Kind.TIME, Kind.BYTEA)
    assert [key_of(column_type(kind)) for kind in kinds] == [None] * 6


def test_a_time_in_another_zone_is_no_time_of_ours() -> None:
    key = key_of(column_type(Kind.TIMESTAMPTZ))
    assert key is not None
    with pytest.raises(DecodeError, match="not in UTC"):
        key(b"2024-01-01 00:00:00+02")


def test_a_label_that_came_later_has_no_place() -> None:
    key = key_of(column_type(Kind.ENUM))
    assert key is not None
    with pytest.raises(DecodeError, match="new label"):
        key(b"c")


def test_only_types_with_one_text_for_equal_values_are_compared_by_text() -> None:
    several = {kind for kind in Kind if not column_type(kind).has_one_text}
    assert several == {Kind.NUMERIC, Kind.FLOAT4, Kind.FLOAT8, Kind.BPCHAR}


FAULTS = [
    # column: NULL, equality, order, LIKE
    ("int4", (None, None, None, "text and varchar")),
    ("text", (None, None, None, None)),
    ("varchar", (None, None, None, None)),
    ("bpchar", (None, None, "only equality", "text and varchar")),
    ("icu", (None, None, 'COLLATE "C"', None)),
    ("lax", (None, "nondeterministic", "nondeterministic", "nondeterministic")),
    ("other", (None, "IS [NOT] NULL", "IS [NOT] NULL", "IS [NOT] NULL")),
    ("composite", ("is a row", "IS [NOT] NULL", "IS [NOT] NULL", "IS [NOT] NULL")),
]


@pytest.mark.parametrize(("name", "expected"), FAULTS)
def test_what_may_be_asked_of_a_type(name: str, expected: tuple[str | None, ...]) -> None:
    for fault, part in zip(
        (null_fault, equality_fault, order_fault, like_fault), expected, strict=True
    ):
        told = fault(TYPES[name])
        assert told is None if part is None else told is not None and part in told


def test_families_are_compared_with_one_another() -> None:
    families = {name: TYPES[name].family for name in ("int2", "int8", "varchar", "date")}
    assert families == {
        "int2": Kind.INT8,
        "int8": Kind.INT8,
        "varchar": Kind.TEXT,
        "date": Kind.DATE,
    }
