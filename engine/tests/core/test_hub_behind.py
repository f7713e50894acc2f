"""Goal: who cannot take a commit, or comes back, reads the log: every commit once and in order.

Method: the real hub with recorded connections; turns run when the test says so.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    EPOCH,
    NOTES,
    TASKS,
    Node,
    cursor,
    kinds,
    lsns,
    transaction,
)
from tidewire import limits
from tidewire.core.protocol import frames

# --- slow readers ---


@pytest.mark.parametrize("is_blocked", [False, True])
def test_a_slow_session_falls_behind_alone_and_comes_back_without_a_gap(is_blocked: bool) -> None:
    node = Node()
    slow, quick = node.live("slow", NOTES), node.live("quick", NOTES)
    if is_blocked:
        node.hub.stall(slow.session, True, 0.0)
    else:
        node.fill_window(slow)
    ends = node.fill_log()
    node.settle()
    assert lsns(quick.heard()) == ends
    assert slow.heard() == []
    assert (slow.session.is_live, quick.session.is_live) == (False, True)
    if is_blocked:
        node.hub.stall(slow.session, False, 1.0)
    else:
        node.acknowledge(slow)
    assert node.turns_wanted, "room wakes it"
    node.settle()
    messages = slow.heard()
    assert lsns(messages) == ends
    assert kinds(messages) == ["commit"] * len(ends) + ["up_to_date"]
    assert messages[-1]["lsn"] == f"0/{ends[-1]:X}"
    assert slow.session.is_live
    node.deliver(transaction(0x900, NOTES.insert(1)))
    assert lsns(slow.heard()) == [0x900]


def test_who_reads_the_log_is_sent_what_was_encoded_for_the_live() -> None:
    node = Node()
    slow, quick = node.live("slow", NOTES), node.live("quick", NOTES)
    node.fill_window(slow)
    node.fill_log(1)
    node.acknowledge(slow)
    node.settle()
    assert slow.take()[0] is quick.take()[0]


def test_the_window_stops_a_reader_of_the_log_and_each_acknowledgement_lets_it_go_on() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.fill_window(peer)
    body = "x" * (limits.WINDOW_BYTES // 5)
    ends = [0x200 + i for i in range(20)]
    node.deliver(*(transaction(end, NOTES.insert(end, body)) for end in ends))
    got: list[int] = []
    for _ in range(5):
        node.acknowledge(peer)
        node.settle()
        piece = lsns(peer.heard())
        assert len(piece) <= 5, "a window and one message"
        got += piece
    assert got == ends
    assert peer.session.is_live


def test_a_long_log_is_read_in_bounded_turns() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.fill_window(peer)
    ends = [0x200 + i for i in range(2 * limits.CATCHUP_COMMITS + 1)]
    node.deliver(transaction(0x1FF, NOTES.insert(1)))
    node.deliver(*(transaction(end, TASKS.insert(1)) for end in ends))
    node.deliver(transaction(0x8000, NOTES.insert(2)))
    node.acknowledge(peer)
    node.turns_wanted = 0
    node.hub.turn()
    assert not peer.session.is_live
    assert node.turns_wanted == 1
    node.settle()
    assert lsns(peer.heard()) == [0x1FF, 0x8000]
    assert peer.session.is_live


def test_a_resumed_reader_of_a_long_log_shares_the_turns_with_others() -> None:
    node = Node()
    count = 2 * limits.CATCHUP_COMMITS + 1
    node.deliver(*(transaction(0x200 + i, NOTES.insert(1)) for i in range(count)))
    peer = node.open()
    node.join(peer, NOTES, start=cursor(0x100, tag=""))
    sizes = []
    while node.turns_wanted:
        node.turns_wanted = 0
        node.hub.turn()
        sizes.append(len(lsns(peer.heard())))
    assert sum(sizes) == count
    assert max(sizes) < 2 * limits.CATCHUP_COMMITS, "what one turn begins with and one run"


def test_one_turn_is_asked_for_however_many_sessions_wait() -> None:
    node = Node()
    for i in range(3):
        node.join(node.open(f"{i}"), NOTES)
    assert node.turns_wanted == 1


def test_an_acknowledgement_that_opens_no_room_sends_nothing() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.fill_window(peer)
    node.fill_log()
    node.say(peer, frames.Ack(n=0))
    node.settle()
    assert lsns(peer.heard()) == []


def test_acknowledging_while_live_asks_for_no_turn() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.fill_log()
    node.acknowledge(peer)
    assert node.turns_wanted == 0


def test_who_falls_off_the_log_is_told_and_goes_on_at_its_end() -> None:
    node = Node(log_bytes=4_000)
    peer = node.live("p", NOTES)
    node.fill_window(peer)
    node.fill_log(20)
    assert node.hub.history.first > 0
    node.acknowledge(peer)
    node.settle()
    lagged, up_to_date = peer.heard()
    assert lagged == {"type": "reset", "reason": "lagged", "epoch": EPOCH}
    assert (up_to_date["type"], up_to_date["lsn"]) == ("up_to_date", "0/330")
    node.deliver(transaction(0x900, NOTES.insert(1)))
    assert lsns(peer.heard()) == [0x900]


def test_subscribing_while_behind_loses_nothing_of_the_first_table() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.fill_window(peer)
    ends = node.fill_log()
    node.join(peer, TASKS)
    node.deliver(transaction(0x900, NOTES.insert(1), TASKS.insert(1)))
    node.acknowledge(peer)
    node.settle()
    messages = peer.heard()
    assert lsns(messages) == [*ends, 0x900]
    assert [len(m["parts"]) for m in messages if m["type"] == "commit"] == [1] * len(ends) + [2]


def test_giving_up_a_table_while_behind_loses_nothing_of_the_other() -> None:
    node = Node()
    peer = node.live("p", NOTES, TASKS)
    node.fill_window(peer)
    node.fill_log()
    node.deliver(transaction(0x900, NOTES.insert(1), TASKS.insert(1)))
    node.say(peer, frames.Unsubscribe(id="notes"))
    node.acknowledge(peer)
    node.settle()
    messages = peer.heard()
    assert lsns(messages) == [0x900]
    assert len(messages[0]["parts"]) == 1


def test_a_closed_session_reads_no_further() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.fill_window(peer)
    node.fill_log()
    node.acknowledge(peer)
    peer.session.close("restart", "bye")
    node.settle()
    assert peer.heard() == []


def test_a_live_session_whose_socket_is_full_stays_live_until_a_commit_comes() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.hub.stall(peer.session, True, 0.0)
    node.hub.stall(peer.session, False, 1.0)
    assert (peer.session.is_live, node.turns_wanted) == (True, 0)
