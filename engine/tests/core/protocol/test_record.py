"""Goal: a row reads back as what was written: equal, and of the same types.

Method: values as the parsers make them, of each type of theirs, and documents as PostgreSQL keeps
them, also those for which a strict writer has no word.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.protocol.codec import whole_number
from tidewire.core.protocol.parsers import PARSERS, parse_value
from tidewire.core.protocol.record import Record

EAST = timezone(timedelta(hours=5, minutes=30))
LONG = "7" * 5000
VALUES: list[tuple[str, object]] = [
    ("bool", True),
    ("int4", -7),
    ("int8", 2**63 - 1),
    ("float8", 0.1),
    ("float8", 1),
    ("float8", 1.0),
    ("float8", -0.0),
    ("float4", math.inf),
    ("float4", -math.inf),
    ("numeric", Decimal("1.50")),
    ("numeric", Decimal("-Infinity")),
    ("numeric", Decimal("1" * 60 + "." + "3" * 60)),
    ("date", date(2024, 2, 29)),
    ("date", "infinity"),
    ("time", time(23, 59, 59, 500_000)),
    ("timetz", time(12, tzinfo=EAST)),
    ("timestamp", datetime(2026, 1, 2, 3, 4, 5, 6)),
    ("timestamptz", datetime(2026, 1, 2, tzinfo=UTC)),
    ("timestamptz", "0044-03-15 12:00:00+00 BC"),
    ("uuid", UUID(int=77)),
    ("bytea", b"\x00\xff"),
    ("bytea", b""),
    ("text", "\\x00 'quoted' \u0001 \U0001f30a"),
    ("interval", "1 day 02:00:00"),
    ("int4[]", "{1,NULL}"),
    ("text", None),
    ("jsonb", None),
    ("jsonb", {"a": [1, 2.5, None, True, "\u00e9"], "": {}}),
    ("jsonb", "a text"),
    ("json", []),
    ("json", "\ud800"),
    ("jsonb", [math.inf, 10**300, {"deep": [Decimal(LONG), "x", {"y": Decimal(LONG)}]}]),
]


def both_ways(type_name: str, value: object) -> object:
    record = Record([("id", "int4"), ("value", type_name)])
    number, found = record.read(record.write({"value": value, "id": 5}))
    assert number == 5
    return found


@pytest.mark.parametrize(("type_name", "value"), VALUES, ids=lambda value: repr(value)[:30])
def test_a_value_reads_back(type_name: str, value: object) -> None:
    found = both_ways(type_name, value)
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_what_is_not_a_number_reads_back() -> None:
    assert str(both_ways("numeric", Decimal("NaN"))) == "NaN"
    found = both_ways("float8", math.nan)
    assert isinstance(found, float)
    assert math.isnan(found)


def test_each_type_with_a_parser_is_tried() -> None:
    assert {type_name for type_name, _ in VALUES} >= PARSERS.keys()


@given(st.sampled_from(sorted(PARSERS)), st.text(max_size=20))
def test_any_text_of_the_wire_reads_back(type_name: str, text: str) -> None:
    value = parse_value(type_name, text)
    assert repr(both_ways(type_name, value)) == repr(value)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(documents)
def test_any_document_reads_back(document: object) -> None:
    text = json.dumps(document)
    value = json.loads(text, parse_int=whole_number)
    assert repr(both_ways("jsonb", value)) == repr(value)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[1,2,3]", '[1,"{"]'])
def test_a_text_of_something_else_is_refused(text: str) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        Record([("id", "int4"), ("value", "jsonb")]).read(text)
