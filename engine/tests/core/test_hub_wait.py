"""Goal: who asks for a position is told as soon as all up to there was sent, and never before.

Method: the real hub with recorded connections, live, behind, ahead and staged.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    EPOCH,
    NOTES,
    TASKS,
    Message,
    Node,
    kinds,
    make_table,
    transaction,
)
from engine.tests.core.mirror import (
    Mirror,
    commit,
    connect,
    read_all,
    wants,
)
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames

CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


# --- being told of a position ---


def wait(node: Node, mirror: Mirror, lsn: int) -> list[Message]:
    node.say(mirror.peer, frames.Wait(lsn=f"0/{lsn:X}"))
    return mirror.read()


def told(lsn: int) -> list[tuple[str, str]]:
    return [("up_to_date", f"0/{lsn:X}")]


def heard(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message["type"], message.get("lsn", "")) for message in messages]


@pytest.mark.parametrize("is_live", [True, False])
def test_a_position_that_was_passed_is_told_at_once(is_live: bool) -> None:
    node = Node()
    mirror = connect(node)
    if is_live:
        node.join(mirror.peer, NOTES)
        read_all(node, mirror)
    commit(node, 0x200)
    node.hub.advance(Lsn(0x230))
    mirror.read()
    nudges = node.nudges
    assert heard(wait(node, mirror, 0x220)) == told(0x230)
    assert node.nudges == nudges + 1, "the stream is asked where it is"
    assert node.nudged_to == 0x220
    node.hub.advance(Lsn(0x240))
    assert mirror.read() == []
    assert not node.hub._waiting


def test_a_position_that_is_still_to_come_is_told_when_it_comes() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES)
    read_all(node, mirror)
    assert wait(node, mirror, 0x250) == []
    assert wait(node, mirror, 0x300) == []
    node.hub.advance(Lsn(0x24F))
    assert mirror.read() == []
    node.hub.advance(Lsn(0x250))
    assert heard(mirror.read()) == told(0x250)
    node.deliver(transaction(0x310, TASKS.insert(1)))
    assert heard(mirror.read()) == told(0x310)
    assert not node.hub._waiting


def test_who_waits_for_no_position_is_told_of_none() -> None:
    node = Node()
    mirror, other = connect(node), connect(node, "other")
    assert kinds(wait(node, mirror, 0)) == ["up_to_date"]
    node.say(mirror.peer, frames.Wait(lsn="nowhere"))
    assert [m["code"] for m in mirror.read()] == ["bad_lsn"]
    wait(node, mirror, 0x250)
    node.hub.advance(Lsn(0x250))
    assert (kinds(mirror.read()), other.read()) == (["up_to_date"], [])


def test_who_is_behind_is_told_of_a_position_when_it_has_read_that_far() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES)
    read_all(node, mirror)
    node.fill_window(mirror.peer)
    commit(node, 0x200, 0x210)
    assert wait(node, mirror, 0x205) == []
    node.hub.advance(Lsn(0x220))
    assert mirror.read() == []
    messages = read_all(node, mirror)
    assert heard(messages) == [("commit", "0/200"), ("commit", "0/210"), *told(0x220)]
    node.hub.advance(Lsn(0x230))
    assert mirror.read() == [], "once is enough"
    assert not node.hub._waiting


def test_who_is_ahead_is_told_of_a_position_when_the_node_is_there() -> None:
    node = Node()
    mirror = connect(node)
    start = frames.From(epoch=EPOCH, lsn="0/400", tag="")
    node.join(mirror.peer, NOTES, start=start)
    mirror.read()
    assert wait(node, mirror, 0x50) == []
    node.hub.advance(Lsn(0x400))
    node.settle()
    assert heard(mirror.read()) == told(0x400)


def test_who_is_staged_is_told_of_a_position_though_it_shows_nothing_yet() -> None:
    node = Node()
    mirror = wants(node)
    assert heard(wait(node, mirror, 0x80)) == told(0x100)
    node.bring(NOTES, 1)
    assert kinds(mirror.read()) == ["snapshot", "snapshot", "up_to_date"]


@pytest.mark.parametrize("answer", ["join", "refuse", "unsubscribe"])
def test_who_comes_back_is_told_of_no_position_before_it_is_clear_where_it_goes_on(
    answer: str,
) -> None:
    """It would take what it had missed for seen."""
    node = Node()
    commit(node, 0x200, 0x210)
    mirror = connect(node)
    start = frames.From(epoch=EPOCH, lsn="0/200", tag=transaction(0x200).tag)
    wanted = node.ask(mirror.peer, NOTES, start=start)
    assert wait(node, mirror, 0x210) == []
    node.hub.advance(Lsn(0x220))
    assert mirror.read() == []
    if answer == "join":
        node.hub.join(mirror.peer.session, wanted)
        node.settle()
        expected = [("subscribed", ""), ("commit", "0/210"), *told(0x220)]
    elif answer == "refuse":
        node.hub.refuse(mirror.peer.session, wanted[0][0], "unknown_table", "no")
        expected = [("error", ""), *told(0x220)]
    else:
        node.say(mirror.peer, frames.Unsubscribe(id="notes"))
        expected = told(0x220)
    assert heard(mirror.read()) == expected


def test_who_leaves_while_it_waits_is_forgotten() -> None:
    node = Node()
    mirror = connect(node)
    wait(node, mirror, 0x250)
    node.hub.leave(mirror.peer.session)
    assert not node.hub._waiting
    node.hub.advance(Lsn(0x250))
    assert mirror.read() == []
