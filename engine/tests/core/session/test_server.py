"""Goal: the server's session does what the table of its module says, in every state.

Method: the table as a parametrised test over all frames and all states; then time, which is a
number that moves in steps.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.tests.core.bench import NOTES, TASKS, Peer
from engine.tests.core.spool import MemorySpool
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import text_frame
from tidewire.core.session.node import Node
from tidewire.core.session.server import State
from tidewire.core.session.stage import Reader, Stage
from tidewire.core.shape.shape import Shape, ShapeId
from tidewire.core.stream.copy import Copy

NODE = Node("epoch-1", Lsn(0x1_0000_0002))
HELLO = b'{"type":"hello","client":"browser"}'
SUBSCRIBE = b'{"type":"subscribe","shapes":[{"id":"a","table":"notes"}]}'
UNSUBSCRIBE = b'{"type":"unsubscribe","id":"a"}'
ACK = b'{"type":"ack","n":1}'
PING = b'{"type":"ping","t":5}'
WAIT = b'{"type":"wait","lsn":"1/A0"}'
REQUESTS: dict[bytes, Any] = {
    SUBSCRIBE: frames.Subscribe(shapes=[frames.ShapeRequest(id="a", table="notes")]),
    UNSUBSCRIBE: frames.Unsubscribe(id="a"),
    ACK: frames.Ack(n=1),
    WAIT: frames.Wait(lsn="1/A0"),
}
NONSENSE = [b'{"type":"nonsense"}', b"{", b"\xff"]
FRAMES = [HELLO, SUBSCRIBE, UNSUBSCRIBE, ACK, PING, WAIT, *NONSENSE]
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


@pytest.mark.parametrize(
    ("has_start", "is_staged", "mode"),
    [
        (False, False, "live"),
        (True, False, "catchup"),
        (False, True, "initial"),
        (True, True, "initial"),
    ],
)
def test_subscribed_names_the_shape_and_how_it_begins(
    has_start: bool, is_staged: bool, mode: str
) -> None:
    peer = opened()
    start = frames.From(epoch="e", lsn="0/1", tag="") if has_start else None
    request = frames.ShapeRequest(id="mine", table="notes", start=start)
    shape = Shape(ShapeId("s7"), NOTES.spec)
    peer.session.send_subscribed(request, shape, "f", is_staged=is_staged)
    assert flushed(peer) == [
        {
            "type": "subscribed",
            "id": "mine",
            "shape": "s7",
            "table": "public.notes",
            "key": ["id"],
            "columns": [["id", "int4"], ["body", "text"]],
            "mode": mode,
            "fingerprint": "f",
        }
    ]


def staged(*ids: str, shape: str = "s1") -> Stage:
    stage = Stage()
    reader = Reader(Shape(ShapeId(shape), NOTES.spec), Copy("c", MemorySpool().create))
    for id in ids:
        stage.add(id, reader)
    return stage


def test_subscriptions_on_a_stage_count_like_those_that_are_live() -> None:
    peer = opened()
    peer.session.shapes["live"] = Shape(ShapeId("s1"), NOTES.spec)
    half = limits.SHAPES_PER_SESSION // 2
    peer.session.stages += [staged("a", "b"), staged(*(f"s{i}" for i in range(half)))]
    assert peer.session.subscriptions == {"live", "a", "b", *(f"s{i}" for i in range(half))}
    assert not peer.session.reserve(asked("b"))
    for i in range(limits.SHAPES_PER_SESSION - half - 3):
        assert peer.session.reserve(asked(f"p{i}"))
    assert not peer.session.reserve(asked("one more"))
    assert [m["code"] for m in flushed(peer)] == ["id_in_use", "too_many"]
    assert peer.session.give_up("a")


def test_an_answer_settles_the_very_request_that_it_is_for() -> None:
    peer = opened()
    first, again = asked("a"), asked("a")
    assert peer.session.reserve(first)
    assert peer.session.settle(first)
    assert not peer.session.settle(first)
    assert peer.session.reserve(again)
    assert not peer.session.settle(first)
    assert peer.session.settle(again)


def test_a_session_may_go_back_while_a_cursor_waits_for_the_database_and_nothing_is_live() -> None:
    peer = opened()
    start = frames.From(epoch="e", lsn="0/1", tag="")
    may = [peer.session.may_go_back]
    peer.session.reserve(asked("a"))
    may.append(peer.session.may_go_back)
    peer.session.reserve(frames.ShapeRequest(id="b", table="notes", start=start))
    may.append(peer.session.may_go_back)
    peer.session.shapes["c"] = Shape(ShapeId("s1"), NOTES.spec)
    may.append(peer.session.may_go_back)
    assert may == [False, False, True, False]


def test_a_shape_that_joined_while_its_session_was_behind_begins_where_it_joined() -> None:
    session = opened().session
    session.shapes = {
        "n": Shape(ShapeId("s1"), NOTES.spec),
        "again": Shape(ShapeId("s1"), NOTES.spec),
        "t": Shape(ShapeId("s2"), TASKS.spec),
    }
    session.update_shape_ids()
    assert session.shapes_at(0) == {"s1", "s2"}
    session.since[ShapeId("s2")] = 5
    assert [session.shapes_at(number) for number in (4, 5)] == [{"s1"}, {"s1", "s2"}]


def test_who_takes_another_place_in_the_log_has_nothing_of_a_commit() -> None:
    session = opened().session
    session.number, session.part = 4, 2
    session.stand_at(4)
    assert (session.number, session.part, session.cut) == (4, 0, None)


# --- what the hub has it say ---


@pytest.mark.parametrize("is_of_shape", [False, True])
def test_a_reset_is_of_one_shape_or_of_all(is_of_shape: bool) -> None:
    peer = opened()
    shape = Shape(ShapeId("s7"), NOTES.spec) if is_of_shape else None
    peer.session.send_reset("lagged", "epoch-2", shape)
    reset = {"type": "reset", "reason": "lagged", "epoch": "epoch-2"}
    assert flushed(peer) == [reset | {"shape": "s7"} if is_of_shape else reset]


def test_a_session_without_a_socket_of_its_own_writes_to_its_outbox() -> None:
    peer = opened()
    peer.session._write_soon(text_frame(b"{}"))
    assert peer.heard() == [{}]


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
    session.initial.add("a")
    session.stages.append(staged("s"))
    session.waits.append(Lsn(1))
    session.since[ShapeId("s1")] = 1
    session.retire()
    assert (session.shapes, session.shape_ids, session.pending) == ({}, frozenset(), {})
    assert (session.stages, session.initial, session.waits) == ([], set(), [])
    assert (session.since, session.cut) == ({}, None)
    assert session.state is State.CLOSED
