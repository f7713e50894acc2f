"""Goal: the parts of a large commit, put together, are the commit: whole, in order, once.

Method: cut at small bounds, read the frames as JSON and compare with what went in.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from tidewire.core.model.transaction import Transaction
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
def test_a_part_ends_with_the_change_that_fills_it(count: int, part_bytes: int) -> None:
    source = transaction(0x10, *(NOTES.insert(100 + i, "x" * 20) for i in range(count)))
    parts, _ = cut(source, (NOTES,), part_bytes=part_bytes, spool=MemorySpool())
    change = len('["i",[100,"xxxxxxxxxxxxxxxxxxxx"]]')
    each = -(-part_bytes // change)
    sizes = [sum(len(p["changes"]) for p in frame["parts"]) for frame in complete(parts)]
    assert sizes == [each] * (count // each) + [count % each]


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
