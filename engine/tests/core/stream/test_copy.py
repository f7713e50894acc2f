"""A copy keeps chunks and commits apart, in the order in which they came, and counts its bytes.

Method: frames in, frames out, over a spool in memory that counts who looks.
"""

from __future__ import annotations

import pytest

from engine.tests.core.spool import MemorySpool
from tidewire.core.model.lsn import LSN_ZERO, Lsn
from tidewire.core.stream.copy import Copy
from tidewire.errors import SpoolError


def test_a_new_copy_has_nothing_and_takes_no_room() -> None:
    spool = MemorySpool()
    copy = Copy("node.1", spool.create)
    assert (copy.id, copy.chunks, copy.commits, copy.bytes, copy.commit_bytes) == (
        "node.1",
        0,
        0,
        0,
        0,
    )
    assert (copy.is_complete, copy.is_dead, copy.until, copy.snapshot) == (
        False,
        False,
        LSN_ZERO,
        None,
    )
    assert (list(copy.backlog), copy.number, copy.idle_since) == ([], 0, None)
    assert spool.files == []


def test_chunks_and_commits_are_read_back_each_in_its_order() -> None:
    spool = MemorySpool()
    copy = Copy("c", spool.create)
    copy.add_chunk(b"first")
    copy.add_commit(7, b"a commit")
    copy.add_chunk(b"second chunk")
    copy.add_commit(7, b"its second frame")
    copy.add_commit(9, b"another")
    assert [copy.chunk(i) for i in range(copy.chunks)] == [b"first", b"second chunk"]
    commits = [(copy.number_of(i), copy.commit(i)) for i in range(copy.commits)]
    assert commits == [(7, b"a commit"), (7, b"its second frame"), (9, b"another")]
    assert len(spool.files) == 1


def test_the_bytes_of_commits_are_part_of_all_bytes() -> None:
    copy = Copy("c", MemorySpool().create)
    copy.add_chunk(b"12345")
    assert (copy.bytes, copy.commit_bytes) == (5, 0)
    copy.add_commit(1, b"123")
    copy.add_commit(2, b"1234")
    assert (copy.bytes, copy.commit_bytes) == (12, 7)


def test_many_readers_read_the_same_frame() -> None:
    spool = MemorySpool()
    copy = Copy("c", spool.create)
    copy.add_chunk(b"rows")
    assert [copy.chunk(0), copy.chunk(0)] == [b"rows", b"rows"]
    assert spool.files[0].reads == 2


def test_a_full_spool_takes_nothing_and_what_was_there_stays() -> None:
    copy = Copy("c", MemorySpool(bytes_max=5).create)
    copy.add_chunk(b"1234")
    with pytest.raises(SpoolError):
        copy.add_commit(1, b"12")
    with pytest.raises(SpoolError):
        copy.add_chunk(b"12")
    assert (copy.chunks, copy.commits, copy.bytes, copy.commit_bytes) == (1, 0, 4, 0)
    assert copy.chunk(0) == b"1234"


@pytest.mark.parametrize(
    ("lsn", "is_visible", "is_held"),
    [(99, True, True), (100, True, True), (101, True, False), (99, False, False)],
)
def test_rows_hold_what_was_visible_and_ended_before_the_snapshot(
    lsn: int, is_visible: bool, is_held: bool
) -> None:
    """A number may be given out again after a crash: behind `until` it is another transaction."""
    copy = Copy("c", MemorySpool().create)
    copy.until = Lsn(100)
    assert copy.holds(Lsn(lsn), is_visible=is_visible) is is_held
