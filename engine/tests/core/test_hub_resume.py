"""Goal: who comes back with a cursor goes on there, or is told why not.

Method: the real hub with recorded connections; cursors that are found, ahead, lost and foreign.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    EPOCH,
    NOTES,
    TASKS,
    Node,
    Peer,
    cursor,
    kinds,
    lsns,
    transaction,
)
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames


def resumed(node: Node, **start: str | int) -> Peer:
    peer = node.open("back")
    peer.take()
    node.join(peer, NOTES, start=cursor(**start))  # type: ignore[arg-type]
    node.settle()
    return peer


@pytest.mark.parametrize("seen", range(5))
def test_who_comes_back_gets_what_it_has_not_seen(seen: int) -> None:
    node = Node()
    ends = node.fill_log()
    start = cursor(ends[seen - 1]) if seen else cursor(0x100, tag="")
    peer = node.open()
    peer.take()
    node.join(peer, NOTES, start=start)
    node.settle()
    messages = peer.heard()
    assert lsns(messages) == ends[seen:]
    assert messages[0]["mode"] == "catchup"
    assert (messages[-1]["type"], messages[-1]["lsn"]) == ("up_to_date", "0/230")
    assert peer.session.is_live


def test_a_position_between_two_commits_counts_for_the_one_before() -> None:
    node = Node()
    ends = node.fill_log()
    peer = resumed(node, lsn=ends[1] + 5, tag=transaction(ends[1]).tag)
    assert lsns(peer.heard()) == ends[2:]


@pytest.mark.parametrize("by_commit", [True, False])
def test_who_is_ahead_of_the_node_hears_nothing_until_the_node_is_there(by_commit: bool) -> None:
    node = Node()
    node.fill_log()
    start = cursor(0x400) if by_commit else cursor(0x400, tag=transaction(0x300).tag)
    peer = node.open()
    peer.take()
    node.join(peer, NOTES, start=start)
    node.settle()
    assert kinds(peer.heard()) == ["subscribed"]
    node.deliver(transaction(0x300, NOTES.insert(1)))
    node.acknowledge(peer)
    node.hub.tick(1.0)
    node.settle()
    assert peer.heard() == [], "it has seen that already"
    if by_commit:
        node.deliver(transaction(0x400, NOTES.insert(2)), transaction(0x410, NOTES.insert(3)))
    else:
        node.hub.advance(Lsn(0x400))
        node.deliver(transaction(0x410, NOTES.insert(3)))
    node.settle()
    messages = peer.heard()
    assert lsns(messages) == [0x410]
    assert kinds(messages) == ["commit", "up_to_date"]


def test_a_node_that_comes_to_the_position_by_progress_alone_tells_so() -> None:
    node = Node()
    peer = resumed(node, lsn=0x400, tag="")
    peer.take()
    node.hub.advance(Lsn(0x3FF))
    node.settle()
    assert peer.heard() == []
    node.hub.advance(Lsn(0x400))
    node.settle()
    assert peer.heard() == [{"type": "up_to_date", "lsn": "0/400", "tag": ""}]


def test_who_was_ahead_in_another_history_is_reset_when_that_shows() -> None:
    node = Node()
    peer = resumed(node, lsn=0x400)
    peer.take()
    node.deliver(transaction(0x500, NOTES.insert(1)))
    node.settle()
    assert kinds(peer.heard()) == ["reset", "up_to_date"]
    node.deliver(transaction(0x510, NOTES.insert(2)))
    assert lsns(peer.heard()) == [0x510]


def test_who_is_ahead_when_the_history_changes_waits_no_longer() -> None:
    node = Node()
    peer = resumed(node, lsn=0x400)
    peer.take()
    node.hub.restart("epoch-2", Lsn(0x300))
    node.settle()
    assert kinds(peer.heard()) == ["reset", "up_to_date"]
    node.deliver(transaction(0x350, NOTES.insert(1)), transaction(0x450, NOTES.insert(2)))
    node.settle()
    assert lsns(peer.heard()) == [0x350, 0x450]


def test_who_gives_up_waiting_and_comes_from_elsewhere_waits_no_longer() -> None:
    node = Node()
    ends = node.fill_log()
    peer = resumed(node, lsn=0x400)
    node.say(peer, frames.Unsubscribe(id="notes"))
    peer.take()
    node.join(peer, NOTES, start=cursor(ends[1]))
    node.settle()
    assert lsns(peer.heard()) == ends[2:]


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (cursor(0x210, tag="another"), "other_history"),
        (cursor(0x210, tag=""), "other_history"),
        (cursor(0x210, epoch="epoch-0"), "other_history"),
        (cursor(0x10, tag=""), "lagged"),
    ],
)
def test_a_position_that_cannot_be_continued_is_a_reset_and_then_live(
    start: frames.From, reason: str
) -> None:
    node = Node()
    node.fill_log()
    peer = node.open()
    peer.take()
    node.join(peer, NOTES, start=start)
    node.settle()
    messages = peer.heard()
    assert kinds(messages) == ["subscribed", "reset", "up_to_date"]
    assert messages[1] == {"type": "reset", "reason": reason, "epoch": EPOCH}
    node.deliver(transaction(0x900, NOTES.insert(1)))
    assert lsns(peer.heard()) == [0x900]


def test_a_position_that_is_none_refuses_its_subscription_alone() -> None:
    node = Node()
    peer = node.open()
    peer.take()
    bad = frames.From(epoch=EPOCH, lsn="0/XYZ", tag="")
    shapes = [
        frames.ShapeRequest(id="bad", table="notes", start=bad),
        frames.ShapeRequest(id="good", table="tasks"),
    ]
    asked = node.say(peer, frames.Subscribe(shapes=shapes))
    assert [request.id for request in asked] == ["good"]
    assert [(m["code"], m["ref"]) for m in peer.heard()] == [("bad_lsn", "bad")]
    assert set(peer.session.pending) == {"good"}


def test_positions_that_differ_cannot_be_continued_together() -> None:
    node = Node()
    ends = node.fill_log()
    peer = node.open()
    peer.take()
    wanted = [*node.ask(peer, NOTES, start=cursor(ends[0]))]
    wanted += node.ask(peer, TASKS, start=cursor(ends[1]))
    node.hub.join(peer.session, wanted)
    node.settle()
    messages = peer.heard()
    assert kinds(messages) == ["subscribed", "subscribed", "reset", "up_to_date"]
    assert (messages[2]["reason"], "shape" in messages[2]) == ("other_history", False)


def test_equal_positions_are_one() -> None:
    node = Node()
    ends = node.fill_log()
    peer = node.open()
    node.join(peer, NOTES, TASKS, start=cursor(ends[0]))
    node.settle()
    assert lsns(peer.heard()) == ends[1:]


def test_a_session_that_moved_on_cannot_take_up_an_old_position_for_one_more_table() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    ends = node.fill_log()
    peer.take()
    node.join(peer, TASKS, start=cursor(ends[0]))
    node.settle()
    messages = peer.heard()
    assert kinds(messages) == ["subscribed", "reset", "up_to_date"]
    assert messages[1]["shape"] == messages[0]["shape"]
    node.deliver(transaction(0x900, NOTES.insert(1), TASKS.insert(1)))
    assert len(peer.heard()[0]["parts"]) == 2


def test_a_log_that_does_not_decode_holds_back_its_reader_alone() -> None:
    """Nobody had the table when the commit came, so nobody looked at its rows."""
    node = Node()
    relation, message = NOTES.insert(1)
    node.deliver(transaction(0x200, (relation, message[:-1])))
    unlucky, other = node.open("unlucky"), node.open("other")
    node.join(unlucky, NOTES, start=cursor(0x100, tag=""))
    node.join(other, TASKS)
    other.take()
    node.settle()
    assert kinds(other.heard()) == ["up_to_date"]
