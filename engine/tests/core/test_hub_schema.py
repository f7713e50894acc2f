"""Goal: a table that changes under its shapes ends those subscriptions, and disturbs nobody else.

Method: two versions of one relation; sessions that are live, behind, and in a large commit.
"""

from __future__ import annotations

from engine.tests.core.bench import (
    EPOCH,
    NOTES,
    TASKS,
    Node,
    cursor,
    kinds,
    lsns,
    make_table,
    transaction,
)

CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


def test_a_table_that_changed_ends_its_subscription_alone() -> None:
    node = Node()
    both, notes, tasks = node.live("b", NOTES, TASKS), node.live("n", NOTES), node.live("t", TASKS)
    name = both.session.shapes["notes"].id
    node.deliver(transaction(0x200, CHANGED.insert(1), TASKS.insert(1)))
    reset = {"type": "reset", "shape": name, "reason": "schema_changed", "epoch": EPOCH}
    assert notes.heard() == [reset]
    assert both.heard() == [reset], "and not a commit of which it would see half"
    assert lsns(tasks.heard()) == [0x200]
    assert (list(both.session.shapes), list(notes.session.shapes)) == (["tasks"], [])
    node.settle()
    first, *rest = both.heard()
    assert (first["type"], [len(p["changes"]) for p in first["parts"]]) == ("commit", [1])
    assert kinds(rest) == ["up_to_date"]
    node.deliver(transaction(0x210, CHANGED.insert(2), TASKS.insert(2)))
    assert [lsns(peer.heard()) for peer in (both, notes, tasks)] == [[0x210], [], [0x210]]
    assert len(node.hub.index) == 1


def test_a_table_that_changed_can_be_subscribed_to_as_it_is_now() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.deliver(transaction(0x200, CHANGED.insert(1)))
    node.join(peer, CHANGED)
    node.settle()
    node.deliver(transaction(0x210, CHANGED.insert(2)))
    messages = peer.heard()
    assert kinds(messages) == ["reset", "subscribed", "up_to_date", "commit"]
    assert messages[-1]["parts"][0]["shape"] != messages[0]["shape"]


def test_who_reads_from_before_a_change_does_not_disturb_those_who_are_behind_it() -> None:
    node = Node()
    node.deliver(transaction(0x200, NOTES.insert(1)), transaction(0x210, NOTES.insert(2)))
    node.deliver(transaction(0x220, CHANGED.insert(3)))
    live = node.live("live", CHANGED)
    late = node.open("late")
    node.join(late, CHANGED, start=cursor(0x200))
    node.settle()
    assert kinds(late.heard())[-1] == "reset"
    node.deliver(transaction(0x230, CHANGED.insert(4)))
    assert lsns(live.heard()) == [0x230]


def test_a_table_that_changed_in_the_log_ends_the_subscription_of_who_reads_it_later() -> None:
    node = Node()
    peer = node.live("p", NOTES, TASKS)
    node.fill_window(peer)
    node.deliver(transaction(0x200, NOTES.insert(1)), transaction(0x210, CHANGED.insert(2)))
    node.deliver(transaction(0x220, TASKS.insert(3)))
    node.acknowledge(peer)
    node.settle()
    messages = peer.heard()
    assert kinds(messages) == ["commit", "reset", "commit", "up_to_date"]
    assert lsns(messages) == [0x200, 0x220]


def test_who_goes_live_after_a_change_of_a_table_gets_the_next_commit_once() -> None:
    node = Node()
    peer = node.live("p", NOTES, TASKS)
    node.fill_window(peer)
    node.deliver(transaction(0x200, NOTES.insert(1)), transaction(0x210, CHANGED.insert(2)))
    node.acknowledge(peer)
    node.hub.turn()
    node.deliver(transaction(0x220, TASKS.insert(3)))
    node.hub.turn()
    assert lsns(peer.heard()) == [0x200, 0x220]


def test_who_reads_a_commit_of_a_table_that_changed_under_another_goes_on() -> None:
    node = Node()
    peer, other = node.live("p", TASKS), node.live("o", NOTES)
    node.fill_window(peer)
    node.fill_window(other)
    node.deliver(transaction(0x208, NOTES.insert(9)))
    assert not other.session.is_live
    node.deliver(transaction(0x210, CHANGED.insert(2), TASKS.insert(1)))
    node.acknowledge(peer)
    node.settle()
    assert kinds(peer.heard())[-2:] == ["commit", "up_to_date"]
    node.acknowledge(other)
    node.settle()
    assert kinds(other.heard())[-1] == "reset"
