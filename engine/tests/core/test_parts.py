"""Goal: the parts of a large commit, put together, are the commit: whole, in order, once.

Method: cut at small bounds, read the frames as JSON and compare with what went in.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core import pgoutput
from engine.tests.core.bench import (
    NOTES,
    TASKS,
    Message,
    Table,
    make_table,
    message_of,
    transaction,
)
from engine.tests.core.spool import MemorySpool
from tidewire.core.model.transaction import RowMessage, Transaction
from tidewire.core.parts import ROWS_PER_STEP, CommitParts
from tidewire.core.projection import Projection
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import ShapeId
from tidewire.errors import DecodeError, SpoolError

TABLES = (NOTES, TASKS, make_table("users", 3))


def cut(
    source: Transaction, tables: tuple[Table, ...], *, part_bytes: int, spool: MemorySpool
) -> tuple[CommitParts, dict[ShapeId, Table]]:
    """Cut a transaction for a reader of some tables; all tables have shapes."""
    index = ShapeIndex()
    shapes = {index.acquire(table.spec).id: table for table in TABLES}
    mine = {id: table for id, table in shapes.items() if table in tables}
    parts = CommitParts(
        source, frozenset(mine), Projection(index), spool.create(), part_bytes_max=part_bytes
    )
    return parts, mine


def messages(parts: CommitParts) -> list[Message]:
    return [message_of(parts.frame(number)) for number in range(len(parts))]


def complete(parts: CommitParts) -> list[Message]:
    while not parts.is_complete:
        parts.step()
    return messages(parts)


@given(
    st.lists(st.tuples(st.sampled_from(TABLES), st.integers(0, 300)), max_size=40),
    st.sets(st.sampled_from(TABLES)).map(tuple),
    st.integers(1, 500),
)
def test_put_together_the_parts_are_what_the_reader_may_see_of_the_commit(
    rows: list[tuple[Table, int]], tables: tuple[Table, ...], part_bytes: int
) -> None:
    source = transaction(
        0x10, *(table.insert(i, "x" * size) for i, (table, size) in enumerate(rows))
    )
    parts, mine = cut(source, tables, part_bytes=part_bytes, spool=MemorySpool())
    frames = complete(parts)
    for id, table in mine.items():
        wanted = [["i", [i, "x" * size]] for i, (its, size) in enumerate(rows) if its == table]
        got = [c for f in frames for p in f["parts"] if p["shape"] == id for c in p["changes"]]
        assert got == wanted
    assert {p["shape"] for f in frames for p in f["parts"]} <= set(mine), "and nothing else"
    assert [f["part"] for f in frames] == list(range(len(frames)))
    assert [f["last"] for f in frames] == [False] * (len(frames) - 1) + [True] * bool(frames)
    assert bool(frames) == any(table in tables for table, _ in rows)
    assert {(f["lsn"], f["tag"], f["xid"]) for f in frames} <= {("0/10", source.tag, 16)}


@given(st.integers(1, 60), st.integers(50, 400))
def test_a_part_ends_with_the_row_that_fills_it(count: int, part_bytes: int) -> None:
    rows = [NOTES.insert(100 + i, "x" * 20) for i in range(count)]
    parts, _ = cut(transaction(0x10, *rows), (NOTES,), part_bytes=part_bytes, spool=MemorySpool())
    each = -(-part_bytes // len(rows[0][1]))
    sizes = [sum(len(p["changes"]) for p in frame["parts"]) for frame in complete(parts)]
    assert sizes == [each] * (count // each) + [count % each]


def test_a_row_is_one_change_in_each_part() -> None:
    relation, insert = NOTES.insert(1, "x")
    eve = relation, pgoutput.update(1, [b"1", b"eve"])
    gone = relation, pgoutput.delete(1, [b"1", None])
    source = transaction(0x10, (relation, insert), eve, eve, eve, gone)
    parts, _ = cut(source, (NOTES,), part_bytes=2 * len(insert), spool=MemorySpool())
    told = [p["changes"] for frame in complete(parts) for p in frame["parts"]]
    assert told == [[["i", [1, "eve"]]], [["u", [1], {"id": 1, "body": "eve"}]], [["d", [1]]]]


def test_a_part_in_which_nothing_is_left_is_not_told() -> None:
    relation, insert = NOTES.insert(1, "x")
    gone = relation, pgoutput.delete(1, [b"1", None])
    source = transaction(0x10, (relation, insert), gone, NOTES.insert(2))
    size = len(insert) + len(gone[1])
    parts, _ = cut(source, (NOTES,), part_bytes=size, spool=MemorySpool())
    (frame,) = complete(parts)
    assert (frame["part"], frame["last"]) == (0, True)
    assert [p["changes"] for p in frame["parts"]] == [[["i", [2, "b"]]]]


def test_staged_parts_are_commits_of_their_own() -> None:
    index = ShapeIndex()
    shape = index.acquire(NOTES.spec)
    source = transaction(0x10, NOTES.insert(1), NOTES.insert(2))
    for stage in (True, False):
        file, shapes = MemorySpool().create(), frozenset({shape.id})
        parts = CommitParts(source, shapes, Projection(index), file, part_bytes_max=1, stage=stage)
        frames = complete(parts)
        assert [frame.get("stage") for frame in frames] == ([True] * 2 if stage else [None] * 3)
        assert [frame.get("part") for frame in frames] == ([None] * 2 if stage else [0, 1, 2])
        assert [frame.get("last") for frame in frames] == (
            [None] * 2 if stage else [False, False, True]
        )


class _LostSpool:
    """Messages of a transaction whose file cannot be read any more."""

    def __init__(self, *rows: RowMessage) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[RowMessage]:
        yield from self._rows
        raise SpoolError("the spool lost bytes")


def test_rows_that_can_no_longer_be_read_do_not_end_the_commit() -> None:
    rows = _LostSpool(NOTES.insert(1))
    source = msgspec.structs.replace(transaction(0x10, NOTES.insert(1)), messages=rows)
    parts, _ = cut(source, (NOTES,), part_bytes=1000, spool=MemorySpool())
    for _ in range(2):
        with pytest.raises(SpoolError, match="lost"):
            parts.step()
    assert (len(parts), parts.is_complete) == (0, False)


def test_a_shape_that_does_not_fit_is_named_while_the_parts_are_made() -> None:
    changed = make_table("notes", NOTES.relation.oid, ("id", "title"))
    source = transaction(0x10, NOTES.insert(1), changed.insert(1), NOTES.insert(2))
    parts, mine = cut(source, (NOTES,), part_bytes=1, spool=MemorySpool())
    parts.step()
    assert parts.unfit == set()
    frames = complete(parts)
    assert parts.unfit == set(mine)
    assert [len(frame["parts"]) for frame in frames] == [1, 0], "nor is the rest told"


def test_a_part_is_ready_before_the_rest_of_the_commit_was_looked_at() -> None:
    source = transaction(0x10, *(NOTES.insert(i, "x" * 100) for i in range(10)))
    spool = MemorySpool()
    parts, _ = cut(source, (NOTES,), part_bytes=200, spool=spool)
    assert (len(parts), parts.is_complete) == (0, False)
    parts.step()
    assert (len(parts), parts.is_complete) == (1, False)
    first = messages(parts)
    assert messages(parts) == first, "it can be read again"
    assert messages(parts) + complete(parts)[1:] == complete(parts)


def test_one_step_looks_at_a_bounded_number_of_rows() -> None:
    source = transaction(0x10, *(TASKS.insert(i) for i in range(ROWS_PER_STEP + 1)))
    parts, _ = cut(source, (NOTES,), part_bytes=1, spool=MemorySpool())
    was_complete = []
    for _ in range(2):
        parts.step()
        was_complete.append(parts.is_complete)
    assert was_complete == [False, True]
    assert len(parts) == 0, "a commit that does not touch the shapes has no parts"


def test_rows_of_tables_without_any_shape_are_passed_over_in_bounded_steps() -> None:
    stranger = make_table("strangers", 99)
    rows = [stranger.insert(i) for i in range(ROWS_PER_STEP)]
    parts, mine = cut(
        transaction(0x10, *rows, NOTES.insert(1)), (NOTES,), part_bytes=1, spool=MemorySpool()
    )
    parts.step()
    assert len(parts) == 0
    (first, last) = complete(parts)
    assert first["parts"] == [{"shape": next(iter(mine)), "changes": [["i", [1, "b"]]]}]
    assert last["parts"] == [], "the end is told even when nothing is left for it"


def test_a_full_spool_loses_nothing_that_a_later_step_could_not_write() -> None:
    source = transaction(0x10, *(NOTES.insert(i, "x" * 100) for i in range(9)))
    spool = MemorySpool(bytes_max=1)
    parts, _ = cut(source, (NOTES,), part_bytes=300, spool=spool)
    for _ in range(2):
        with pytest.raises(SpoolError):
            parts.step()
    assert (len(parts), parts.is_complete) == (0, False)
    spool.bytes_max = None
    frames = complete(parts)
    got = [c[1][0] for f in frames for p in f["parts"] for c in p["changes"]]
    assert got == list(range(9))


def test_a_large_commit_with_an_unsound_row_is_never_told_as_whole() -> None:
    relation, message = NOTES.insert(2, "x" * 100)
    source = transaction(
        0x10, *(NOTES.insert(i, "x" * 100) for i in range(5)), (relation, message[:-1])
    )
    parts, _ = cut(source, (NOTES,), part_bytes=300, spool=MemorySpool())
    for _ in range(3):
        with pytest.raises(DecodeError):
            complete(parts)
    assert not any(frame["last"] for frame in messages(parts))
