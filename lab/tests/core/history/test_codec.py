"""Goal: what was recorded is read back as it was.

Method: a whole run there and back, broken lines.
"""

from __future__ import annotations

import pytest

from tidelab.core.history.codec import decode_history, encode_record
from tidelab.core.history.event import Connected
from tidelab.core.history.history import Journal
from tidelab.errors import HistoryError
from tidelab.selftest.play import play


def lines(count: int) -> list[bytes]:
    journal = Journal()
    for _ in range(count):
        journal.record("a", Connected())
    return [encode_record(record) for record in journal.records]


def test_a_whole_run_survives() -> None:
    history = play(7)
    assert decode_history(b"".join(map(encode_record, history.records))) == history


def test_half_a_line_at_the_end_is_dropped() -> None:
    first, second = lines(2)
    assert len(decode_history(first + second[:-1]).records) == 1


def test_an_unreadable_line_is_named() -> None:
    with pytest.raises(HistoryError, match="line 2 is no record"):
        decode_history(lines(1)[0] + b'{"seq": 1}\n')


def test_a_missing_line_is_noticed() -> None:
    first, _, third = lines(3)
    with pytest.raises(HistoryError, match="line 2 holds record 2, expected 1"):
        decode_history(first + third)
