"""Rows of transactions that are older than the publishing of their table are left out, always."""

from __future__ import annotations

import pytest

from engine.tests.core import pgoutput
from engine.tests.core.pgoutput import begin, commit, insert, relation, truncate
from engine.tests.core.spool import MemorySpool
from tidewire import limits
from tidewire.core.model.lsn import Xid
from tidewire.core.wal.assembler import Assembler
from tidewire.core.wal.publishing import Publishing

OLD = relation(1, "public", "old", [("id", pgoutput.INT4, True)])
NEW = relation(2, "public", "new", [("id", pgoutput.INT4, True)])
ROW, NEW_ROW = insert(1, [b"1"]), insert(2, [b"1"])


def streamed(publishing: Publishing, xid: int, *rows: bytes) -> list[bytes] | None:
    """Return the rows that are left of a transaction; None if there is none."""
    machine = Assembler(MemorySpool(), publishing=publishing)
    found = machine.feed([OLD, NEW, begin(xid=xid), *rows, commit()])
    return [message for _, message in found[0].messages] if found else None


def published(next_xid: int) -> Publishing:
    publishing = Publishing()
    publishing.announce(2)
    assert publishing.settle(2, next_xid) == next_xid
    return publishing


def test_only_rows_of_younger_transactions_count() -> None:
    publishing = published(100)
    assert streamed(publishing, 99, NEW_ROW, ROW, NEW_ROW) == [ROW]
    assert streamed(publishing, 99, NEW_ROW) is None
    assert streamed(publishing, 99) == []
    assert streamed(publishing, 99, truncate([1, 2])) == [b"T" + (1).to_bytes(4, "big")]
    assert streamed(publishing, 100, NEW_ROW, ROW) == [NEW_ROW, ROW]
    assert streamed(publishing, 99, ROW) == [ROW]


def test_what_comes_while_a_table_is_published_is_left_out_and_waited_for() -> None:
    publishing = Publishing()
    publishing.announce(2)
    for xid in (101, 103, 102):
        assert streamed(publishing, xid, NEW_ROW) is None
    assert streamed(publishing, 104, ROW) == [ROW]
    # The database said that 101 was the next to begin, and 103 was older when the answer came.
    assert publishing.settle(2, 101) == 104
    assert streamed(publishing, 103, NEW_ROW) is None
    assert streamed(publishing, 104, NEW_ROW) == [NEW_ROW]


def test_an_older_transaction_does_not_lower_the_horizon() -> None:
    publishing = Publishing()
    publishing.announce(2)
    assert streamed(publishing, 50, NEW_ROW) is None
    assert publishing.settle(2, 100) == 100


def test_a_publishing_that_failed_leaves_nothing_behind() -> None:
    publishing = Publishing()
    publishing.announce(2)
    publishing.withdraw(2)
    publishing.withdraw(2)
    assert streamed(publishing, 1, NEW_ROW) == [NEW_ROW]


def test_a_later_process_leaves_out_the_same() -> None:
    publishing = Publishing()
    publishing.recall(published(100).horizons)
    assert streamed(publishing, 99, NEW_ROW) is None
    assert streamed(publishing, 100, NEW_ROW) == [NEW_ROW]
    publishing.recall({})
    assert streamed(publishing, 99, NEW_ROW) == [NEW_ROW]


def test_each_table_has_its_own_horizon() -> None:
    publishing = published(100)
    publishing.announce(1)
    publishing.settle(1, 200)
    assert streamed(publishing, 150, ROW, NEW_ROW) == [NEW_ROW]
    assert streamed(publishing, 99, ROW, NEW_ROW) is None
    assert publishing.horizons == {1: 200, 2: 100}


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_the_stream_names_32_bits_of_64(epoch: int) -> None:
    turn = (epoch << 32) + (1 << 32)
    publishing = published(turn + 5)
    assert publishing.absent(Xid((1 << 32) - 5)) == {2}
    assert publishing.absent(Xid(4)) == {2}
    assert publishing.absent(Xid(5)) == frozenset()


def test_a_horizon_that_lies_far_back_is_forgotten() -> None:
    publishing = published(100)
    assert publishing.absent(Xid(100 + limits.HORIZON_XIDS)) == frozenset()
    assert publishing.absent(Xid(99)) == {2}
    assert publishing.absent(Xid(101 + limits.HORIZON_XIDS)) == frozenset()
    assert publishing.absent(Xid(99)) == frozenset()
