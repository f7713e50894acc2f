"""Goal: a commit is encoded once for each set of shapes it touches, and memory stays bounded.

Method: identity of the frames that come back shows what was shared; the frames are read as JSON.
"""

from __future__ import annotations

import gc

import msgspec
import pytest

from engine.tests.core.bench import (
    NOTES,
    TASKS,
    large_transaction,
    make_table,
    message_of,
    transaction,
)
from engine.tests.core.spool import MemorySpool
from tidewire.core.encoder import EncodedCommit, Encoder
from tidewire.core.model.transaction import Transaction
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import ShapeId
from tidewire.errors import DecodeError, SpoolError

BOTH = transaction(0x10, NOTES.insert(1, "n"), TASKS.insert(2, "t"), NOTES.insert(3))


class Desk:
    """An encoder with the shapes `notes` and `tasks`."""

    def __init__(self, cache_bytes: int = 1 << 20, spool: MemorySpool | None = None) -> None:
        self.index = ShapeIndex()
        self.notes = self.index.acquire(NOTES.spec)
        self.tasks = self.index.acquire(TASKS.spec)
        self.encoder = Encoder(self.index, spool or MemorySpool(), cache_bytes=cache_bytes)

    def ids(self, *names: str) -> frozenset[ShapeId]:
        return frozenset(getattr(self, name).id for name in names)


def test_a_frame_holds_the_commit_and_the_parts_of_the_shapes_asked_for() -> None:
    desk = Desk()
    encoded = desk.encoder.encode(BOTH)
    frame = encoded.frame(desk.ids("notes"))
    assert frame is not None
    assert message_of(frame) == {
        "type": "commit",
        "lsn": "0/10",
        "at": 1000,
        "xid": 16,
        "tag": BOTH.tag,
        "parts": [{"shape": desk.notes.id, "changes": [["i", [1, "n"]], ["i", [3, "b"]]]}],
    }
    both = encoded.frame(desk.ids("tasks", "notes"))
    assert both is not None
    assert [part["shape"] for part in message_of(both)["parts"]] == [desk.notes.id, desk.tasks.id]


def test_whoever_sees_the_same_part_of_a_commit_shares_one_frame() -> None:
    desk = Desk()
    encoded = desk.encoder.encode(transaction(0x10, NOTES.insert(1)))
    assert encoded.frame(desk.ids("notes")) is encoded.frame(desk.ids("notes", "tasks"))


def test_the_order_of_the_parts_is_the_same_whoever_asks() -> None:
    desk = Desk()
    tables = [make_table(f"t{i}", 10 + i) for i in range(5)]
    shapes = [desk.index.acquire(table.spec).id for table in tables]
    encoded = desk.encoder.encode(transaction(0x10, *(table.insert(1) for table in tables)))
    few = encoded.frame(frozenset(shapes[:3]))
    assert (
        encoded.frame(frozenset((*shapes[:3], desk.notes.id, desk.tasks.id, ShapeId("x")))) is few
    )


def test_a_commit_that_touches_none_of_the_shapes_has_no_frame() -> None:
    desk = Desk()
    assert desk.encoder.encode(transaction(0x10, NOTES.insert(1))).frame(desk.ids("tasks")) is None


def test_a_remembered_commit_is_not_encoded_again() -> None:
    desk = Desk()
    encoded = desk.encoder.encode(BOTH)
    desk.encoder.remember(0, encoded)
    assert desk.encoder.recall(0, BOTH) is encoded


def test_a_commit_that_was_not_remembered_is_encoded_once_when_it_is_asked_for() -> None:
    desk = Desk()
    encoded = desk.encoder.recall(7, BOTH)
    assert encoded.parts.keys() == {desk.notes.id, desk.tasks.id}
    assert desk.encoder.recall(7, BOTH) is encoded


def test_a_shape_that_came_later_sees_commits_that_were_encoded_before_it() -> None:
    desk = Desk()
    users = make_table("users", 3)
    both = transaction(0x10, NOTES.insert(1), users.insert(2))
    encoded = desk.encoder.recall(0, both)
    notes, size = encoded.parts[desk.notes.id], encoded.size
    assert encoded.frame(desk.ids("notes")) is not None
    assert encoded.parts.keys() == {desk.notes.id}
    shape = desk.index.acquire(users.spec)
    assert desk.encoder.recall(0, both) is encoded
    assert encoded.parts.keys() == {desk.notes.id, shape.id}
    assert encoded.parts[desk.notes.id] is notes, "what others see is not encoded again"
    assert encoded.size > size
    assert desk.encoder._cache_bytes == encoded.size
    relation, message = users.insert(2)
    unsound = transaction(0x10, (relation, message[:-1]))
    assert desk.encoder.recall(0, unsound) is encoded, "nor is it for the new one"
    frame = encoded.frame(frozenset({shape.id, desk.notes.id}))
    assert frame is not None
    assert len(message_of(frame)["parts"]) == 2


def test_a_shape_that_came_later_and_does_not_fit_is_named_too() -> None:
    desk = Desk()
    users, narrow = make_table("users", 3), make_table("users", 3, ("id", "title"))
    row = transaction(0x10, narrow.insert(2))
    assert desk.encoder.recall(0, row).unfit == set()
    shape = desk.index.acquire(users.spec)
    assert desk.encoder.recall(0, row).unfit == {shape.id}


def test_shapes_that_come_and_go_elsewhere_cost_a_remembered_commit_nothing() -> None:
    desk = Desk()
    users = make_table("users", 3)
    relation, message = NOTES.insert(1)
    encoded = desk.encoder.recall(0, transaction(0x10, (relation, message)))
    unsound = transaction(0x10, (relation, message[:-1]))
    for _ in range(3):
        shape = desk.index.acquire(users.spec)
        assert desk.encoder.recall(0, unsound) is encoded, "its rows are not looked at"
        desk.index.release(shape)
        assert desk.encoder.recall(0, unsound) is encoded


