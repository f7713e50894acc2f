"""Goal: positions are read and written as PostgreSQL does.

Method: pairs, and texts that are none.
"""

from __future__ import annotations

import pytest

from tidelab.core.history.position import Lsn, format_lsn, parse_lsn, without_header
from tidelab.errors import HistoryError


@pytest.mark.parametrize(
    ("text", "lsn"), [("0/0", 0), ("0/15D3A8", 0x15D3A8), ("A/1", 0xA_0000_0001)]
)
def test_positions_are_read_and_written(text: str, lsn: int) -> None:
    assert parse_lsn(text) == lsn
    assert format_lsn(Lsn(lsn)) == text


@pytest.mark.parametrize("text", ["", "1", "1/2/3", "x/1"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(HistoryError, match="no position"):
        parse_lsn(text)


@pytest.mark.parametrize(
    ("lsn", "lowered"),
    [
        (0x1000028, 0x1000000),
        (0x1002018, 0x1002000),
        (0x1002028, 0x1002028),
        (0x1002030, 0x1002030),
    ],
)
def test_nothing_ends_behind_the_header_of_an_empty_page(lsn: int, lowered: int) -> None:
    assert without_header(Lsn(lsn), page_bytes=8192, segment_bytes=1 << 24) == lowered
