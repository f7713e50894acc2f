"""Goal: the server's session does what the table of its module says, in every state.

Method: the table as a parametrised test over all frames and all states; then time, which is a
number that moves in steps.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.tests.core.bench import NOTES, Peer
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.session.server import Node, ServerSession, State
from tidewire.core.shape.shape import Shape, ShapeId

NODE = Node("epoch-1", Lsn(0x1_0000_0002))
HELLO = b'{"type":"hello","client":"browser"}'
SUBSCRIBE = b'{"type":"subscribe","shapes":[{"id":"a","table":"notes"}]}'
UNSUBSCRIBE = b'{"type":"unsubscribe","id":"a"}'
ACK = b'{"type":"ack","n":1}'
PING = b'{"type":"ping","t":5}'
REQUESTS: dict[bytes, Any] = {
    SUBSCRIBE: frames.Subscribe(shapes=[frames.ShapeRequest(id="a", table="notes")]),
    UNSUBSCRIBE: frames.Unsubscribe(id="a"),
    ACK: frames.Ack(n=1),
}
FRAMES = [HELLO, SUBSCRIBE, UNSUBSCRIBE, ACK, PING, b'{"type":"nonsense"}', b"{", b"\xff"]
# In the state OPEN: what is answered (type and code), if anything.
ANSWERS = {
    HELLO: ("error", "unexpected"),
    PING: ("pong", None),
    b'{"type":"nonsense"}': ("error", "unknown_type"),
    b"{": ("error", "bad_frame"),
    b"\xff": ("error", "bad_frame"),
}


def opened(now: float = 0.0) -> Peer:
    peer = Peer(now=now)
    peer.session.receive(HELLO, now, NODE)
    peer.session.flush()
    peer.take()
    return peer


def flushed(peer: Peer) -> list[dict[str, Any]]:
    peer.session.flush()
    return peer.heard()


# --- the table ---


@pytest.mark.parametrize("frame", FRAMES[1:])
def test_anything_but_hello_closes_a_session_that_is_opening(frame: bytes) -> None:
    peer = Peer()
    assert peer.session.receive(frame, 0.0, NODE) is None
    assert (peer.session.state, peer.closed_as) == (State.CLOSED, "bad_hello")
    assert peer.flushes, "the shell is told"
    assert peer.heard() == []


def test_hello_opens_the_session() -> None:
    peer = Peer("name-of-session")
    assert peer.session.receive(HELLO, 0.0, NODE) is None
    assert (peer.session.state, peer.session.client) == (State.OPEN, "browser")
    assert flushed(peer) == [
        {
            "type": "welcome",
            "session": "name-of-session",
            "epoch": "epoch-1",
            "lsn": "1/2",
            "heartbeat_s": limits.HEARTBEAT_S,
            "limits": {
                "window_bytes": limits.WINDOW_BYTES,
                "frame_bytes": limits.INBOUND_FRAME_BYTES,
                "shapes": limits.SHAPES_PER_SESSION,
            },
        }
    ]


@pytest.mark.parametrize("frame", FRAMES)
def test_an_open_session_answers_or_asks_the_hub_and_lives_on(frame: bytes) -> None:
    peer = opened()
    peer.session.outbox.push_counted(b"")
    peer.session.outbox.take()
    assert peer.session.receive(frame, 0.0, NODE) == REQUESTS.get(frame)
    answer = [(m["type"], m.get("code")) for m in flushed(peer)]
    assert answer == ([ANSWERS[frame]] if frame in ANSWERS else [])
    assert (peer.session.state, peer.closed_as) == (State.OPEN, None)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_closed_session_does_not_listen(frame: bytes) -> None:
    peer = opened()
    peer.session.close("restart", "bye")
    assert peer.session.receive(frame, 0.0, NODE) is None
    assert flushed(peer) == []
    assert peer.closed_as == "restart"


def test_a_ping_is_answered_with_its_own_number() -> None:
    peer = opened()
    peer.session.receive(PING, 0.0, NODE)
    assert flushed(peer) == [{"type": "pong", "t": 5}]


def test_an_acknowledgement_moves_the_window() -> None:
    peer = opened()
    peer.session.outbox.push_counted(bytes(limits.WINDOW_BYTES))
    assert not peer.session.outbox.has_room
    peer.session.receive(ACK, 0.0, NODE)
    assert peer.session.outbox.has_room


def test_a_bad_acknowledgement_is_an_error_and_the_session_lives_on() -> None:
    peer = opened()
    assert peer.session.receive(ACK, 0.0, NODE) is None
    peer.session.flush()
    assert [message["code"] for message in peer.heard()] == ["bad_ack"]
    assert peer.session.state is State.OPEN


@pytest.mark.parametrize("is_open", [False, True])
def test_a_flood_closes_in_every_state_and_time_makes_up_for_it(is_open: bool) -> None:
    peer = opened() if is_open else Peer()
    burst = int(limits.INBOUND_FRAMES_BURST)
    if is_open:
        burst -= 1  # hello was one
        for _ in range(burst):
            peer.session.receive(PING, 0.0, NODE)
        # An hour of silence saves up no more than one burst.
        for _ in range(int(limits.INBOUND_FRAMES_BURST)):
            peer.session.receive(PING, 3_600.0, NODE)
        assert peer.session.state is State.OPEN
        half = int(limits.INBOUND_FRAMES_PER_S / 2)
        for _ in range(half):
            peer.session.receive(PING, 3_600.5, NODE)
        assert peer.session.state is State.OPEN
        assert peer.session.receive(SUBSCRIBE, 3_600.5, NODE) is None
    else:
        # A session that is opening gets no second frame: its bucket is emptied by hand.
        peer.session._tokens = 0.5
        peer.session.receive(HELLO, 0.0, NODE)
    assert (peer.session.state, peer.closed_as) == (State.CLOSED, "flood")


# --- hello ---


@pytest.mark.parametrize(
    ("is_authenticated", "hello", "closed_as"),
    [
        (True, b'{"type":"hello","client":"c"}', None),
        (True, b'{"type":"hello","client":"c","token":"wrong"}', None),
        (False, b'{"type":"hello","client":"c","token":"secret"}', None),
        (False, b'{"type":"hello","client":"c","token":"wrong"}', "unauthorized"),
        (False, b'{"type":"hello","client":"c"}', "unauthorized"),
    ],
)
def test_who_has_not_shown_a_token_shows_it_in_hello(
    is_authenticated: bool, hello: bytes, closed_as: str | None
) -> None:
    peer = Peer(is_authenticated=is_authenticated)
    peer.session.receive(hello, 0.0, NODE)
    assert peer.closed_as == closed_as
    assert peer.session.state is (State.CLOSED if closed_as else State.OPEN)
    assert len(flushed(peer)) == (0 if closed_as else 1)


# --- shapes ---


def asked(id: str) -> frames.ShapeRequest:
    return frames.ShapeRequest(id=id, table="notes")


def test_an_id_is_taken_while_its_subscription_is_in_the_making_and_after() -> None:
    peer = opened()
    assert peer.session.reserve(asked("a"))
    assert not peer.session.reserve(asked("a"))
    del peer.session.pending["a"]
    peer.session.shapes["a"] = Shape(ShapeId("s1"), NOTES.spec)
    assert not peer.session.reserve(asked("a"))
    refusals = [(m["code"], m["ref"]) for m in flushed(peer)]
    assert refusals == [("id_in_use", "a")] * 2


def test_a_session_has_a_limited_number_of_shapes_pending_ones_included() -> None:
    peer = opened()
    shape = Shape(ShapeId("s1"), NOTES.spec)
    half = limits.SHAPES_PER_SESSION // 2
    peer.session.shapes.update({f"s{i}": shape for i in range(half)})
    assert all(
        peer.session.reserve(asked(f"p{i}")) for i in range(limits.SHAPES_PER_SESSION - half)
    )
    assert flushed(peer) == []
    assert not peer.session.reserve(asked("one more"))
    assert [(m["code"], m["ref"]) for m in flushed(peer)] == [("too_many", "one more")]


def test_giving_up_concerns_the_hub_only_if_it_has_the_shape() -> None:
    peer = opened()
    peer.session.reserve(asked("pending"))
    peer.session.shapes["joined"] = Shape(ShapeId("s1"), NOTES.spec)
    assert not peer.session.give_up("pending")
    assert not peer.session.pending
    assert flushed(peer) == []
    assert peer.session.give_up("joined")
    assert flushed(peer) == []
    assert not peer.session.give_up("unknown")
    assert [(m["code"], m["ref"]) for m in flushed(peer)] == [("unknown_id", "unknown")]


@pytest.mark.parametrize("has_start", [False, True])
def test_subscribed_names_the_shape_and_how_it_begins(has_start: bool) -> None:
    peer = opened()
    start = frames.From(epoch="e", lsn="0/1", tag="") if has_start else None
    request = frames.ShapeRequest(id="mine", table="notes", start=start)
    peer.session.send_subscribed(request, Shape(ShapeId("s7"), NOTES.spec))
    assert flushed(peer) == [
        {
            "type": "subscribed",
            "id": "mine",
            "shape": "s7",
            "table": "public.notes",
            "key": ["id"],
            "columns": [["id", "int4"], ["body", "text"]],
            "mode": "catchup" if has_start else "live",
        }
    ]


# --- the end ---


def test_the_first_reason_to_close_is_the_one_that_is_told() -> None:
    peer = opened()
    peer.session.close("overloaded", "first")
    peer.session.close("restart", "second")
    assert peer.closed_as == "overloaded"
    assert peer.session.closing is not None
    assert peer.session.closing[1] == "first"


def test_a_retired_session_holds_nothing() -> None:
    peer = opened()
    session = peer.session
    session.reserve(asked("p"))
    session.shapes["a"] = Shape(ShapeId("s1"), NOTES.spec)
    session.shape_ids = frozenset({ShapeId("s1")})
    session.retire()
    held = (session.shapes, session.shape_ids, session.pending, session.cut)
    assert held == ({}, frozenset(), {}, None)
    assert session.state is State.CLOSED


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
