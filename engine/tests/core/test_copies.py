"""Goal: a copy and the commits in it are the table, for all that read it and as long as they do.

Method: copies over a real log, index and encoder; the shell's answers are given by hand, readers
are sessions without subscriptions. Whole conversations are in `test_hub_copies.py`.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    LONG,
    NOTES,
    TASKS,
    make_table,
    message_of,
    rows_of,
    transaction,
)
from engine.tests.core.copying import (
    Stand,
    a_session,
)
from engine.tests.core.spool import MemorySpool
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.shape.shape import ShapeSpec

CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


# --- readers ---


def test_the_first_reader_starts_a_copy_and_equal_shapes_share_it() -> None:
    stand, first, second = Stand(), a_session("1"), a_session("2")
    copy = stand.open(first)
    assert stand.started == [(copy, NOTES.spec)]
    assert stand.open(second) is copy
    assert stand.open(first) is copy
    assert len(stand.started) == len(stand.copies) == 1
    assert stand.copies.readers(copy) == [first, second]
    assert list(stand.copies._read_by) == [first, second]


def test_each_shape_has_a_copy_and_each_copy_a_name_of_its_own() -> None:
    stand, session = Stand(), a_session()
    tasks = stand.index.acquire(TASKS.spec)
    copies = [stand.open(session), stand.open(session, tasks)]
    assert [copy.id for copy in copies] == ["node.1", "node.2"]
    assert [spec for _, spec in stand.started] == [NOTES.spec, TASKS.spec]


def test_a_late_reader_reads_the_copy_that_is_there() -> None:
    stand = Stand()
    copy = stand.spliced(a_session("1"))
    stand.copies.add_rows(copy, rows_of(1), is_last=True)
    assert stand.open(a_session("2")) is copy


def test_a_reader_leaves_the_copies_that_it_does_not_read_any_more() -> None:
    stand, first, second = Stand(), a_session("1"), a_session("2")
    tasks = stand.index.acquire(TASKS.spec)
    notes_copy, tasks_copy = stand.open(first), stand.open(first, tasks)
    stand.open(second)
    stand.copies.leave_all_but([tasks_copy], first)
    assert stand.copies.readers(notes_copy) == [second]
    assert list(stand.copies._read_by) == [first, second]
    stand.copies.leave_all_but([], first)
    stand.copies.leave_all_but([], first)
    assert stand.copies.readers(tasks_copy) == []
    assert list(stand.copies._read_by) == [second]
    assert len(stand.copies) == 2, "they are kept for a while"


def test_a_copy_with_more_commits_than_rows_is_not_for_newcomers() -> None:
    stand, reader = Stand(), a_session("1")
    copy = stand.spliced(reader)
    stand.copies.add_rows(copy, rows_of(1), is_last=True)
    stand.append(*(transaction(0x200 + i, NOTES.insert(i, LONG)) for i in range(31)))
    stand.follow_all()
    assert copy.commit_bytes < limits.MIB
    assert stand.open(a_session("2")) is copy
    stand.append(*(transaction(0x300 + i, NOTES.insert(i, LONG)) for i in range(2)))
    stand.follow_all()
    assert copy.commit_bytes > limits.MIB
    newer = stand.open(a_session("3"))
    assert newer is not copy
    assert stand.open(a_session("4")) is newer
    assert not copy.is_dead
    assert reader in stand.copies.readers(copy)


def test_a_copy_with_more_rows_than_commits_is_for_newcomers_however_many_commits() -> None:
    stand = Stand()
    copy = stand.spliced(a_session("1"))
    for _ in range(34):
        stand.copies.add_rows(copy, b'"%b"' % LONG.encode())
    stand.append(*(transaction(0x200 + i, NOTES.insert(i, LONG)) for i in range(33)))
    stand.follow_all()
    assert limits.MIB < copy.commit_bytes < copy.bytes - copy.commit_bytes
    assert stand.open(a_session("2")) is copy


def test_who_knows_a_copy_goes_on_with_it_though_it_is_not_for_newcomers() -> None:
    stand = Stand()
    copy = stand.spliced(a_session("1"))
    stand.append(*(transaction(0x200 + i, NOTES.insert(i, LONG)) for i in range(40)))
    stand.follow_all()
    assert stand.open(a_session("2"), resume=copy.id) is copy
    assert stand.open(a_session("3"), resume="node.99") is not copy


# --- rows ---


def test_rows_are_chunks_numbered_in_order_and_the_last_says_so() -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    stand.copies.add_rows(copy, rows_of(1, 2))
    assert (copy.chunks, copy.is_complete) == (1, False)
    stand.copies.add_rows(copy, rows_of(3))
    stand.copies.add_rows(copy, b"", is_last=True)
    assert copy.is_complete
    head = {"type": "snapshot", "shape": stand.notes.id, "copy": copy.id}
    assert [message_of(copy.chunk(i)) for i in range(copy.chunks)] == [
        head | {"chunk": 0, "rows": [[1, "b"], [2, "b"]]},
        head | {"chunk": 1, "rows": [[3, "b"]]},
        head | {"chunk": 2, "rows": [], "last": True},
    ]


def test_each_chunk_wakes_the_readers_of_its_copy() -> None:
    stand, first, second, other = Stand(), a_session("1"), a_session("2"), a_session("3")
    copy = stand.spliced(first)
    stand.open(second)
    stand.open(other, stand.index.acquire(TASKS.spec))
    stand.copies.add_rows(copy, rows_of(1))
    assert stand.take_woken() == [first, second]


def test_a_full_spool_gives_a_copy_up_and_what_comes_later_is_dropped() -> None:
    stand, session = Stand(MemorySpool(bytes_max=150)), a_session()
    copy = stand.spliced(session)
    stand.copies.add_rows(copy, rows_of(1))
    stand.copies.add_rows(copy, rows_of(*range(9)))
    assert stand.failed == [(copy, "unavailable")]
    assert copy.is_dead
    stand.copies.add_rows(copy, rows_of(1))
    assert (copy.chunks, len(stand.copies)) == (1, 0)
    assert not copy.is_complete


def test_a_table_beyond_the_limit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    stand.copies.add_rows(copy, rows_of(1))
    stand.append(transaction(0x200, NOTES.insert(1, LONG)))
    stand.follow_all()
    monkeypatch.setattr(limits, "COPY_BYTES", 2 * (copy.bytes - copy.commit_bytes))
    stand.copies.add_rows(copy, rows_of(2))
    assert stand.failed == [], "commits are no rows"
    stand.copies.add_rows(copy, rows_of(3))
    assert stand.failed == [(copy, "too_large")]


def test_a_copy_that_was_given_up_is_begun_anew_for_the_next_who_asks() -> None:
    stand, session = Stand(), a_session()
    copy = stand.open(session)
    stand.copies.give_up(copy, "unavailable", "the database is away")
    stand.copies.give_up(copy, "unavailable", "again")
    assert stand.failed == [(copy, "unavailable")]
    assert (copy.is_dead, stand.copies.readers(copy)) == (True, [])
    assert not stand.copies._read_by
    assert stand.open(session) is not copy


# --- the end of copies ---


def test_a_copy_is_kept_for_a_while_after_its_last_reader() -> None:
    stand, session = Stand(), a_session()
    copy = stand.open(session)
    stand.copies.tick(5.0)
    stand.copies.leave_all_but([], session)
    for now in (10.0, 10.0 + limits.COPY_KEEP_S - 1):
        stand.copies.tick(now)
    assert not copy.is_dead
    assert stand.open(session) is copy
    stand.copies.tick(1_000.0)
    stand.copies.leave_all_but([], session)
    stand.copies.tick(2_000.0)
    stand.copies.tick(2_000.0 + limits.COPY_KEEP_S - 1)
    assert len(stand.copies) == 1, "the time began anew"
    stand.copies.tick(2_000.0 + limits.COPY_KEEP_S)
    assert (copy.is_dead, len(stand.copies)) == (True, 0)
    assert stand.woken == []


def test_nothing_is_left_in_the_index_when_the_last_copy_is_gone() -> None:
    stand, session = Stand(), a_session()
    copy = stand.open(session)
    stand.index.release(stand.notes)
    assert len(stand.index) == 1, "the copy has the shape, too"
    stand.copies.leave_all_but([], session)
    stand.copies.tick(0.0)
    stand.copies.tick(limits.COPY_KEEP_S)
    assert copy.is_dead
    assert len(stand.index) == 0


def test_an_older_copy_that_ends_leaves_the_newer_one_to_newcomers() -> None:
    stand, first, second = Stand(), a_session("1"), a_session("2")
    old = stand.spliced(first)
    stand.append(*(transaction(0x200 + i, NOTES.insert(i, LONG)) for i in range(40)))
    stand.follow_all()
    new = stand.open(second)
    stand.copies.leave_all_but([], first)
    stand.copies.tick(0.0)
    stand.copies.tick(limits.COPY_KEEP_S)
    assert (old.is_dead, new.is_dead) == (True, False)
    assert stand.open(first) is new


def test_a_lost_stream_ends_the_copies_that_may_show_what_was_lost_with_it() -> None:
    stand, session = Stand(), a_session()
    tables = [make_table(f"t{oid}", oid) for oid in (11, 12, 13, 14)]
    copies = [stand.open(session, stand.index.acquire(table.spec)) for table in tables]
    for copy, until in zip(copies[1:], (0x1FF, 0x200, 0x201), strict=True):
        assert stand.splice(copy, until=until)
    stand.take_woken()
    stand.copies.interrupt(Lsn(0x200))
    assert [copy.is_dead for copy in copies] == [True, False, False, True]
    assert stand.take_woken() == [session]
    assert stand.failed == []


def test_another_history_ends_all_copies() -> None:
    stand, session = Stand(), a_session()
    copies = [stand.spliced(session), stand.open(a_session("2"), stand.index.acquire(TASKS.spec))]
    stand.copies.clear()
    assert all(copy.is_dead for copy in copies)
    assert (len(stand.copies), len(stand.take_woken())) == (0, 2)


def test_a_table_that_was_out_of_the_stream_is_copied_anew() -> None:
    stand, session = Stand(), a_session()
    some = ShapeSpec(1, "public", "notes", NOTES.spec.columns[:1], ("id",))
    copies = [stand.spliced(session), stand.open(session, stand.index.acquire(some))]
    other = stand.open(session, stand.index.acquire(TASKS.spec))
    stand.copies.discard(NOTES.relation.oid)
    assert [copy.is_dead for copy in [*copies, other]] == [True, True, False]
    assert stand.take_woken() == [session]
    assert stand.copies.readers(other) == [session]


def test_the_copies_of_some_shapes_are_dropped_and_others_of_the_table_stay() -> None:
    stand = Stand()
    session = a_session()
    some = stand.index.acquire(ShapeSpec(1, "public", "notes", NOTES.spec.columns[:1], ("id",)))
    copies = [stand.spliced(session), stand.open(session, some)]
    stand.copies.drop({stand.notes.id})
    assert [copy.is_dead for copy in copies] == [True, False]
    assert stand.take_woken() == [session]


def test_the_answer_of_the_shell_to_a_copy_that_has_ended_changes_nothing() -> None:
    stand = Stand()
    copy = stand.open(a_session())
    stand.copies.clear()
    assert stand.splice(copy)
    stand.copies.add_rows(copy, rows_of(1), is_last=True)
    assert (copy.chunks, copy.is_complete) == (0, False)
    assert (stand.follow(), stand.copies.has_news(stand.history)) == (0, False)


def test_who_has_all_rows_waits_for_the_log_and_who_has_not_waits_for_rows() -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    assert list(stand.copies.awaiting()) == []
    stand.copies.add_rows(copy, b"", is_last=True)
    assert list(stand.copies.awaiting()) == [session]
    stand.copies.leave_all_but((), session)
    assert list(stand.copies.awaiting()) == []
