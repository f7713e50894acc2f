"""A snapshot says of each transaction of the stream whether its rows are in the copy already.

Method: the text that PostgreSQL prints; transactions before, between and behind its bounds, with
the 32 bits that the stream has of their numbers.
"""

from __future__ import annotations

import pytest

from tidewire.core.model.lsn import Xid
from tidewire.core.stream.splice import Snapshot

XIDS = 1 << 32


@pytest.mark.parametrize(
    ("text", "snapshot"),
    [
        ("765:765:", Snapshot(765, 765)),
        ("10:20:10,14", Snapshot(10, 20, frozenset({10, 14}))),
        ("4294967300:4294967310:4294967301", Snapshot(XIDS + 4, XIDS + 14, frozenset({XIDS + 5}))),
    ],
)
def test_a_snapshot_is_read_as_postgres_prints_it(text: str, snapshot: Snapshot) -> None:
    assert Snapshot.parse(text) == snapshot


@pytest.mark.parametrize(
    ("xid", "is_seen"),
    [
        (9, True),
        (10, False),
        (11, True),
        (14, False),
        (15, True),
        (19, True),
        (20, False),
        (21, False),
    ],
)
def test_a_snapshot_sees_what_was_committed_when_it_was_taken(xid: int, is_seen: bool) -> None:
    """In between are those that ran, and those with later numbers that had ended before them."""
    assert Snapshot.parse("10:20:10,14").sees(Xid(xid)) is is_seen


def test_a_transaction_that_is_listed_below_the_oldest_is_seen() -> None:
    assert Snapshot(10, 20, frozenset({5})).sees(Xid(5))


@pytest.mark.parametrize(
    ("xid", "is_seen"),
    [
        (XIDS - 3, True),  # before the numbers of the stream began anew
        (XIDS - 1, False),  # the same, and still running
        (3, True),
        (4, False),
        (5, True),
        (9, True),
        (10, False),
        (11, False),
    ],
)
def test_the_numbers_of_the_stream_begin_anew_between_the_bounds(xid: int, is_seen: bool) -> None:
    snapshot = Snapshot(3 * XIDS - 1, 3 * XIDS + 10, frozenset({3 * XIDS - 1, 3 * XIDS + 4}))
    assert snapshot.sees(Xid(xid)) is is_seen


def test_a_transaction_behind_a_snapshot_whose_number_began_anew_is_not_seen() -> None:
    snapshot = Snapshot(2 * XIDS - 10, 2 * XIDS - 5)
    assert [snapshot.sees(Xid(xid)) for xid in (XIDS - 11, XIDS - 5, 0, 7)] == [
        True,
        False,
        False,
        False,
    ]


def test_half_of_all_numbers_lie_before_a_snapshot_and_half_behind() -> None:
    snapshot = Snapshot(5 * XIDS + 100, 5 * XIDS + 100)
    half = XIDS // 2
    assert not snapshot.sees(Xid(100 + half - 1))
    assert snapshot.sees(Xid(100 + half))
    assert snapshot.sees(Xid(99))
    assert not snapshot.sees(Xid(100))
