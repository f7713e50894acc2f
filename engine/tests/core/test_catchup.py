"""Goal: a session that is behind gets the log commit by commit, a large one part by part.

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


def test_each_call_sends_the_next_commit_and_moves_on() -> None:
    reader = Reader(NOTES)
    reader.append(transaction(0x10, NOTES.insert(1)), transaction(0x20, NOTES.insert(2)))
    for number, lsn in enumerate((0x10, 0x20)):
        assert reader.session.number == number
        assert not reader.send_next()
        assert lsns(reader.heard()) == [lsn]
    assert (reader.session.number, reader.catch_up.effort) == (2, 2)
    assert reader.session.outbox.count == 2


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
