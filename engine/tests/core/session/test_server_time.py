"""Goal: a session that is silent, stalled or closed is dealt with when its time has come.

Method: time is a number that moves in steps; the session says when it wants to be woken.
"""

from __future__ import annotations

from engine.tests.core.bench import Peer
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.node import Node
from tidewire.core.session.server import ServerSession, State

NODE = Node("epoch-1", Lsn(0x1_0000_0002))
HELLO = b'{"type":"hello","client":"browser"}'


def opened(now: float = 0.0) -> Peer:
    peer = Peer(now=now)
    peer.session.receive(HELLO, now, NODE)
    peer.session.flush()
    peer.take()
    return peer


# --- time ---


def wake_until(session: ServerSession, end: float) -> None:
    """Wake the session at each of its deadlines up to `end`, as the watch does."""
    for _ in range(100):
        if session.deadline > end or session.state is not State.OPEN:
            return
        before = session.deadline
        session.wake(before)
        if session.deadline <= before:
            return  # it has aborted, and wants nothing more
    raise AssertionError("it asks to be woken over and over")


def test_who_does_not_say_hello_in_time_is_closed() -> None:
    peer = Peer(now=10.0)
    assert peer.session.deadline == 10.0 + limits.HELLO_S
    peer.session.wake(peer.session.deadline)
    assert peer.closed_as == "hello_timeout"


def test_a_peer_is_pinged_after_a_silent_heartbeat_and_dead_if_it_does_not_answer() -> None:
    peer = opened(now=10.0)
    assert peer.session.deadline == 10.0 + limits.HEARTBEAT_S
    peer.session.wake(10.0 + limits.HEARTBEAT_S)
    assert (peer.pings, peer.aborts) == (1, [])
    dead_at = 10.0 + limits.HEARTBEAT_S + limits.DEAD_S
    assert peer.session.deadline == dead_at
    peer.session.wake(dead_at - 1)
    assert (peer.pings, peer.aborts, peer.session.deadline) == (1, [], dead_at)
    peer.session.wake(dead_at)
    assert (peer.pings, peer.aborts) == (1, ["dead"])


def test_a_peer_that_answers_pings_lives_on() -> None:
    peer = opened()
    for _ in range(10):
        pings = peer.pings
        while peer.pings == pings:
            peer.session.wake(peer.session.deadline)
        peer.session.hear(peer.session.deadline - limits.DEAD_S + 1)
    assert peer.aborts == []
    now = peer.session.deadline
    peer.session.wake(now)
    assert peer.session.deadline == now - limits.DEAD_S + 1 + limits.HEARTBEAT_S


def test_a_peer_that_falls_silent_again_after_an_answer_gets_a_new_ping_before_it_is_dead() -> None:
    peer = opened()
    peer.session.wake(limits.HEARTBEAT_S)
    peer.session.hear(limits.HEARTBEAT_S + 1)
    peer.session.wake(2 * limits.HEARTBEAT_S + 1)
    assert (peer.pings, peer.aborts) == (2, [])


def test_a_busy_peer_is_never_pinged() -> None:
    peer = opened()
    for second in range(200):
        peer.session.hear(float(second))
        wake_until(peer.session, float(second))
    assert (peer.pings, peer.aborts) == (0, [])


def test_a_socket_that_takes_nothing_for_too_long_is_given_up() -> None:
    peer = opened()
    peer.session.stall(True, 1.0)
    for second in range(int(limits.STALLED_S) + 1):
        peer.session.hear(float(second))  # it talks, but it does not read
        wake_until(peer.session, float(second))
    assert peer.aborts == []
    peer.session.hear(limits.STALLED_S + 1)
    assert peer.session.deadline == limits.STALLED_S + 1
    wake_until(peer.session, limits.STALLED_S + 1)
    assert peer.aborts == ["stalled"]


def test_a_socket_that_drains_in_time_is_not_given_up() -> None:
    peer = opened()
    was_blocked = []
    for is_blocked, now in [(True, 0.0), (False, 59.0)]:
        peer.session.stall(is_blocked, now)
        was_blocked.append(peer.session.outbox.is_blocked)
    assert was_blocked == [True, False]
    peer.session.hear(60.0)
    wake_until(peer.session, 60.0 + limits.HEARTBEAT_S - 1)
    assert peer.aborts == []


def test_a_stall_moves_the_deadline_forward_when_the_ping_would_come_later() -> None:
    peer = opened()
    peer.session.hear(58.0)
    peer.session.wake(58.0)
    peer.session.stall(True, 0.0)
    assert peer.session.deadline == limits.STALLED_S


def test_a_closed_session_whose_peer_does_not_go_is_cut() -> None:
    peer = opened()
    peer.session.close("restart", "bye")
    peer.session.wake(100.0)
    assert peer.aborts == ["closed"]


# --- answers that nobody reads ---


def test_who_asks_and_asks_but_does_not_read_is_given_up() -> None:
    peer = opened()
    peer.session.stall(True, 1.0)
    for _ in range(limits.WINDOW_BYTES // 30_000):
        peer.session.refuse("bad_frame", "x" * 30_000)
    assert peer.closed_as is None
    peer.session.refuse("bad_frame", "x" * 60_000)
    assert peer.closed_as == "stalled"
