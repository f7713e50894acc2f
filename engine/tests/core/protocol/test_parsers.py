"""Texts become Python values where Python has them, and stay as they are where it does not.

Method: texts that PostgreSQL prints (DateStyle ISO), every entry of the table, and its limits.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.wal.tables import chance
from tidewire.core.protocol.parsers import PARSERS, parse_value

UUID_TEXT = "c0ffee00-0000-4000-8000-00000000beef"
PARSED = [
    ("int8", "9223372036854775807", 2**63 - 1),
    ("numeric", "0.1000", Decimal("0.1000")),
    ("numeric", "-Infinity", Decimal("-Infinity")),
    ("numeric", "1" * 60 + "." + "3" * 60, Decimal("1" * 60 + "." + "3" * 60)),
    ("float4", "Infinity", math.inf),
    ("float8", "-Infinity", -math.inf),
    ("date", "2024-02-29", date(2024, 2, 29)),
    ("time", "23:59:59.5", time(23, 59, 59, 500_000)),
    ("timetz", "12:00:00-03:30", time(12, tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
    ("timestamp", "2024-01-01 00:00:00", datetime(2024, 1, 1)),
    ("timestamp", "2024-01-01 00:00:00.000001", datetime(2024, 1, 1, 0, 0, 0, 1)),
    ("timestamptz", "2024-01-01 00:00:00.12+00", datetime(2024, 1, 1, 0, 0, 0, 120_000, UTC)),
    ("uuid", UUID_TEXT, UUID(UUID_TEXT)),
    ("bytea", "\\x00ff", b"\0\xff"),
    ("bytea", "\\x", b""),
]


@pytest.mark.parametrize(("type_name", "text", "value"), PARSED)
def test_a_text_becomes_the_value_of_its_type(type_name: str, text: str, value: object) -> None:
    found = parse_value(type_name, text)
    assert found == value
    assert type(found) is type(value)


def test_every_entry_of_the_table_is_tried_above() -> None:
    assert {name for name, _, _ in PARSED} == set(PARSERS)


def test_scale_is_kept_and_not_a_number_is_a_number() -> None:
    assert str(parse_value("numeric", "1.500")) == "1.500"
    found = parse_value("float8", "NaN")
    assert isinstance(found, float)
    assert math.isnan(found)
    assert str(parse_value("numeric", "NaN")) == "NaN"


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        ("date", "infinity"),
        ("date", "-infinity"),
        ("date", "0044-03-15 BC"),
        ("date", "10000-01-01"),
        ("time", "24:00:00"),
        ("timetz", "24:00:00+00"),
        ("timestamp", "infinity"),
        ("timestamp", "0044-03-15 12:00:00 BC"),
        ("timestamp", "294276-12-31 23:59:59"),
        ("timestamptz", "-infinity"),
        ("timestamptz", "0044-03-15 12:00:00+00 BC"),
        ("timestamptz", "10000-01-01 00:00:00+00"),
        ("interval", "1 day 02:00:00"),
        ("bytea", "abc"),  # bytea_output = escape
        ("bytea", "\\xzz"),
        ("uuid", "not one"),
        ("numeric", "not one"),
        ("int8", "1.5"),
        ("text", "1"),
        ("mood", "happy"),
        ("int8[]", "{1,2}"),
    ],
)
def test_a_text_that_python_cannot_hold_stays_text(type_name: str, text: str) -> None:
    assert parse_value(type_name, text) is text


@chance
@given(st.integers(10_000, 294_276), st.integers(1, 12), st.integers(1, 28))
def test_no_year_beyond_python_is_mistaken_for_another(year: int, month: int, day: int) -> None:
    for type_name, rest in (
        ("date", ""),
        ("timestamp", " 01:02:03.4"),
        ("timestamptz", " 01:02:03+00"),
    ):
        text = f"{year}-{month:02}-{day:02}{rest}"
        assert parse_value(type_name, text) == text


@chance
@given(st.datetimes())
def test_every_timestamp_of_python_is_read_from_its_text(at: datetime) -> None:
    text = f"{at:%H:%M:%S.%f}".rstrip("0").rstrip(".")
    day = f"{at.year:04}-{at.month:02}-{at.day:02}"
    assert parse_value("timestamp", f"{day} {text}") == at
    assert parse_value("timestamptz", f"{day} {text}+00") == at.replace(tzinfo=UTC)


@pytest.mark.parametrize("value", [None, True, 7, 1.5, [1], {"a": 1}])
@pytest.mark.parametrize("type_name", ["int4", "float8", "jsonb", "numeric"])
def test_what_is_json_already_comes_as_it_is(type_name: str, value: object) -> None:
    assert parse_value(type_name, value) is value


def test_a_document_that_is_a_text_is_not_looked_into() -> None:
    assert parse_value("jsonb", "2024-01-01") == "2024-01-01"
