"""Goal: a table that is altered without a word in the log ends the shapes that are named, at once.

Method: the hub is told, as by the shell that reads the catalog; sessions are live, behind, on a
stage, or away with a cursor.
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
from tidewire.core.shape.shape import ShapeId


def shape_of(peer: Peer, id: str = "notes") -> ShapeId:
    stages = dict(pair for stage in peer.session.stages for pair in stage.subscriptions())
    return {**peer.session.shapes, **stages}[id].id


def alter(node: Node, *shapes: ShapeId) -> None:
    node.hub.alter(NOTES.relation.oid, shapes)


def test_the_live_are_told_at_once_and_others_go_on() -> None:
    node = Node()
    both, tasks = node.live("b", NOTES, TASKS), node.live("t", TASKS)
    shape = shape_of(both)
    alter(node, shape)
    reset = {"type": "reset", "shape": shape, "reason": "schema_changed", "epoch": EPOCH}
    assert both.heard() == [reset]
    node.settle()
    node.deliver(transaction(0x200, NOTES.insert(1), TASKS.insert(1)))
    assert [lsns(peer.heard()) for peer in (both, tasks)] == [[0x200], [0x200]]
    assert list(both.session.shapes) == ["tasks"]
    assert len(node.hub.index) == 1


def test_who_is_behind_gets_no_commit_of_the_table_any_more() -> None:
    node = Node()
    peer = node.live("p", NOTES, TASKS)
    node.fill_window(peer)
    node.deliver(transaction(0x200, NOTES.insert(1)), transaction(0x210, TASKS.insert(2)))
    alter(node, shape_of(peer))
    node.acknowledge(peer)
    node.settle()
    messages = peer.heard()
    assert kinds(messages) == ["reset", "commit", "up_to_date"]
    assert lsns(messages) == [0x210]


@pytest.mark.parametrize("is_whole", [True, False])
def test_who_reads_a_copy_is_told_and_asks_for_another_one(is_whole: bool) -> None:
    node = Node()
    peer = node.open()
    node.join(peer, NOTES, initial=True)
    if is_whole:
        node.fill_window(peer)
        node.bring(NOTES, 1)
    alter(node, shape_of(peer))
    assert kinds(peer.heard())[-1] == "reset"
    assert (len(node.hub.copies), len(node.hub.index)) == (0, 0)
    node.join(peer, NOTES, initial=True)
    node.bring(NOTES, 2)
    node.acknowledge(peer)
    node.settle()
    assert [m["rows"] for m in peer.heard() if m["type"] == "snapshot"][-2:] == [[[2, "b"]], []]


def test_a_copy_that_nobody_reads_any_more_is_not_given_to_those_who_come_later() -> None:
    node = Node()
    peer = node.open()
    node.join(peer, NOTES, initial=True)
    old = node.bring(NOTES, 1)
    node.join(peer, TASKS, initial=True)
    alter(node, shape_of(peer))
    node.settle()
    assert old.is_dead
    assert not node.copy_of(TASKS).is_dead


def test_who_was_away_does_not_go_on_from_where_the_table_was_another_one() -> None:
    node = Node()
    node.deliver(transaction(0x200, NOTES.insert(1)), transaction(0x210, NOTES.insert(2)))
    alter(node)
    node.deliver(transaction(0x220, NOTES.insert(3)))
    told = {}
    for lsn in (0x200, 0x210, 0x220):
        late = node.open()
        node.join(late, NOTES, start=cursor(lsn))
        node.settle()
        told[lsn] = kinds(late.heard())
    assert told[0x200] == told[0x210] == ["welcome", "subscribed", "reset", "up_to_date"]
    assert told[0x220] == ["welcome", "subscribed", "up_to_date"]
    other = node.open()
    node.join(other, TASKS, start=cursor(0x200))
    node.settle()
    assert "reset" not in kinds(other.heard())


def test_another_history_knows_nothing_of_what_was_altered() -> None:
    node = Node()
    node.deliver(transaction(0x300, NOTES.insert(1)))
    alter(node)
    node.hub.restart("epoch-2", node.hub.history.floor)
    node.deliver(transaction(0x200, NOTES.insert(1)))
    peer = node.open()
    node.join(peer, NOTES, start=cursor(0x200, epoch="epoch-2"))
    node.settle()
    assert kinds(peer.heard()) == ["welcome", "subscribed", "up_to_date"]
