"""Goal: what goes wrong while a table is copied costs time, never a row.

Method: as in `test_hub_copies.py`.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    NOTES,
    TASKS,
    Node,
    large_transaction,
    lsns,
    make_table,
    rows_of,
    transaction,
)
from engine.tests.core.mirror import (
    commit,
    connect,
    read_all,
    wants,
)
from engine.tests.core.spool import MemoryFile, MemorySpool
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.stream.splice import Snapshot
from tidewire.errors import SpoolError

CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


# --- what goes wrong ---


def test_the_log_is_faster_than_a_copy_and_another_is_made() -> None:
    node = Node(log_bytes=1)
    mirror = wants(node)
    copy = node.splice(NOTES)
    node.hub.copies.add_rows(copy, rows_of(1))
    commit(node, 0x200, 0x210, 0x220)
    node.settle()
    assert copy.is_dead
    mirror.read()
    node.bring(NOTES, 1, 0x200, 0x210, 0x220)
    read_all(node, mirror)
    assert mirror.ids("notes") == [1, 0x200, 0x210, 0x220]


def test_the_stream_is_lost_before_it_has_come_to_a_snapshot_and_the_table_is_copied_anew() -> None:
    """An asynchronous commit may be in the snapshot that a crash has taken back."""
    node = Node()
    mirror, safe = wants(node), connect(node, "safe")
    node.join(safe.peer, TASKS, initial=True)
    node.bring(NOTES, 1, 0x250, until=0x250)
    kept = node.bring(TASKS, 1)
    mirror.read()
    node.hub.interrupt()
    node.settle()
    assert [spec for _, spec in node.copies] == [NOTES.spec, TASKS.spec, NOTES.spec]
    assert not kept.is_dead
    node.hub.advance(Lsn(0x260))
    node.settle()
    mirror.read()
    assert mirror.shown == {}
    node.bring(NOTES, 1)
    read_all(node, mirror)
    assert mirror.ids("notes") == [1]


def test_another_history_begins_while_tables_are_live_and_staged() -> None:
    node = Node()
    mirror = wants(node)
    node.bring(NOTES, 1)
    node.join(mirror.peer, TASKS, initial=True)
    node.splice(TASKS)
    commit(node, 0x200)
    read_all(node, mirror)
    node.hub.restart("epoch-2", Lsn(0x80))
    node.settle()
    assert mirror.read() == [{"type": "reset", "reason": "other_history", "epoch": "epoch-2"}]
    assert {spec.table for _, spec in node.copies[2:]} == {"tasks", "notes"}
    assert len(node.copies) == 4
    node.bring(NOTES, 2)
    node.bring(TASKS, 3)
    commit(node, 0x90)
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([2, 0x90], [3])


def test_a_table_changes_while_it_is_copied() -> None:
    node = Node()
    mirror, other = wants(node), connect(node, "other")
    node.join(other.peer, TASKS, initial=True)
    copy = node.splice(NOTES)
    node.deliver(transaction(0x200, CHANGED.insert(1)))
    node.settle()
    (error,) = mirror.read()
    assert (error["code"], error["ref"], copy.is_dead) == ("schema_changed", "notes", True)
    node.bring(TASKS, 1)
    node.join(mirror.peer, CHANGED, initial=True)
    node.bring(CHANGED, 1)
    read_all(node, mirror, other)
    assert (mirror.ids("notes"), other.ids("tasks")) == ([1], [1])


def test_the_spool_is_full_while_a_table_is_copied_and_others_live_on() -> None:
    node = Node(MemorySpool(bytes_max=150))
    mirror, live = wants(node), connect(node, "live")
    node.join(live.peer, NOTES)
    read_all(node, live)
    node.bring(NOTES, *range(20))
    assert [(m["code"], m["ref"]) for m in mirror.read()] == [("unavailable", "notes")]
    commit(node, 0x200)
    assert lsns(live.read()) == [0x200]


def test_a_spool_that_cannot_be_read_closes_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise SpoolError("the disk is gone")

    node = Node()
    mirror, other = wants(node), connect(node, "other")
    node.join(other.peer, TASKS)
    monkeypatch.setattr(MemoryFile, "read", fail)
    node.bring(NOTES, 1)
    assert (mirror.peer.closed_as, other.peer.closed_as) == ("overloaded", None)


def test_an_unsound_row_gives_up_the_copy_that_has_to_read_it() -> None:
    node = Node()
    relation, message = NOTES.insert(1)
    node.deliver(transaction(0x200, (relation, message[:-1])))
    mirror = wants(node)
    node.bring(NOTES, missing=[0x200])
    assert [m["code"] for m in mirror.read() if m["type"] == "error"] == ["unavailable"]


# --- large commits ---


def test_a_large_commit_reaches_who_is_staged_and_who_is_live() -> None:
    node = Node()
    mirror = wants(node)
    node.bring(NOTES, 100)
    late = wants(node, "late")
    node.join(late.peer, TASKS, initial=True)
    node.deliver(large_transaction(0x200, NOTES, TASKS))
    node.bring(TASKS, 100)
    read_all(node, mirror, late)
    everything = [*range(20), 100]
    assert mirror.ids("notes") == late.ids("notes") == everything
    assert late.ids("tasks") == [100]


def test_large_commits_of_two_tables_are_staged_side_by_side() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, TASKS, initial=True)
    node.join(mirror.peer, make_table("users", 3), initial=True)
    copies = [node.splice(NOTES), node.splice(TASKS), node.splice(make_table("users", 3))]
    for copy in copies:
        node.hub.copies.add_rows(copy, b"", is_last=True)
    node.deliver(large_transaction(0x200, NOTES, TASKS, make_table("users", 3)))
    read_all(node, mirror)
    for id in ("notes", "tasks", "users"):
        assert mirror.ids(id) == [*range(20)]


def test_two_large_commits_of_a_stage_that_are_made_one_after_another_are_told_apart() -> None:
    """The second table was copied first: its parts are ready while those of the first are made."""
    node = Node()
    early, mirror = connect(node, "early"), connect(node)
    node.join(early.peer, TASKS, initial=True)
    node.join(mirror.peer, NOTES, TASKS, initial=True)
    for table in (TASKS, NOTES):
        node.hub.copies.add_rows(node.splice(table, until=0x210), b"", is_last=True)
    node.settle()
    mirror.read()
    node.fill_window(mirror.peer)
    node.deliver(large_transaction(0x200, NOTES, TASKS))
    copy = node.copy_of(NOTES)
    for _ in range(20):
        if not copy.commits:
            node.hub.turn()
    assert copy.number == 0
    node.acknowledge(mirror.peer)
    read_all(node, mirror)
    node.hub.advance(Lsn(0x210))
    read_all(node, mirror)
    assert mirror.ids("notes") == mirror.ids("tasks") == [*range(20)]


def test_a_large_commit_is_staged_though_nothing_else_happens() -> None:
    node = Node()
    mirror = wants(node)
    copy = node.splice(NOTES, until=0x200)
    node.hub.copies.add_rows(copy, b"", is_last=True)
    node.deliver(large_transaction(0x200, NOTES))
    node.settle()
    mirror.read()
    assert mirror.ids("notes") == [*range(20)]


def test_who_leaves_in_the_middle_of_a_large_staged_commit_leaves_nothing_behind() -> None:
    node = Node()
    mirror = wants(node)
    node.bring(NOTES, 1)
    node.join(mirror.peer, TASKS, initial=True)
    copy = node.splice(TASKS)
    node.hub.copies.add_rows(copy, b"", is_last=True)
    node.deliver(large_transaction(0x200, TASKS))
    node.turns_wanted = 0
    node.hub.turn()
    assert (copy.number, bool(copy.commits)) == (0, True)
    node.hub.leave(mirror.peer.session)
    node.settle()
    for now in (1.0, 1.0 + limits.COPY_KEEP_S):
        node.hub.tick(now)
    assert (len(node.hub.copies), len(node.hub.index)) == (0, 0)


# --- commits that no snapshot has seen yet ---


def test_a_snapshot_that_may_miss_what_came_before_the_log_is_taken_again() -> None:
    node = Node()
    node.hub.restart("epoch-2", Lsn(0x300), horizon=0x50)
    mirror = wants(node)
    copy = node.copy_of(NOTES)
    assert not node.hub.splice(copy, Snapshot(0x4F, 0x60), Lsn(0x300))
    assert node.hub.splice(copy, Snapshot(0x50, 0x60), Lsn(0x300))
    node.hub.copies.add_rows(copy, rows_of(1), is_last=True)
    node.settle()
    mirror.read()
    assert mirror.ids("notes") == [1]


def test_a_snapshot_settles_what_the_log_has_dropped() -> None:
    node = Node(log_bytes=1)
    commit(node, 0x200, 0x210, 0x220)
    assert (node.hub.history.settled, node.hub.history.floor) == (0x100, 0x210)
    wants(node)
    node.bring(NOTES, 0x200, 0x210, 0x220)
    assert node.hub.history.settled == 0x210


# --- time ---


def test_a_copy_that_nobody_reads_is_kept_for_those_that_come_back_and_then_forgotten() -> None:
    node = Node()
    mirror = wants(node)
    node.bring(NOTES, 1)
    mirror.read()
    node.hub.tick(10.0)
    node.hub.leave(mirror.peer.session)
    node.hub.tick(10.0 + limits.COPY_KEEP_S - 1)
    back = wants(node, "back")
    read_all(node, back)
    assert (back.ids("notes"), len(node.copies)) == ([1], 1)
    node.hub.leave(back.peer.session)
    node.hub.tick(200.0)
    node.hub.tick(200.0 + limits.COPY_KEEP_S)
    assert (len(node.hub.copies), len(node.hub.index)) == (0, 0)
