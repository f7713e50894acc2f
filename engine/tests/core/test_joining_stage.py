"""Goal: subscriptions on a stage are shown whole, however often and wherever they meet the log.

Method: as in `test_joining.py`.
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
    rows_of,
    transaction,
)
from engine.tests.core.mirror import (
    connect,
    copied,
    falls_behind,
    read_all,
)
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.parts import ROWS_PER_STEP
from tidewire.core.protocol import frames
from tidewire.core.stream.copy import Copy

USERS = make_table("users", 3)
CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


# --- going on in a copy ---


def interrupted(node: Node, *chunks: int) -> Copy:
    """Let a client lose its connection while a copy comes; each chunk has one row."""
    mirror = connect(node, "before")
    node.join(mirror.peer, NOTES, initial=True)
    copy = node.splice(NOTES)
    for id in chunks:
        node.hub.copies.add_rows(copy, rows_of(id))
    node.settle()
    node.hub.leave(mirror.peer.session)
    return copy


def chunks(messages: list[Message]) -> list[tuple[int, list[int]]]:
    """Return numbers and keys of the chunks among messages."""
    return [
        (message["chunk"], [row[0] for row in message["rows"]])
        for message in messages
        if message["type"] == "snapshot"
    ]


def resumed(node: Node, copy: str, chunk: int) -> list[Message]:
    peer = node.open("back")
    node.join(peer, NOTES, initial=True, resume=frames.Resume(copy, chunk))
    node.settle()
    return peer.heard()


@pytest.mark.parametrize("chunk", [0, 1, 2, 3])
def test_who_comes_back_while_rows_come_gets_those_that_it_has_not(chunk: int) -> None:
    node = Node()
    copy = interrupted(node, 10, 11, 12)
    found = [(0, [10]), (1, [11]), (2, [12])]
    assert chunks(resumed(node, copy.id, chunk)) == found[chunk:]
    assert len(node.copies) == 1


def test_who_comes_back_with_chunks_that_were_never_made_starts_over() -> None:
    node = Node()
    copy = interrupted(node, 10, 11)
    assert chunks(resumed(node, copy.id, 3)) == [(0, [10]), (1, [11])]


def test_who_comes_back_to_a_copy_that_is_gone_starts_over_with_another() -> None:
    node = Node()
    copy = interrupted(node, 10, 11)
    assert chunks(resumed(node, "node.99", 1)) == [(0, [10]), (1, [11])]
    node.hub.copies.clear()
    messages = resumed(node, copy.id, 1)
    assert (kinds(messages)[-1], chunks(messages)) == ("subscribed", [])
    assert len(node.copies) == 2


def test_who_comes_back_after_the_last_chunk_gets_the_commits_again() -> None:
    node = Node()
    copy = interrupted(node, 10)
    node.hub.copies.add_rows(copy, b"", is_last=True)
    node.deliver(transaction(0x200, NOTES.insert(11)))
    for _ in range(2):
        messages = resumed(node, copy.id, 2)
        assert kinds(messages)[1:] == ["subscribed", "commit", "up_to_date"]
        assert messages[2]["stage"] is True


def test_equal_subscriptions_go_on_together_or_start_over_together() -> None:
    node = Node()
    copy = interrupted(node, 10, 11, 12)
    cases: list[tuple[list[int | None], int]]
    cases = [([2], 2), ([None], 0), ([1], 0), ([2, None], 0)]
    for others, first in cases:
        peer = node.open("back")
        resumes = [frames.Resume(copy.id, chunk) if chunk else None for chunk in (2, *others)]
        wanted = [
            wish
            for i, resume in enumerate(resumes)
            for wish in node.ask(peer, NOTES, initial=True, resume=resume, prefix=f"{i} ")
        ]
        node.hub.join(peer.session, wanted)
        node.settle()
        assert chunks(peer.heard())[0][0] == first
        node.hub.leave(peer.session)


def test_who_waits_for_its_own_shape_on_another_stage_starts_over() -> None:
    """The chunks of the first were for the second as well, as far as the client can tell."""
    node = Node()
    copy = interrupted(node, 10, 11)
    mirror = connect(node)
    node.join(mirror.peer, NOTES, initial=True)
    resume = frames.Resume(copy.id, 1)
    node.join(mirror.peer, NOTES, initial=True, resume=resume, prefix="back ")
    node.hub.copies.add_rows(copy, b"", is_last=True)
    read_all(node, mirror)
    assert mirror.ids("notes") == mirror.ids("back notes") == [10, 11]


# --- one shape more than once ---


def test_a_shape_that_is_live_is_copied_for_another_who_wants_rows() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES)
    read_all(node, mirror)
    node.deliver(transaction(0x200, NOTES.insert(1)))
    node.join(mirror.peer, NOTES, initial=True, prefix="all ")
    copy = node.splice(NOTES, missing=[0x200])
    node.deliver(transaction(0x210, NOTES.insert(2)))
    node.hub.copies.add_rows(copy, rows_of(0), is_last=True)
    messages = read_all(node, mirror)
    assert [m.get("stage", False) for m in messages if m["type"] == "commit"] == [
        False,
        False,
        True,
        True,
    ]
    assert (mirror.ids("notes"), mirror.ids("all notes")) == ([1, 2], [0, 1, 2])
    node.deliver(transaction(0x220, NOTES.insert(3)))
    assert kinds(mirror.read()) == ["commit"]
    assert (mirror.ids("notes"), mirror.ids("all notes")) == ([1, 2, 3], [0, 1, 2, 3])


def test_who_asks_twice_for_the_rows_of_a_table_gets_them_one_after_the_other() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, initial=True)
    node.join(mirror.peer, NOTES, TASKS, initial=True, prefix="2 ")
    node.join(mirror.peer, NOTES, initial=True, prefix="3 ")
    copy = node.splice(NOTES)
    node.hub.copies.add_rows(copy, rows_of(1))
    node.settle()
    assert chunks(mirror.read()) == [(0, [1])]
    node.hub.copies.add_rows(copy, rows_of(2), is_last=True)
    node.deliver(transaction(0x200, NOTES.insert(3)))
    read_all(node, mirror)
    assert list(mirror.shown) == ["notes"], "the second waits for its other table"
    node.bring(TASKS, 9)
    read_all(node, mirror)
    assert list(mirror.shown) == ["notes", "2 notes", "2 tasks", "3 notes"]
    assert all(mirror.ids(id) == [1, 2, 3] for id in ("notes", "2 notes", "3 notes"))
    assert len([copy for copy, spec in node.copies if spec == NOTES.spec]) == 1


def test_a_shape_that_came_while_its_session_was_behind_is_shown_whole_when_copied_too() -> None:
    """The copy is older than the first of the two, whose commits begin where it joined."""
    node = Node()
    early, mirror = connect(node, "early"), connect(node)
    copied(node, mirror, USERS)
    node.join(early.peer, NOTES, initial=True)
    node.bring(NOTES, 1)
    node.fill_window(mirror.peer)
    node.deliver(transaction(0x200, USERS.insert(1)))
    # In between the copy has nothing to send, and meets the session before the table joined it.
    for i in range(2, 20):
        table = USERS if 5 <= i < 15 else NOTES
        node.deliver(transaction(0x200 + i, table.insert(i)))
    node.join(mirror.peer, NOTES)
    node.join(mirror.peer, NOTES, initial=True, prefix="all ")
    node.acknowledge(mirror.peer)
    node.deliver(transaction(0x230, NOTES.insert(20)))
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("all notes")) == ([20], [*range(1, 5), *range(15, 21)])


# --- meeting the log ---


def test_a_position_that_was_told_is_not_taken_back_when_a_stage_goes_live() -> None:
    node = Node()
    early, mirror = connect(node, "early"), connect(node)
    copied(node, mirror, NOTES)
    node.join(early.peer, TASKS, initial=True)
    node.bring(TASKS, 1)
    node.hub.advance(Lsn(0x280))
    node.hub.tick(1.0)
    mirror.read()
    assert mirror.position == 0x280
    falls_behind(node, mirror, 0x300)
    node.join(mirror.peer, TASKS, initial=True)
    copy = node.copy_of(TASKS)
    node.hub.stall(mirror.peer.session, True, 1.0)
    node.settle()
    mirror.peer.session.outbox.acknowledge(mirror.peer.session.outbox.count)
    assert not copy.is_dead
    node.hub.stall(mirror.peer.session, False, 2.0)
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([0x300], [1])


def test_a_stage_that_waits_for_nothing_more_goes_live_behind_what_was_told() -> None:
    node = Node()
    mirror = connect(node)
    copied(node, mirror, NOTES)
    node.join(mirror.peer, TASKS, USERS, initial=True)
    node.bring(TASKS, 1)
    node.hub.advance(Lsn(0x280))
    node.hub.tick(1.0)
    mirror.read()
    falls_behind(node, mirror, 0x300)
    node.say(mirror.peer, frames.Unsubscribe(id="users"))
    node.settle()
    mirror.read()
    assert (mirror.at["tasks"], mirror.ids("notes")) == (0x2FF, [])
    read_all(node, mirror)
    assert mirror.ids("notes") == [0x300]


def test_a_stage_goes_live_where_its_session_stands_behind_the_tail() -> None:
    node = Node()
    early, mirror = connect(node, "early"), connect(node)
    copied(node, mirror, NOTES)
    node.join(early.peer, TASKS, initial=True)
    node.bring(TASKS, 1)
    node.hub.advance(Lsn(0x280))
    node.hub.tick(1.0)
    mirror.read()
    body = "x" * (limits.WINDOW_BYTES // 4)
    node.fill_window(mirror.peer)
    node.deliver(*(transaction(0x300 + i, NOTES.insert(i, body)) for i in range(20)))
    node.deliver(transaction(0x400, TASKS.insert(2)))
    node.join(mirror.peer, TASKS, initial=True)
    node.acknowledge(mirror.peer)
    node.settle()
    mirror.read()
    assert not mirror.peer.session.is_live
    assert 0x280 <= mirror.at["tasks"] < 0x400
    assert mirror.ids("tasks") == [1]
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([*range(20)], [1, 2])


def test_a_shape_that_goes_live_before_a_large_commit_was_cut_gets_its_part_of_it() -> None:
    """The first step found nothing to send: the commit was begun, but no part of it was."""
    node = Node()
    early, mirror = connect(node, "early"), connect(node)
    copied(node, mirror, NOTES)
    node.join(early.peer, TASKS, initial=True)
    copy = node.splice(TASKS)
    node.join(mirror.peer, TASKS, initial=True)
    rows = [USERS.insert(i, "x" * 60) for i in range(3 * ROWS_PER_STEP)]
    node.deliver(transaction(0x200, *rows, NOTES.insert(1, LONG), TASKS.insert(1, LONG)))
    node.turns_wanted = 0
    node.hub.turn()
    session = mirror.peer.session
    assert (session.cut is not None, session.part) == (True, 0)
    node.hub.copies.add_rows(copy, rows_of(0), is_last=True)
    for _ in range(2):
        node.hub.turn()
    mirror.read()
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([], [0])
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([1], [0, 1])


def test_no_shape_goes_live_in_the_middle_of_a_large_commit() -> None:
    node = Node()
    early, mirror = connect(node, "early"), connect(node)
    copied(node, mirror, NOTES)
    node.join(early.peer, TASKS, initial=True)
    copy = node.splice(TASKS)
    node.join(mirror.peer, TASKS, initial=True)
    mirror.read()
    rows = [NOTES.insert(i, LONG) for i in range(60)]
    node.deliver(transaction(0x200, *rows, TASKS.insert(1)))
    node.settle()
    assert mirror.peer.session.part > 0
    node.hub.copies.add_rows(copy, rows_of(0), is_last=True)
    mirror.read()
    assert "tasks" not in mirror.shown
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([*range(60)], [0, 1])
