"""Goal: a session that is behind gets the log in runs of commits, a large one part by part.

Method: a log, an encoder and one session; `send_next` is called by hand. What the hub makes of it
is in `test_hub_behind.py` and `test_hub_large.py`.
"""

from __future__ import annotations

from collections.abc import Collection

import pytest

from engine.tests.core.bench import (
    LONG,
    NOTES,
    TASKS,
    Message,
    Peer,
    Table,
    large_transaction,
    lsns,
    make_table,
    transaction,
)
from engine.tests.core.spool import MemorySpool
from tidewire import limits
from tidewire.core.catchup import CatchUp
from tidewire.core.encoder import Encoder
from tidewire.core.model.transaction import Transaction
from tidewire.core.parts import ROWS_PER_STEP
from tidewire.core.session.stage import Stage
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import ShapeId
from tidewire.core.stream.history import History
from tidewire.errors import DecodeError, SpoolError

CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


class Reader:
    """One session at the beginning of a log."""

    def __init__(self, *tables: Table, spool: MemorySpool | None = None) -> None:
        self.spool = spool or MemorySpool()
        self.index = ShapeIndex()
        self.history = History()
        self.catch_up = CatchUp(Encoder(self.index, self.spool))
        self.peer = Peer()
        self.session = self.peer.session
        self.join(*tables)

    def join(self, *tables: Table) -> list[ShapeId]:
        shapes = {table.name: self.index.acquire(table.spec) for table in tables}
        self.session.shapes.update(shapes)
        self.session.update_shape_ids()
        return [shape.id for shape in shapes.values()]

    def append(self, *transactions: Transaction) -> None:
        for each in transactions:
            self.history.append(each, 0.0)

    def send_next(self) -> Collection[ShapeId]:
        return self.catch_up.send_next(self.session, self.history)

    def heard(self) -> list[Message]:
        self.session.flush()
        return self.peer.heard()

    def read(self) -> list[Message]:
        while self.session.number < self.history.next:
            assert not self.send_next()
        return self.heard()


