"""Goal: a large commit goes in parts, whole, shared by equals, and does not hold up anybody.

Method: commits above the real bound, of long rows; parts are put together as a client would.
"""

from __future__ import annotations

from engine.tests.core.bench import (
    LONG,
    NOTES,
    TASKS,
    Message,
    Node,
    Peer,
    cursor,
    kinds,
    large_transaction,
    lsns,
    make_table,
    transaction,
)
from engine.tests.core.spool import MemorySpool
from tidewire import limits
from tidewire.core.protocol import frames

ROWS = 20


def whole(messages: list[Message]) -> list[list[int]]:
    """Put commits together as a client does; return the ids of the rows of each."""
    commits: list[list[int]] = []
    gathered: list[int] = []
    for message in messages:
        if message["type"] != "commit":
            continue
        if message.get("part") == 0:
            gathered = []
        rows = [change[1][0] for part in message["parts"] for change in part["changes"]]
        if "part" in message:
            gathered += rows
            rows = gathered
        if message.get("last", True):
            commits.append(rows)
            gathered = []
    return commits


def read(node: Node, peer: Peer) -> list[Message]:
    """Let a peer read until there is nothing more, acknowledging all the time."""
    messages: list[Message] = []
    while piece := peer.heard():
        messages += piece
        node.acknowledge(peer)
        node.settle()
    return messages


def test_a_large_commit_comes_in_parts_between_its_neighbours() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.deliver(
        transaction(0x200, NOTES.insert(100)),
        large_transaction(0x210, NOTES, rows=ROWS),
        transaction(0x220, NOTES.insert(101)),
    )
    node.settle()
    messages = read(node, peer)
    assert whole(messages) == [[100], list(range(ROWS)), [101]]
    parts = [(m["part"], m["last"], m["lsn"]) for m in messages if "part" in m]
    assert parts == [(i, i == len(parts) - 1, "0/210") for i in range(len(parts))]
    assert len(parts) > 2
    assert kinds(messages)[-1] == "up_to_date"
    assert peer.session.is_live


def test_no_part_is_much_larger_than_the_bound() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.deliver(large_transaction(0x200, NOTES, rows=100))
    node.settle()
    while frames_ := peer.take():
        assert all(len(f) <= limits.COMMIT_PART_BYTES + 2 * len(LONG) for f in frames_)
        node.acknowledge(peer)
        node.settle()
    assert peer.session.is_live


def test_a_commit_exactly_at_the_bound_goes_in_one_frame() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    spare = limits.COMMIT_PART_BYTES - transaction(0x200, NOTES.insert(1, "")).size
    node.deliver(transaction(0x200, NOTES.insert(1, "x" * spare)))
    (message,) = peer.heard()
    assert "part" not in message
    node.deliver(transaction(0x210, NOTES.insert(1, "x" * (spare + 1))))
    node.settle()
    assert "part" in peer.heard()[0]


def test_sessions_with_equal_shapes_share_the_parts() -> None:
    spool = MemorySpool()
    node = Node(spool)
    first, second, other = (
        node.live("a", NOTES),
        node.live("b", NOTES),
        node.live("c", NOTES, TASKS),
    )
    node.deliver(large_transaction(0x200, NOTES))
    node.settle()
    commits = [whole(read(node, peer)) for peer in (first, second, other)]
    assert commits == [[list(range(ROWS))]] * 3
    assert len(spool.files) == 2, "one for each set of shapes"


def test_a_large_commit_that_does_not_concern_a_session_sends_it_nothing() -> None:
    node = Node()
    peer = node.live("p", TASKS)
    node.deliver(large_transaction(0x200, NOTES), transaction(0x210, TASKS.insert(1)))
    node.settle()
    assert lsns(peer.heard()) == [0x210]
    assert peer.session.is_live


def middle(node: Node, *tables: object, extra: int = 60) -> Peer:
    """Return a peer in the middle of a large commit of `notes`."""
    peer = node.live("p", NOTES, TASKS)
    node.deliver(large_transaction(0x200, NOTES, rows=extra))
    node.settle()
    assert peer.session.part > 0
    assert not peer.session.is_live
    return peer


def test_the_window_stops_in_the_middle_of_a_large_commit_and_goes_on_there() -> None:
    node = Node()
    peer = middle(node)
    before = peer.heard()
    assert not any(message.get("last", True) for message in before if message["type"] == "commit")
    node.acknowledge(peer)
    node.settle()
    assert whole(before + read(node, peer)) == [list(range(60))]


