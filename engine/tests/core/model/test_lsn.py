"""Positions read and write the form that PostgreSQL uses, and nothing else.

Method: round trips over all 64-bit numbers, and a list of texts that only look like positions.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.wal.tables import chance
from tidewire.core.model.lsn import LSN_ZERO, Lsn, format_lsn, lower_past_header, parse_lsn


@chance
@given(st.integers(0, 2**64 - 1).map(Lsn))
def test_every_position_survives_the_way_to_text_and_back(lsn: Lsn) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16/B374D848", 0x16B374D848),
        ("16/b374d848", 0x16B374D848),
        ("0/0", LSN_ZERO),
        ("00000001/00000002", 0x100000002),
        ("FFFFFFFF/FFFFFFFF", 2**64 - 1),
    ],
)
def test_positions_that_postgres_prints_are_read(text: str, number: int) -> None:
    assert parse_lsn(text) == number


def test_the_low_half_is_written_without_leading_zeros() -> None:
    assert format_lsn(Lsn(0xA_0000_00FF)) == "A/FF"


def test_text_order_is_not_the_order_of_positions() -> None:
    assert format_lsn(Lsn(0x10_00000000)) < format_lsn(Lsn(0x9_00000000))
    assert parse_lsn("10/0") > parse_lsn("9/0")


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "0", "0/", "/0", "G/0", "0/G", "123456789/0", "0/123456789", "1/2/3"),
        *("0/1\n", " 0/1", "0/-1", "+1/0", "0x1/0", "1_0/0", "\N{ARABIC-INDIC DIGIT ONE}/1"),
    ],
)
def test_a_text_that_is_not_two_hexadecimal_halves_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a WAL position"):
        parse_lsn(text)


def test_a_refusal_does_not_repeat_a_long_text() -> None:
    with pytest.raises(ValueError, match="not a WAL position") as caught:
        parse_lsn("x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("0/54046018", "0/54046000"),  # behind the header of a page
        ("0/55000028", "0/55000000"),  # behind the longer header of a segment
        ("0/54046028", "0/54046028"),  # within a page of the middle
        ("0/54046000", "0/54046000"),
        ("1/2345678", "1/2345678"),
    ],
)
def test_a_position_behind_a_header_is_lowered_to_what_was_written(text: str, end: str) -> None:
    assert lower_past_header(parse_lsn(text), 16 * 1024 * 1024) == parse_lsn(end)