# Three of them are a run, but not a fourth.
THIRD = "x" * (limits.CATCHUP_BYTES // 3 - 200)


def test_commits_that_follow_one_another_are_sent_at_once() -> None:
    reader = Reader(NOTES)
    reader.append(transaction(0x10, NOTES.insert(1)), transaction(0x20, NOTES.insert(2)))
    assert not reader.send_next()
    assert lsns(reader.heard()) == [0x10, 0x20]
    assert (reader.session.number, reader.catch_up.effort) == (2, 2)
    assert reader.session.outbox.count == 2


def test_who_comes_to_the_same_place_is_sent_the_same_bytes() -> None:
    reader = Reader(NOTES)
    reader.append(*(transaction(0x10 + i, NOTES.insert(i)) for i in range(50)))
    reader.append(transaction(0x100, TASKS.insert(1)))
    reader.send_next()
    (first,) = reader.session.outbox.take()
    before = reader.catch_up.effort
    reader.session.stand_at(0)
    reader.send_next()
    (second,) = reader.session.outbox.take()
    assert second is first
    assert (reader.session.number, reader.session.outbox.count) == (51, 100)
    assert before < reader.catch_up.effort < 2 * before, "the log was not looked at again"
    reader.join(TASKS)
    reader.session.stand_at(0)
    reader.send_next()
    assert lsns(reader.heard())[50:] == [0x100], "for other shapes it is another run"


def test_a_run_ends_before_it_is_too_long() -> None:
    reader = Reader(NOTES)
    reader.append(*(transaction(0x10 + i, NOTES.insert(i, THIRD)) for i in range(5)))
    for end in (3, 5):
        assert not reader.send_next()
        assert reader.session.number == end
    reader.append(*(transaction(0x100 + i, TASKS.insert(i)) for i in range(600)))
    reader.send_next()
    assert reader.session.number == 5 + limits.CATCHUP_COMMITS
    assert (reader.session.outbox.count, len(reader.heard())) == (5, 5), "what is for others"


@pytest.mark.parametrize("is_large", [False, True])
def test_a_run_ends_before_a_commit_that_is_no_simple_one(is_large: bool) -> None:
    reader = Reader(NOTES)
    other = large_transaction(0x20, NOTES) if is_large else transaction(0x20, CHANGED.insert(1))
    reader.append(transaction(0x10, NOTES.insert(1)), other, transaction(0x30, NOTES.insert(2)))
    assert not reader.send_next()
    assert (reader.session.number, lsns(reader.heard())) == (1, [0x10])
    assert bool(reader.send_next()) == (not is_large)
    assert reader.session.number == 1


def test_with_little_room_or_a_stage_each_call_sends_one_commit() -> None:
    reader = Reader(NOTES)
    reader.append(*(transaction(0x10 + i, NOTES.insert(i)) for i in range(3)))
    reader.session.stages.append(Stage())
    reader.send_next()
    assert lsns(reader.heard()) == [0x10]
    reader.session.stages.clear()
    reader.session.outbox.push_counted(b"x" * (limits.WINDOW_BYTES - limits.CATCHUP_BYTES))
    reader.session.outbox.take()
    reader.send_next()
    assert lsns(reader.heard()) == [0x11]
    reader.session.outbox.acknowledge(3)
    reader.send_next()
    assert lsns(reader.heard()) == [0x12]


def test_of_the_runs_only_those_made_last_are_kept() -> None:
    reader = Reader(NOTES)
    reader.append(*(transaction(0x10 + i, NOTES.insert(i)) for i in range(limits.CATCHUP_RUNS + 1)))
    runs = []
    for number in (*range(limits.CATCHUP_RUNS + 1), 0, limits.CATCHUP_RUNS):
        reader.session.stand_at(number)
        reader.send_next()
        runs += reader.session.outbox.take()
    assert runs[-2] is not runs[0]
    assert runs[-1] is runs[limits.CATCHUP_RUNS]


def test_a_commit_that_does_not_concern_the_session_is_passed_by() -> None:
    reader = Reader(TASKS)
    reader.append(transaction(0x10, NOTES.insert(1)), large_transaction(0x20, NOTES))
    assert reader.read() == []
    assert reader.session.number == 2


def test_a_shape_gets_no_commit_from_before_it_joined() -> None:
    reader = Reader(NOTES)
    (tasks,) = reader.join(TASKS)
    reader.session.since[tasks] = 2
    both = (NOTES, TASKS)
    reader.append(
        transaction(0x10, *(table.insert(1) for table in both)),
        large_transaction(0x20, *both),
        large_transaction(0x30, *both),
        transaction(0x40, *(table.insert(1) for table in both)),
    )
    shapes: dict[str, set[str]] = {}
    for message in reader.read():
        seen = shapes.setdefault(message["lsn"], set())
        seen.update(part["shape"] for part in message["parts"])
    assert [len(seen) for seen in shapes.values()] == [1, 1, 2, 2]


def test_a_table_that_changed_is_named_and_nothing_is_sent() -> None:
    reader = Reader(NOTES, TASKS)
    reader.append(transaction(0x10, CHANGED.insert(1), TASKS.insert(1)))
    notes = reader.session.shapes["notes"].id
    assert reader.send_next() == {notes}
    assert (reader.session.number, reader.heard()) == (0, [])
    del reader.session.shapes["notes"]
    reader.session.update_shape_ids()
    assert lsns(reader.read()) == [0x10]


def test_a_table_that_changed_is_named_in_a_large_commit_too() -> None:
    reader = Reader(NOTES, TASKS)
    reader.append(large_transaction(0x10, CHANGED, TASKS))
    notes = reader.session.shapes["notes"].id
    assert reader.send_next() == {notes}
    assert (reader.session.number, reader.heard()) == (0, [])


def test_a_table_that_changed_does_not_matter_before_the_session_joined_it() -> None:
    reader = Reader(TASKS)
    (notes,) = reader.join(NOTES)
    reader.session.since[notes] = 9
    reader.append(
        transaction(0x10, CHANGED.insert(1), TASKS.insert(1)),
        large_transaction(0x20, CHANGED, TASKS),
    )
    assert lsns(reader.read()) == [0x10, 0x20]


def test_a_large_commit_goes_part_by_part_and_each_is_a_turn_of_work() -> None:
    reader = Reader(NOTES)
    reader.append(large_transaction(0x10, NOTES, rows=20))
    parts = []
    while reader.session.number == 0:
        effort = reader.catch_up.effort
        assert not reader.send_next()
        assert reader.catch_up.effort >= effort + limits.CATCHUP_COMMITS
        messages = reader.heard()
        assert len(messages) <= 1
        parts += [(message["part"], message["last"]) for message in messages]
    assert parts == [(i, i == len(parts) - 1) for i in range(len(parts))]
    assert len(parts) > 1
    assert (reader.session.part, reader.session.cut) == (0, None)


def test_parts_that_are_ready_cost_a_second_reader_no_work() -> None:
    reader = Reader(NOTES)
    reader.append(large_transaction(0x10, NOTES, rows=20))
    first = reader.read()
    reader.session.stand_at(0)
    before = reader.catch_up.effort
    second = reader.read()
    assert second == first
    assert reader.catch_up.effort == before + len(first)
    assert len(reader.spool.files) == 1


def test_a_part_that_another_reader_has_had_made_is_sent_without_work() -> None:
    reader = Reader(NOTES)
    reader.append(large_transaction(0x10, NOTES, rows=20))
    reader.send_next()
    first = reader.heard()
    reader.session.stand_at(0)
    before = reader.catch_up.effort
    reader.send_next()
    assert (reader.heard(), reader.catch_up.effort) == (first, before + 1)


def test_a_step_that_made_no_part_sends_nothing_and_goes_on() -> None:
    rows = [TASKS.insert(i, "x" * 60) for i in range(ROWS_PER_STEP)]
    reader = Reader(NOTES)
    reader.append(transaction(0x10, *rows, NOTES.insert(1, LONG)))
    assert not reader.send_next()
    assert (reader.heard(), reader.session.number, reader.session.part) == ([], 0, 0)
    assert reader.session.cut is not None
    assert lsns(reader.read()) == [0x10]


def test_a_full_spool_and_an_unsound_row_are_told() -> None:
    reader = Reader(NOTES, spool=MemorySpool(bytes_max=10))
    reader.append(large_transaction(0x10, NOTES))
    with pytest.raises(SpoolError):
        reader.read()
    relation, message = NOTES.insert(1)
    reader = Reader(NOTES)
    reader.append(transaction(0x10, (relation, message[:-1])))
    with pytest.raises(DecodeError):
        reader.send_next()
    assert (reader.session.number, reader.heard()) == (0, [])