def test_joining_in_the_middle_of_a_large_commit_begins_it_again() -> None:
    node = Node()
    peer = middle(node)
    before = peer.heard()
    node.join(peer, make_table("users", 3))
    node.acknowledge(peer)
    node.settle()
    messages = read(node, peer)
    assert next(m["part"] for m in messages if "part" in m) == 0
    assert whole(before + messages) == [list(range(60))]


def test_giving_up_in_the_middle_of_a_large_commit_begins_it_again_without_that_table() -> None:
    node = Node()
    peer = middle(node)
    peer.take()
    node.say(peer, frames.Unsubscribe(id="notes"))
    node.acknowledge(peer)
    node.settle()
    messages = read(node, peer)
    assert kinds(messages) == ["up_to_date"]
    node.deliver(transaction(0x300, TASKS.insert(1)))
    assert lsns(peer.heard()) == [0x300]


def test_who_falls_off_the_log_in_the_middle_of_a_large_commit_goes_on_at_its_end() -> None:
    node = Node(log_bytes=100_000)
    peer = middle(node)
    peer.take()
    node.deliver(transaction(0x300, NOTES.insert(1)))
    assert node.hub.history.first == 1
    node.acknowledge(peer)
    node.settle()
    assert kinds(peer.heard()) == ["reset", "up_to_date"]
    node.deliver(transaction(0x310, NOTES.insert(2)))
    assert whole(peer.heard()) == [[2]]


def test_another_history_in_the_middle_of_a_large_commit_leaves_nothing_of_it() -> None:
    node = Node()
    peer = middle(node)
    peer.take()
    node.hub.restart("epoch-2", node.hub.history.floor)
    node.acknowledge(peer)
    node.settle()
    peer.take()
    node.deliver(large_transaction(0x200, NOTES, rows=ROWS + 1))
    node.settle()
    assert whole(read(node, peer)) == [list(range(ROWS + 1))]


def test_a_full_spool_closes_the_sessions_that_need_it_and_no_other() -> None:
    spool = MemorySpool(bytes_max=limits.COMMIT_PART_BYTES)
    node = Node(spool)
    notes, tasks = node.live("n", NOTES), node.live("t", TASKS)
    node.deliver(large_transaction(0x200, NOTES))
    node.settle()
    assert (notes.closed_as, tasks.closed_as) == ("overloaded", None)
    node.deliver(transaction(0x210, TASKS.insert(1)))
    assert lsns(tasks.heard()) == [0x210]


def test_a_spool_that_makes_no_file_closes_the_reader_of_a_large_commit() -> None:
    node = Node(MemorySpool(bytes_max=0))
    peer = node.live("n", NOTES)
    node.deliver(large_transaction(0x200, NOTES))
    node.settle()
    assert peer.closed_as == "overloaded"


def test_a_table_that_changes_in_a_large_commit_ends_its_subscription_alone() -> None:
    node = Node()
    both, notes = node.live("b", NOTES, TASKS), node.live("n", NOTES)
    changed = make_table("notes", NOTES.relation.oid, ("id", "title"))
    node.deliver(large_transaction(0x200, changed, TASKS))
    node.settle()
    assert kinds(notes.heard()) == ["reset"]
    messages = read(node, both)
    assert messages[0]["reason"] == "schema_changed"
    assert whole(messages) == [list(range(ROWS))]
    assert list(both.session.shapes) == ["tasks"]


def test_a_large_commit_that_does_not_decode_is_never_told_as_whole() -> None:
    node = Node()
    peer, other = node.live("p", NOTES), node.live("o", TASKS)
    relation, message = NOTES.insert(ROWS, LONG)
    rows = [*large_transaction(0x200, NOTES, rows=ROWS).messages, (relation, message[:-1])]
    node.deliver(transaction(0x200, *rows), transaction(0x210, TASKS.insert(1)))
    for _ in range(4):
        node.settle()
        node.acknowledge(peer)
    assert whole(peer.heard()) == []
    assert lsns(other.heard()) == [0x210]


def test_who_comes_back_from_before_a_large_commit_gets_it_whole() -> None:
    node = Node()
    node.deliver(transaction(0x200, NOTES.insert(1)), large_transaction(0x210, NOTES))
    peer = node.open()
    node.join(peer, NOTES, start=cursor(0x200))
    node.settle()
    assert whole(read(node, peer)) == [list(range(ROWS))]
