"""No read goes over the end, and each refusal names message, field and offset.

Method: a reader over a few bytes, walked past each of its bounds.
"""

from __future__ import annotations

import pytest

from tidewire.core.wal.reader import Reader
from tidewire.errors import DecodeError


def refusal(error: pytest.ExceptionInfo[DecodeError]) -> tuple[str, str, int]:
    return error.value.message, error.value.field, error.value.offset


def test_numbers_of_every_width_are_big_endian() -> None:
    reader = Reader("M", bytes(range(1, 16)))
    found = [reader.unsigned("n", width) for width in (1, 2, 4, 8)]
    assert found == [0x01, 0x0203, 0x04050607, 0x08090A0B0C0D0E0F]
    reader.end()


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"\xff\xff\xff\xff", -1),
        (b"\x80\0\0\0", -(2**31)),
        (b"\x7f\xff\xff\xff", 2**31 - 1),
        (b"\0\0\0\4", 4),
    ],
)
def test_signed_numbers_have_a_sign(data: bytes, number: int) -> None:
    assert Reader("M", data).signed32("n") == number


def test_text_ends_at_its_zero_byte() -> None:
    reader = Reader("M", "é\0\0b\0".encode())
    assert [reader.text("t") for _ in range(3)] == ["é", "", "b"]
    reader.end()


def test_an_empty_text_may_be_all_there_is() -> None:
    assert Reader("M", b"\0").text("t") == ""


def test_reading_starts_where_it_was_told_to() -> None:
    assert Reader("M", b"xyz", 1).utf8("rest", 2) == "yz"


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_number_that_is_cut_short_is_refused(width: int) -> None:
    reader = Reader("M", b"ab" + bytes(width - 1), 2)
    with pytest.raises(DecodeError, match=f"{width} bytes expected, {width - 1} left") as caught:
        reader.unsigned("n", width)
    assert refusal(caught) == ("M", "n", 2)


def test_bytes_that_are_cut_short_are_refused_and_the_reader_stays_where_it_is() -> None:
    reader = Reader("M", b"abc", 1)
    with pytest.raises(DecodeError, match="3 bytes expected, 2 left") as caught:
        reader.utf8("value", 3)
    assert refusal(caught) == ("M", "value", 1)
    assert reader.utf8("value", 2) == "bc"


def test_reading_from_behind_the_end_tells_that_nothing_is_left() -> None:
    with pytest.raises(DecodeError, match="1 bytes expected, 0 left"):
        Reader("M", b"", 1).unsigned("n", 1)


def test_text_without_its_zero_byte_is_refused() -> None:
    with pytest.raises(DecodeError, match="without its closing zero byte") as caught:
        Reader("M", b"\0abc", 1).text("name")
    assert refusal(caught) == ("M", "name", 1)


def test_text_that_is_not_utf8_is_refused_at_the_first_wrong_byte() -> None:
    with pytest.raises(DecodeError, match="not UTF-8") as caught:
        Reader("M", b"-ab\xffc\0", 1).text("name")
    assert refusal(caught) == ("M", "name", 3)


def test_bytes_left_over_are_refused() -> None:
    with pytest.raises(DecodeError, match="2 bytes left over") as caught:
        Reader("M", b"abc", 1).end()
    assert refusal(caught) == ("M", "end", 1)


def test_the_text_of_an_error_holds_all_of_it() -> None:
    error = Reader("Begin", b"", 0).error("xid", "why")
    assert str(error) == "Begin.xid at byte 0: why"
    assert error.problem == "why"