def test_a_row_that_a_later_shape_cannot_read_leaves_the_account_of_the_cache_right() -> None:
    desk = Desk()
    relation, message = NOTES.insert(1)
    encoded = desk.encoder.recall(0, transaction(0x10, (relation, message)))
    desk.index.acquire(msgspec.structs.replace(NOTES.spec, columns=()))
    with pytest.raises(DecodeError):
        desk.encoder.recall(0, transaction(0x10, (relation, message[:-1])))
    assert desk.encoder._cache_bytes == encoded.size


def weight(desk: Desk, body: str) -> int:
    return desk.encoder.encode(transaction(0x10, NOTES.insert(1, body))).size


def test_the_cache_keeps_the_newest_commits_that_fit() -> None:
    each = weight(Desk(), "b")
    desk = Desk(cache_bytes=3 * each)
    transactions = [transaction(0x10, NOTES.insert(1, "b")) for _ in range(5)]
    kept = [remembered(desk, i, t) for i, t in enumerate(transactions)]
    found = [desk.encoder._cache.get(i) for i in range(5)]
    assert found == [None, None, *kept[2:]]
    assert desk.encoder._cache_bytes == 3 * each


def remembered(desk: Desk, number: int, transaction: Transaction) -> EncodedCommit:
    encoded = desk.encoder.encode(transaction)
    desk.encoder.remember(number, encoded)
    return encoded


def test_encoding_a_commit_anew_takes_the_place_of_the_old() -> None:
    each = weight(Desk(), "b")
    desk = Desk(cache_bytes=2 * each)
    single = transaction(0x10, NOTES.insert(1, "b"))
    remembered(desk, 0, single)
    last = [remembered(desk, 1, single) for _ in range(10)][-1]
    assert list(desk.encoder._cache) == [0, 1], "the other one was not driven out"
    assert desk.encoder._cache[1] is last
    assert desk.encoder._cache_bytes == 2 * each


def test_a_commit_larger_than_the_cache_is_encoded_all_the_same() -> None:
    desk = Desk(cache_bytes=10)
    assert desk.encoder.recall(0, BOTH).parts
    assert (len(desk.encoder._cache), desk.encoder._cache_bytes) == (0, 0)


def test_the_weight_of_a_commit_covers_its_parts_and_its_frame() -> None:
    desk = Desk()
    encoded = desk.encoder.encode(transaction(0x10, NOTES.insert(1, "x" * 10_000)))
    frame = encoded.frame(desk.ids("notes"))
    assert frame is not None
    assert encoded.size > sum(map(len, encoded.parts.values())) + len(frame)


def test_an_unsound_row_is_an_error_and_nothing_is_remembered() -> None:
    desk = Desk()
    relation, message = NOTES.insert(1)
    with pytest.raises(DecodeError):
        desk.encoder.recall(0, transaction(0x10, (relation, message[:-1])))
    assert len(desk.encoder._cache) == 0


def test_readers_with_the_same_shapes_share_the_parts_of_a_large_commit() -> None:
    desk = Desk()
    large = large_transaction(0x10, NOTES)
    parts = desk.encoder.parts(0, large, desk.ids("notes"))
    assert desk.encoder.parts(0, large, desk.ids("notes")) is parts
    assert desk.encoder.parts(0, large, desk.ids("notes", "tasks")) is not parts
    assert desk.encoder.parts(1, large, desk.ids("notes")) is not parts


def test_parts_that_nobody_reads_any_more_are_gone_but_for_the_newest() -> None:
    desk = Desk()
    for number in range(9):
        desk.encoder.parts(number, large_transaction(0x10, NOTES), desk.ids("notes"))
    gc.collect()
    assert sorted(number for number, _ in desk.encoder._cut) == [5, 6, 7, 8]


def test_those_that_copy_a_shape_get_parts_of_their_own() -> None:
    desk = Desk()
    large = large_transaction(0x10, NOTES, TASKS)
    live = desk.encoder.parts(0, large, desk.ids("notes"))
    staged = desk.encoder.staged_parts(large, desk.notes.id)
    assert desk.encoder.parts(0, large, desk.ids("notes")) is live
    while not staged.is_complete:
        staged.step()
    frames = [message_of(staged.frame(i)) for i in range(len(staged))]
    assert {frame["stage"] for frame in frames} == {True}
    assert {part["shape"] for frame in frames for part in frame["parts"]} == {desk.notes.id}


def test_a_spool_without_room_refuses_a_large_commit() -> None:
    desk = Desk(spool=MemorySpool(0))
    with pytest.raises(SpoolError):
        desk.encoder.parts(0, large_transaction(0x10, NOTES), desk.ids("notes"))


def test_a_history_that_ended_leaves_nothing_in_the_cache() -> None:
    desk = Desk()
    parts = desk.encoder.parts(0, large_transaction(0x10, NOTES), desk.ids("notes"))
    remembered(desk, 1, BOTH)
    desk.encoder.forget()
    other = large_transaction(0x20, NOTES)
    assert desk.encoder.parts(0, other, desk.ids("notes")) is not parts
    assert (len(desk.encoder._cache), desk.encoder._cache_bytes) == (0, 0)


def test_a_shape_that_its_table_no_longer_fits_is_named_beside_the_commit() -> None:
    desk = Desk()
    changed = make_table("notes", NOTES.relation.oid, ("id", "title"))
    encoded = desk.encoder.encode(transaction(0x10, changed.insert(1), TASKS.insert(1)))
    assert encoded.parts.keys() == {desk.tasks.id}
    assert encoded.unfit == {desk.notes.id}
