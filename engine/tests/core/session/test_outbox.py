"""Goal: a client never has more than its window unacknowledged, and acknowledging reopens it.

Method: the account is held against a plain list of what was sent, under any order of pushes,
acknowledgements and full sockets that Hypothesis can think of.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire import limits
from tidewire.core.session.outbox import Outbox
from tidewire.errors import ProtocolError

WINDOW = 4 * limits.WINDOW_MARK_BYTES
SIZES = st.integers(1, 3 * limits.WINDOW_MARK_BYTES)
PUSH = st.tuples(st.just("push"), SIZES)
ACK = st.tuples(st.just("ack"), st.integers(0, 100))
BLOCK = st.tuples(st.just("block"), st.integers(0, 1))


@given(st.lists(PUSH | ACK | BLOCK, max_size=60))
def test_no_more_than_window_and_one_message_is_under_way(steps: list[tuple[str, int]]) -> None:
    outbox, sizes, acked = Outbox(WINDOW), list[int](), 0
    for step, number in steps:
        if step == "ack":
            # A client acknowledges any number between what it said last and what it got.
            acked += (len(sizes) - acked) * number // 100
            outbox.acknowledge(acked)
        elif step == "block":
            outbox.block(bool(number))
        elif outbox.has_room:
            assert sum(sizes[acked:]) < WINDOW
            outbox.push_counted(bytes(number))
            sizes.append(number)
        assert (outbox.count, outbox.sent) == (len(sizes), sum(sizes))
    outbox.block(False)
    outbox.acknowledge(len(sizes))
    assert outbox.has_room, "a client that has acknowledged all always gets the next message"
    assert outbox.limit == outbox.sent + WINDOW, "and the whole window is open again"


@given(st.lists(SIZES, min_size=1, max_size=40), st.data())
def test_an_acknowledgement_opens_the_window_to_within_one_mark(
    sizes: list[int], data: st.DataObject
) -> None:
    outbox = Outbox(WINDOW)
    for size in sizes:
        outbox.push_counted(bytes(size))
    count = data.draw(st.integers(0, len(sizes)))
    outbox.acknowledge(count)
    exact = sum(sizes[:count]) + WINDOW
    assert exact - limits.WINDOW_MARK_BYTES < outbox.limit <= exact


@given(st.lists(st.tuples(SIZES, st.integers(1, 9)), min_size=1, max_size=40), st.data())
def test_of_frames_that_went_out_together_none_is_acknowledged_before_the_last(
    runs: list[tuple[int, int]], data: st.DataObject
) -> None:
    outbox, ends = Outbox(WINDOW), [(0, 0)]
    for size, count in runs:
        outbox.push_counted(bytes(size), count)
        ends.append((outbox.count, outbox.sent))
    acked = data.draw(st.integers(0, outbox.count))
    outbox.acknowledge(acked)
    exact = max(sent for count, sent in ends if count <= acked) + WINDOW
    assert exact - limits.WINDOW_MARK_BYTES < outbox.limit <= exact


@given(st.integers(0, 20), st.integers(0, 20), st.integers(-5, 30))
def test_an_acknowledgement_of_what_cannot_be_is_refused(sent: int, acked: int, said: int) -> None:
    outbox = Outbox()
    for _ in range(sent):
        outbox.push_counted(b"x")
    acked = min(sent, acked)
    outbox.acknowledge(acked)
    if acked <= said <= sent:
        outbox.acknowledge(said)
    else:
        with pytest.raises(ProtocolError, match=f"{said} acknowledged, {acked} to {sent} possible"):
            outbox.acknowledge(said)


def test_one_message_may_overshoot_the_window_and_the_next_waits() -> None:
    outbox = Outbox(100)
    had_room = []
    for size in (99, 1):
        had_room.append(outbox.has_room)
        outbox.push_counted(bytes(size))
    had_room.append(outbox.has_room)
    outbox.acknowledge(2)
    assert [*had_room, outbox.has_room] == [True, True, False, True], "exactly full is full"


def test_few_marks_stand_for_many_small_messages() -> None:
    outbox = Outbox()
    size = limits.WINDOW_MARK_BYTES // 100
    for _ in range(1_000):
        outbox.push_counted(bytes(size))
    assert len(outbox._marks) <= 1_000 * size // limits.WINDOW_MARK_BYTES


def test_messages_that_do_not_count_pass_a_full_window_in_order() -> None:
    outbox = Outbox(1)
    outbox.push_counted(b"counted")
    outbox.push(b"not counted")
    assert (outbox.count, outbox.sent, outbox.has_room) == (1, 7, False)
    assert outbox.take() == [b"counted", b"not counted"]
    assert outbox.take() == []


def test_a_full_socket_has_no_room_whatever_is_acknowledged() -> None:
    outbox = Outbox()
    outbox.block(True)
    assert (outbox.is_blocked, outbox.has_room) == (True, False)
    outbox.push_counted(b"x")
    outbox.acknowledge(1)
    assert not outbox.has_room
    outbox.block(False)
    assert (outbox.is_blocked, outbox.has_room) == (False, True)
