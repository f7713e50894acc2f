"""Goal: a client that wants rows shows the table as it was at the position that it is told.

Method: whole conversations of the real hub with `Mirror` clients, each named after what happens in
the database or on the network meanwhile. Commits insert the row whose key is their position, so
the rows that may be shown at a position are known without any code of the engine.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    LONG,
    NOTES,
    TASKS,
    Message,
    Node,
    kinds,
    make_table,
    position,
    rows_of,
    transaction,
)
from engine.tests.core.mirror import (
    commit,
    connect,
    read_all,
    wants,
)
from engine.tests.core.spool import MemorySpool
from tidewire import limits
from tidewire.core.model.lsn import Lsn

CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


# --- where snapshot and log meet ---


def test_a_table_is_shown_as_it_is_and_then_follows_the_log() -> None:
    node = Node()
    commit(node, 0x200)
    mirror = wants(node)
    node.bring(NOTES, 0x200)
    assert kinds(mirror.read()) == ["snapshot", "snapshot", "up_to_date"]
    assert (mirror.ids("notes"), mirror.at["notes"]) == ([0x200], 0x200)
    commit(node, 0x210)
    assert kinds(mirror.read()) == ["commit"]
    assert mirror.ids("notes") == [0x200, 0x210]


def test_a_commit_is_decoded_while_its_backend_still_waits_for_a_synchronous_standby() -> None:
    node = Node()
    commit(node, 0x200, 0x210)
    mirror = wants(node)
    node.bring(NOTES, 0x210, missing=[0x200])
    read_all(node, mirror)
    assert mirror.ids("notes") == [0x200, 0x210]


def test_commits_become_visible_in_another_order_than_that_of_the_log() -> None:
    node = Node()
    mirror = wants(node)
    copy = node.splice(NOTES, seen=0x230, missing=[0x210], until=0x230)
    commit(node, 0x200, 0x210)
    node.hub.copies.add_rows(copy, rows_of(0x200, 0x220, 0x230), is_last=True)
    node.settle()
    mirror.read()
    assert mirror.shown == {}, "0x220 is shown by the snapshot, and may still be lost"
    commit(node, 0x220, 0x230)
    read_all(node, mirror)
    assert mirror.ids("notes") == [0x200, 0x210, 0x220, 0x230]
    assert mirror.at["notes"] == 0x230


def test_commits_during_the_copy_follow_its_rows() -> None:
    node = Node()
    mirror = wants(node)
    copy = node.splice(NOTES)
    commit(node, 0x200)
    node.hub.copies.add_rows(copy, rows_of(1))
    commit(node, 0x210)
    node.settle()
    assert kinds(mirror.read()) == ["snapshot"], "commits come behind the last chunk"
    node.hub.copies.add_rows(copy, rows_of(2), is_last=True)
    commit(node, 0x220)
    messages = read_all(node, mirror)
    assert kinds(messages) == ["snapshot", "commit", "commit", "commit", "up_to_date"]
    assert all(m["stage"] for m in messages[1:4])
    assert mirror.ids("notes") == [1, 2, 0x200, 0x210, 0x220]


def test_a_table_is_not_shown_before_the_log_has_come_to_its_snapshot() -> None:
    node = Node()
    mirror = wants(node)
    node.bring(NOTES, 1, until=0x250)
    mirror.read()
    for progress, is_shown in [(0x24F, False), (0x250, True)]:
        node.hub.advance(Lsn(progress))
        node.settle()
        mirror.read()
        assert ("notes" in mirror.shown) is is_shown


def test_an_empty_table_is_shown_too() -> None:
    node = Node()
    mirror = wants(node)
    copy = node.splice(NOTES)
    node.hub.copies.add_rows(copy, b"", is_last=True)
    node.settle()
    mirror.read()
    assert mirror.ids("notes") == []


def test_what_was_live_before_goes_on_while_another_table_is_copied() -> None:
    node = Node()
    mirror = wants(node)
    node.bring(NOTES)
    node.join(mirror.peer, TASKS, initial=True)
    copy = node.splice(TASKS)
    node.deliver(transaction(0x200, NOTES.insert(1), TASKS.insert(1)))
    mirror.read()
    assert mirror.ids("notes") == [1]
    node.hub.copies.add_rows(copy, b"", is_last=True)
    node.deliver(transaction(0x210, NOTES.insert(2), TASKS.insert(2)))
    messages = read_all(node, mirror)
    stages = [m["lsn"] for m in messages if m.get("stage")]
    assert stages == ["0/200", "0/210"], "staged commits may lie below the cursor"
    assert mirror.ids("tasks") == [1, 2]
    node.deliver(transaction(0x220, NOTES.insert(3), TASKS.insert(3)))
    (message,) = mirror.read()
    assert len(message["parts"]) == 2


# --- readers and their windows ---


def test_equal_shapes_share_one_copy_and_a_late_reader_reads_it_from_the_beginning() -> None:
    spool = MemorySpool()
    node = Node(spool)
    first, second = wants(node, "1"), wants(node, "2")
    copy = node.splice(NOTES)
    node.hub.copies.add_rows(copy, rows_of(1))
    commit(node, 0x200)
    node.settle()
    late = wants(node, "3")
    node.hub.copies.add_rows(copy, rows_of(2), is_last=True)
    read_all(node, first, second, late)
    later = wants(node, "4")
    read_all(node, later)
    for mirror in (first, second, late, later):
        assert mirror.ids("notes") == [1, 2, 0x200]
    assert (len(node.copies), len(spool.files)) == (1, 1)


def test_a_slow_reader_of_a_copy_holds_up_nobody() -> None:
    node = Node()
    slow, quick = wants(node, "slow"), wants(node, "quick")
    node.fill_window(slow.peer)
    node.bring(NOTES, 1)
    commit(node, 0x200)
    read_all(node, quick)
    assert (slow.read(), quick.ids("notes")) == ([], [1, 0x200])
    read_all(node, slow)
    assert slow.ids("notes") == [1, 0x200]


@pytest.mark.parametrize("is_blocked", [False, True])
def test_a_full_window_stops_rows_and_staged_commits_and_room_lets_them_go_on(
    is_blocked: bool,
) -> None:
    node = Node()
    mirror = wants(node)
    copy = node.splice(NOTES)
    size = limits.WINDOW_BYTES // len(LONG) + 1

    def fill() -> None:
        if is_blocked:
            node.hub.stall(mirror.peer.session, True, 0.0)
        else:
            node.fill_window(mirror.peer)

    def drain() -> list[Message]:
        node.settle()
        assert mirror.read() == []
        if is_blocked:
            node.hub.stall(mirror.peer.session, False, 0.0)
        else:
            node.acknowledge(mirror.peer)
        node.settle()
        return mirror.read()

    fill()
    for i in range(size):
        node.hub.copies.add_rows(copy, b'[%d,"%b"]' % (i, LONG.encode()))
    found = drain()
    assert 0 < len(found) <= size
    read_all(node, mirror)
    fill()
    commit(node, 0x200)
    node.hub.copies.add_rows(copy, b"", is_last=True)
    messages = drain()
    assert kinds(messages) == ["snapshot", "commit", "up_to_date"]
    assert mirror.ids("notes") == [*range(size), 0x200]


def test_to_be_told_that_it_is_live_takes_no_room() -> None:
    node = Node()
    mirror = wants(node)
    node.bring(NOTES, 1, until=0x250)
    node.fill_window(mirror.peer)
    node.hub.advance(Lsn(0x250))
    node.settle()
    assert kinds(mirror.read()) == ["snapshot", "snapshot", "up_to_date"]
    commit(node, 0x260)
    assert mirror.read() == []
    read_all(node, mirror)
    assert mirror.ids("notes") == [1, 0x260]


def test_staged_commits_stop_before_the_one_that_a_session_that_is_behind_reads_next() -> None:
    node = Node()
    early, mirror = wants(node, "early"), connect(node)
    node.join(mirror.peer, TASKS, initial=True)
    node.bring(TASKS)
    mirror.read()
    node.bring(NOTES)
    node.fill_window(mirror.peer)
    body = "x" * (limits.WINDOW_BYTES // 2)
    for lsn in (0x200, 0x210, 0x220, 0x230, 0x240):
        node.deliver(transaction(lsn, NOTES.insert(lsn), TASKS.insert(lsn, body)))
    node.join(mirror.peer, NOTES, initial=True)
    node.settle()
    assert kinds(mirror.read()) == ["subscribed"]
    while not mirror.peer.session.is_live:
        node.acknowledge(mirror.peer)
        node.settle()
        for message in mirror.read():
            if message.get("stage"):
                assert position(message["lsn"]) <= mirror.position
        if "notes" in mirror.shown:
            assert mirror.ids("notes") == mirror.ids("tasks")
    assert mirror.ids("notes") == [0x200, 0x210, 0x220, 0x230, 0x240]
    read_all(node, early)


def test_a_long_copy_is_read_in_bounded_turns() -> None:
    node = Node()
    mirror = wants(node)
    copy = node.splice(NOTES)
    count = 2 * limits.CATCHUP_COMMITS + 1
    commit(node, *range(0x200, 0x200 + count))
    node.settle()
    mirror.read()
    node.hub.copies.add_rows(copy, b"", is_last=True)
    sizes = []
    while node.turns_wanted:
        node.turns_wanted = 0
        node.hub.turn()
        sizes.append(len(mirror.read()))
    assert max(sizes) <= limits.CATCHUP_COMMITS
    assert len(mirror.ids("notes")) == count


def test_a_copy_that_is_far_behind_the_log_follows_it_in_bounded_turns() -> None:
    node = Node()
    mirror = wants(node)
    copy = node.splice(NOTES)
    count = 2 * limits.CATCHUP_COMMITS + 1
    commit(node, *range(0x200, 0x200 + count))
    numbers = []
    while node.turns_wanted:
        node.turns_wanted = 0
        node.hub.turn()
        numbers.append(copy.number)
    assert numbers[:3] == [limits.CATCHUP_COMMITS, 2 * limits.CATCHUP_COMMITS, count]
    node.hub.copies.add_rows(copy, b"", is_last=True)
    read_all(node, mirror)
    assert len(mirror.ids("notes")) == count
