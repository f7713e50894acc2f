"""Each message has one form on the wire: its type, its fields, and nothing that is not there.

Method: every frame to JSON and back; JSON as a later version may send it.
"""

from __future__ import annotations

import json

import msgspec
import pytest

from tidewire import limits
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import decode_client, decode_server, encode
from tidewire.errors import ProtocolError

START_OF_ALL = frames.From("e", "0/9", "a-1")
REQUEST = frames.ShapeRequest("a", "users", start=START_OF_ALL)
RESUME = frames.Resume("node.1", 3)
PART = frames.Part("s1", [["t"]])
FROM_CLIENT: list[tuple[frames.ClientFrame, dict[str, object]]] = [
    (frames.Hello(client="c"), {"type": "hello", "client": "c"}),
    (frames.Hello(client="c", token="t"), {"type": "hello", "client": "c", "token": "t"}),
    (
        frames.Subscribe(shapes=[frames.ShapeRequest("a", "users")]),
        {"type": "subscribe", "shapes": [{"id": "a", "table": "users"}]},
    ),
    (
        frames.Subscribe(shapes=[REQUEST]),
        {
            "type": "subscribe",
            "shapes": [
                {"id": "a", "table": "users", "from": {"epoch": "e", "lsn": "0/9", "tag": "a-1"}}
            ],
        },
    ),
    (
        frames.Subscribe(
            shapes=[
                frames.ShapeRequest(
                    "a", "users", columns=["id"], where="id > $1", params=[1, None], initial=False
                )
            ]
        ),
        {
            "type": "subscribe",
            "shapes": [
                {"id": "a", "table": "users", "columns": ["id"], "where": "id > $1"}
                | {"params": [1, None], "initial": False}
            ],
        },
    ),
    (
        frames.Subscribe(shapes=[frames.ShapeRequest("a", "users", resume=RESUME)]),
        {
            "type": "subscribe",
            "shapes": [{"id": "a", "table": "users", "resume": {"copy": "node.1", "chunk": 3}}],
        },
    ),
    (frames.Unsubscribe(id="a"), {"type": "unsubscribe", "id": "a"}),
    (frames.Wait(lsn="0/9"), {"type": "wait", "lsn": "0/9"}),
    (frames.Ack(n=2**53 - 1), {"type": "ack", "n": 2**53 - 1}),
    (frames.Ping(), {"type": "ping"}),
    (frames.Ping(t=5), {"type": "ping", "t": 5}),
]
FROM_SERVER: list[tuple[frames.ServerFrame, dict[str, object]]] = [
    (
        frames.Welcome(session="s", epoch="e", lsn="0/9", heartbeat_s=2.5, limits={"shapes": 3}),
        {"type": "welcome", "session": "s", "epoch": "e", "lsn": "0/9", "heartbeat_s": 2.5}
        | {"limits": {"shapes": 3}},
    ),
    (
        frames.Subscribed(
            id="a", shape="s1", table="t", key=["id"], columns=[("id", "int4")], mode="live"
        ),
        {"type": "subscribed", "id": "a", "shape": "s1", "table": "t", "key": ["id"]}
        | {"columns": [["id", "int4"]], "mode": "live"},
    ),
    (
        frames.Commit(lsn="0/9", at=1, xid=2, tag="1-2", parts=[PART]),
        {"type": "commit", "lsn": "0/9", "at": 1, "xid": 2, "tag": "1-2"}
        | {"parts": [{"shape": "s1", "changes": [["t"]]}]},
    ),
    (
        frames.Commit(lsn="0/9", at=1, xid=2, tag="1-2", parts=[PART], part=0, last=False),
        {"type": "commit", "lsn": "0/9", "at": 1, "xid": 2, "tag": "1-2", "part": 0, "last": False}
        | {"parts": [{"shape": "s1", "changes": [["t"]]}]},
    ),
    (
        frames.Commit(lsn="0/9", at=1, xid=2, tag="1-2", parts=[PART], stage=True),
        {"type": "commit", "lsn": "0/9", "at": 1, "xid": 2, "tag": "1-2", "stage": True}
        | {"parts": [{"shape": "s1", "changes": [["t"]]}]},
    ),
    (
        frames.Snapshot(shape="s1", copy="node.1", chunk=0, rows=[[1, None]]),
        {"type": "snapshot", "shape": "s1", "copy": "node.1", "chunk": 0, "rows": [[1, None]]},
    ),
    (
        frames.Snapshot(shape="s1", copy="node.1", chunk=7, rows=[], last=True),
        {"type": "snapshot", "shape": "s1", "copy": "node.1", "chunk": 7, "rows": [], "last": True},
    ),
    (frames.UpToDate(lsn="0/9", tag=""), {"type": "up_to_date", "lsn": "0/9", "tag": ""}),
    (
        frames.UpToDate(lsn="0/9", tag="", live=["a", "b"]),
        {"type": "up_to_date", "lsn": "0/9", "tag": "", "live": ["a", "b"]},
    ),
    (frames.Reset(reason="lagged", epoch="e"), {"type": "reset", "reason": "lagged", "epoch": "e"}),
    (
        frames.Reset(reason="schema_changed", epoch="e", shape="s1"),
        {"type": "reset", "reason": "schema_changed", "epoch": "e", "shape": "s1"},
    ),
    (frames.Error(code="c", text="t"), {"type": "error", "code": "c", "text": "t"}),
    (
        frames.Error(code="c", text="t", ref="a"),
        {"type": "error", "code": "c", "text": "t", "ref": "a"},
    ),
    (frames.Pong(t=0), {"type": "pong", "t": 0}),
]


