"""Goal: a subscription that ends, live or on a stage, leaves no trace and disturbs nobody.

Method: as in `test_joining.py`.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    NOTES,
    TASKS,
    Node,
    lsns,
    make_table,
    seeing,
    transaction,
)
from engine.tests.core.mirror import (
    connect,
    copied,
    read_all,
)
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames

USERS = make_table("users", 3)
CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


def is_empty(node: Node) -> bool:
    """Tell whether nothing is left of any session, once the copies were kept long enough."""
    for now in (1e6, 1e6 + limits.COPY_KEEP_S):
        node.hub.tick(now)
    joining, copies = node.hub._joining, node.hub.copies
    held = (node.hub.sessions, node.hub._ready, node.hub._waiting, joining._ahead)
    return not any([*held, len(copies), copies._read_by, copies._followed, len(node.hub.index)])


# --- going ---


@pytest.mark.parametrize("is_given_up", [True, False])
def test_who_waited_for_a_table_that_does_not_come_is_shown(is_given_up: bool) -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, TASKS, initial=True)
    node.bring(NOTES, 1)
    mirror.read()
    assert mirror.shown == {}
    if is_given_up:
        node.say(mirror.peer, frames.Unsubscribe(id="tasks"))
    else:
        node.hub.copies.give_up(node.copy_of(TASKS), "unavailable", "away")
    node.settle()
    mirror.read()
    assert mirror.ids("notes") == [1]


def test_who_is_given_up_lets_the_next_with_its_shape_go_on() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, TASKS, initial=True)
    node.join(mirror.peer, NOTES, initial=True, prefix="2 ")
    node.bring(NOTES, 1)
    mirror.read()
    node.say(mirror.peer, frames.Unsubscribe(id="notes"))
    read_all(node, mirror)
    assert mirror.ids("2 notes") == [1]


def test_one_of_two_equal_subscriptions_is_given_up_while_staged() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, initial=True)
    wanted = [*node.ask(mirror.peer, TASKS, initial=True)]
    wanted += node.ask(mirror.peer, TASKS, initial=True, prefix="2 ")
    node.hub.join(mirror.peer.session, wanted)
    node.say(mirror.peer, frames.Unsubscribe(id="tasks"))
    node.bring(TASKS, 1)
    assert mirror.read()[-1]["live"] == ["2 tasks"]


def test_the_last_that_was_staged_is_given_up_and_nothing_comes() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, initial=True)
    mirror.read()
    node.say(mirror.peer, frames.Unsubscribe(id="notes"))
    node.bring(NOTES, 1)
    assert (mirror.read(), mirror.peer.session.stages) == ([], [])
    assert mirror.peer.session.initial == set()
    node.hub.leave(mirror.peer.session)
    assert is_empty(node)


@pytest.mark.parametrize("when", ["asked", "copying", "complete", "queued", "with live", "dead"])
def test_who_leaves_while_staged_leaves_nothing_behind(when: str) -> None:
    node = Node()
    mirror = connect(node)
    if when == "with live":
        copied(node, mirror, TASKS)
    node.join(mirror.peer, NOTES, initial=True)
    if when == "queued":
        node.join(mirror.peer, NOTES, TASKS, initial=True, prefix="2 ")
    if when not in ("asked", "dead"):
        node.splice(NOTES)
    if when == "complete":
        node.fill_window(mirror.peer)
        node.bring(NOTES, 1)
    if when == "dead":
        node.hub.copies.clear()
    node.hub.leave(mirror.peer.session)
    node.hub.leave(mirror.peer.session)
    node.settle()
    assert is_empty(node)


def test_a_table_that_changed_takes_away_who_is_live_and_who_is_staged() -> None:
    node = Node()
    mirror = connect(node)
    copied(node, mirror, NOTES, TASKS)
    node.join(mirror.peer, NOTES, USERS, initial=True, prefix="2 ")
    node.deliver(transaction(0x200, CHANGED.insert(1), TASKS.insert(1)))
    messages = mirror.read()
    resets = [message for message in messages if message["type"] == "reset"]
    assert [(m["reason"], "shape" in m) for m in resets] == [("schema_changed", True)]
    assert mirror.peer.session.subscriptions == {"tasks", "2 users"}
    node.bring(USERS)
    read_all(node, mirror)
    assert (mirror.ids("tasks"), mirror.ids("2 users")) == ([1], [])


def test_a_table_that_changed_and_that_nobody_has_takes_nothing_away() -> None:
    node = Node()
    mirror = connect(node)
    copied(node, mirror, TASKS)
    node.hub._joining.take_away(mirror.peer.session, frozenset())
    node.settle()
    assert mirror.read() == []
    assert mirror.peer.session.is_live


@pytest.mark.parametrize("code", ["unavailable", "too_large", "schema_changed"])
def test_a_copy_that_fails_is_told_to_all_that_wait_for_it_and_nobody_else(code: str) -> None:
    node = Node()
    first, second, other = connect(node, "1"), connect(node, "2"), connect(node, "3")
    copied(node, first, USERS)
    for mirror in (first, second):
        node.join(mirror.peer, NOTES, initial=True)
    node.join(first.peer, NOTES, initial=True, prefix="2 ")
    node.join(other.peer, TASKS, initial=True)
    for mirror in (first, second, other):
        mirror.read()
    node.hub.copies.give_up(node.copy_of(NOTES), code, "why")
    errors = [
        {"type": "error", "code": code, "text": "why", "ref": id} for id in ("notes", "2 notes")
    ]
    assert (first.read(), second.read(), other.read()) == (errors, errors[:1], [])
    assert first.peer.session.subscriptions == {"users"}
    node.join(second.peer, NOTES, initial=True)
    node.bring(NOTES, 1)
    read_all(node, second)
    assert second.ids("notes") == [1]
    node.deliver(transaction(0x200, USERS.insert(1)))
    assert lsns(first.read()) == [0x200]


def test_a_stage_may_be_renewed_while_another_waits_behind_it() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, initial=True)
    node.join(mirror.peer, NOTES, initial=True, prefix="2 ")
    node.splice(NOTES)
    node.hub.interrupt()
    node.hub.copies.clear()
    node.settle()
    assert len(node.copies) == 2
    node.bring(NOTES, 1)
    read_all(node, mirror)
    assert mirror.ids("notes") == mirror.ids("2 notes") == [1]
    assert len(node.copies) == 2


def test_a_snapshot_is_taken_again_when_the_log_does_not_reach_back_to_it() -> None:
    node = Node(log_bytes=1)
    mirror = connect(node)
    node.fill_log(3)
    node.join(mirror.peer, NOTES, initial=True)
    copy = node.copy_of(NOTES)
    assert not node.hub.splice(copy, seeing(0x220, 0x200), Lsn(0x220))
    node.bring(NOTES, 0x200, 0x210, 0x220)
    mirror.read()
    assert mirror.ids("notes") == [0x200, 0x210, 0x220]