@pytest.mark.parametrize(("frame", "written"), [*FROM_CLIENT, *FROM_SERVER])
def test_a_frame_is_written_without_what_is_not_there(
    frame: frames.Frame, written: dict[str, object]
) -> None:
    assert json.loads(encode(frame)) == written


@pytest.mark.parametrize(("frame", "written"), FROM_CLIENT)
def test_a_client_frame_is_read_back(frame: frames.ClientFrame, written: dict[str, object]) -> None:
    assert decode_client(json.dumps(written).encode()) == frame


@pytest.mark.parametrize(("frame", "written"), FROM_SERVER)
def test_a_server_frame_is_read_back(frame: frames.ServerFrame, written: dict[str, object]) -> None:
    assert decode_server(json.dumps(written)) == frame


@pytest.mark.parametrize(("frame", "written"), FROM_CLIENT)
def test_fields_of_a_later_version_are_ignored(
    frame: frames.ClientFrame, written: dict[str, object]
) -> None:
    assert decode_client(json.dumps({"later": [1], **written}).encode()) == frame


def test_every_message_of_the_protocol_is_tried_above() -> None:
    tried = {type(frame) for frame, _ in [*FROM_CLIENT, *FROM_SERVER]}
    assert tried == set(frames.Frame.__subclasses__())


@pytest.mark.parametrize(
    "value",
    [*(frame for frame, _ in [*FROM_CLIENT, *FROM_SERVER]), START_OF_ALL, REQUEST, RESUME, PART],
)
def test_nobody_alters_a_frame_that_is_on_its_way(value: msgspec.Struct) -> None:
    for field in value.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(value, field, None)


NAME = "n" * limits.NAME_CHARS
SHAPE = {"id": NAME, "table": NAME, "where": "x", "columns": ["a"], "params": [1, None, "b"]}
START = {"epoch": NAME, "lsn": "FFFFFFFF/FFFFFFFF", "tag": NAME}


def subscribe(*shapes: object) -> dict[str, object]:
    return {"type": "subscribe", "shapes": shapes}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "hello", "client": NAME},
        {"type": "unsubscribe", "id": NAME},
        {"type": "ack", "n": 0},
        {"type": "wait", "lsn": "FFFFFFFF/FFFFFFFF"},
        subscribe(SHAPE | {"where": "x" * limits.WHERE_CHARS}),
        subscribe(SHAPE | {"params": [1.5] * limits.PARAMS}),
        subscribe(SHAPE | {"columns": ["a"] * limits.COLUMNS}),
        subscribe(SHAPE | {"resume": {"copy": NAME, "chunk": 0}}),
        subscribe(*[SHAPE] * limits.SHAPES_PER_SESSION),
        subscribe(SHAPE | {"from": START}),
        subscribe(SHAPE | {"from": START | {"tag": ""}}),
    ],
)
def test_a_frame_at_its_limits_is_taken(frame: object) -> None:
    assert isinstance(decode_client(json.dumps(frame).encode()), msgspec.Struct)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "hello", "client": NAME + "n"},
        {"type": "hello", "client": ""},
        {"type": "hello"},
        {"type": "hello", "client": None},
        {"type": "unsubscribe", "id": ""},
        {"type": "ack", "n": -1},
        {"type": "ack", "n": 2**53},
        {"type": "ack", "n": 1.5},
        {"type": "ack", "n": "1"},
        {"type": "ack"},
        {"type": "ping", "t": -1},
        {"type": "wait"},
        {"type": "wait", "lsn": 9},
        {"type": "wait", "lsn": "FFFFFFFF/FFFFFFFFF"},
        subscribe(SHAPE | {"where": "x" * (limits.WHERE_CHARS + 1)}),
        subscribe(SHAPE | {"params": [1.5] * (limits.PARAMS + 1)}),
        subscribe(SHAPE | {"params": [[1]]}),
        subscribe(SHAPE | {"columns": ["a"] * (limits.COLUMNS + 1)}),
        subscribe(SHAPE | {"columns": [""]}),
        subscribe(SHAPE | {"initial": 1}),
        subscribe(SHAPE | {"resume": {"copy": "", "chunk": 0}}),
        subscribe(SHAPE | {"resume": {"copy": NAME + "n", "chunk": 0}}),
        subscribe(SHAPE | {"resume": {"copy": "c", "chunk": -1}}),
        subscribe(SHAPE | {"resume": {"copy": "c"}}),
        subscribe(),
        subscribe(*[SHAPE] * (limits.SHAPES_PER_SESSION + 1)),
        subscribe({"id": "a"}),
        subscribe(SHAPE | {"id": ""}),
        subscribe(SHAPE | {"table": NAME + "n"}),
        subscribe(SHAPE | {"from": START | {"lsn": "FFFFFFFF/FFFFFFFFF"}}),
        subscribe(SHAPE | {"from": START | {"epoch": ""}}),
        subscribe(SHAPE | {"from": START | {"tag": NAME + "n"}}),
        subscribe(SHAPE | {"from": {"epoch": "e", "lsn": "0/0"}}),
        subscribe(SHAPE | {"columns": "a"}),
    ],
)
def test_a_frame_beyond_its_limits_is_refused(frame: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_client(json.dumps(frame).encode())
    assert caught.value.code == "bad_frame"


def test_who_does_not_say_otherwise_wants_the_rows_that_are_there() -> None:
    frame = decode_client(json.dumps(subscribe({"id": "a", "table": "t"})).encode())
    assert isinstance(frame, frames.Subscribe)
    (request,) = frame.shapes
    assert (request.initial, request.start, request.resume) == (True, None, None)
    assert (request.columns, request.where, request.params) == (None, None, None)


def test_a_ping_without_a_time_has_time_zero() -> None:
    ping = decode_client(b'{"type":"ping"}')
    assert isinstance(ping, frames.Ping)
    assert ping.t == 0
