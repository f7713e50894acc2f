"""Messages that no honest client sends: an `error` frame, or a close code, and nobody else notices.

Method: one connection is sent every kind of nonsense in turn, and has to answer a ping after each;
another one follows the table all the while. Time passes by `hub.tick`, never by waiting.
"""

from __future__ import annotations

import json

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import follower, running
from engine.tests.integration.peer import CLOSE, TEXT, Peer, frame, peer, text
from tidewire import limits

HELLO = {"type": "hello", "client": "peer"}
LONG = "x" * (limits.NAME_CHARS + 1)
NINES = b"9" * 10_000
DEEP = 100_000


def shape(id: str) -> dict[str, object]:
    """Ask for what is committed from now on."""
    return {"id": id, "table": "words", "initial": False}


def subscribe(**fields: object) -> bytes:
    """Write a subscription of one shape with some fields that are not as usual."""
    asked = {**shape("new"), **fields}
    given = {name: value for name, value in asked.items() if value is not None}
    return json.dumps({"type": "subscribe", "shapes": [given]}).encode()


BAD_MESSAGES = {
    "nothing": (b"", "bad_frame"),
    "no JSON": (b"hello?", "bad_frame"),
    "half of a JSON": (b'{"type":"ping"', "bad_frame"),
    "two messages": (b'{"type":"ping"}{"type":"ping"}', "bad_frame"),
    "a byte order mark": (b'\xef\xbb\xbf{"type":"ping"}', "bad_frame"),
    "an array": (b'[{"type":"ping"}]', "bad_frame"),
    "a number": (b"1", "bad_frame"),
    "null": (b"null", "bad_frame"),
    "no type": (b"{}", "bad_frame"),
    "a type that is a number": (b'{"type":7}', "bad_frame"),
    "an unknown type": (b'{"type":"publish"}', "unknown_type"),
    "a type of the server": (b'{"type":"commit"}', "unknown_type"),
    "a type with line ends": (b'{"type":"a\\n\' - at \\n"}', "unknown_type"),
    "hello again": (b'{"type":"hello","client":"a"}', "unexpected"),
    "no shapes": (b'{"type":"subscribe"}', "bad_frame"),
    "an empty list of shapes": (b'{"type":"subscribe","shapes":[]}', "bad_frame"),
    "shapes that are a text": (b'{"type":"subscribe","shapes":"words"}', "bad_frame"),
    "a shape without id": (subscribe(id=None), "bad_frame"),
    "a shape without table": (subscribe(table=None), "bad_frame"),
    "a table that is a number": (subscribe(table=5), "bad_frame"),
    "a table of no letters": (subscribe(table=""), "bad_frame"),
    "a table of too many letters": (subscribe(table=LONG), "bad_frame"),
    "a table with a NUL": (subscribe(table="wo\0rds"), "unknown_table"),
    "a table that is not there": (subscribe(table="missing"), "unknown_table"),
    "an id of too many letters": (subscribe(id=LONG), "bad_frame"),
    "half a surrogate pair": (subscribe(table="\ud800"), "bad_frame"),
    "a where that is a list": (subscribe(where=["a"]), "bad_frame"),
    "a start without tag": (subscribe(**{"from": {"epoch": "e", "lsn": "0/1"}}), "bad_frame"),
    "an unknown id": (b'{"type":"unsubscribe","id":"nobody"}', "unknown_id"),
    "an ack of what was not sent": (b'{"type":"ack","n":1}', "bad_ack"),
    "an ack below zero": (b'{"type":"ack","n":-1}', "bad_frame"),
    "an ack that is a text": (b'{"type":"ack","n":"1"}', "bad_frame"),
    "an ack of a fraction": (b'{"type":"ack","n":0.5}', "bad_frame"),
    "an ack beyond 2**53": (b'{"type":"ack","n":9007199254740993}', "bad_frame"),
    "an ack beyond every float": (b'{"type":"ack","n":1e999}', "bad_frame"),
    "ten thousand digits": (b'{"type":"ping","t":%b}' % NINES, "bad_frame"),
    "ten thousand digits anywhere": (
        b'{"type":"subscribe","shapes":[{"id":"n","table":"words","params":[%b]}]}' % NINES,
        "bad_frame",
    ),
    "deep brackets": (b"[" * DEEP, "bad_frame"),
    "deep brackets, closed": (
        b'{"type":"ping","x":%b%b}' % (b"[" * DEEP, b"]" * DEEP),
        "bad_frame",
    ),
    "deep braces": (b'{"type":"ping","x":' + b'{"a":' * DEEP, "bad_frame"),
    "deep parameters": (
        b'{"type":"subscribe","shapes":[{"id":"n","table":"words","params":' + b"[" * DEEP,
        "bad_frame",
    ),
}


async def open_peer(client: Peer) -> None:
    assert (await client.shake_hands()).status == 101
    client.send(HELLO)
    await client.messages_until("welcome")


@on_loop
async def test_a_client_talks_nonsense() -> None:
    async with running() as node, follower(node) as bystander, peer(node.port) as client:
        await open_peer(client)
        codes = {}
        for number, (kind, (payload, _)) in enumerate(BAD_MESSAGES.items()):
            client.write(frame(TEXT, payload) + text({"type": "ping", "t": number}))
            errors = [m["code"] for m in await client.messages_until("pong") if "code" in m]
            codes[kind] = errors[0] if errors else await client.error()
            node.commit(kind)
            assert await bystander.words(1) == [kind]
        assert codes == {kind: code for kind, (_, code) in BAD_MESSAGES.items()}
        assert node.count_sessions() == 2


@on_loop
async def test_ids_are_given_twice() -> None:
    async with running() as node, follower(node, "a") as client:
        client.send({"type": "subscribe", "shapes": [shape("a")]})
        assert (await client.message())["code"] == "id_in_use"
        twins = [
            shape("b"),
            shape("b"),
        ]
        client.send({"type": "subscribe", "shapes": twins})
        refused, accepted = await client.message(), await client.message()
        assert (refused["code"], refused["ref"]) == ("id_in_use", "b")
        assert (accepted["type"], accepted["id"]) == ("subscribed", "b")
        node.commit("lives on")
        assert await client.words(1) == ["lives on"]


@on_loop
async def test_a_client_wants_too_many_shapes() -> None:
    ids = [f"shape-{number}" for number in range(limits.SHAPES_PER_SESSION)]
    async with running() as node, follower(node, *ids) as client:
        client.send({"type": "subscribe", "shapes": [shape("more")]})
        refused = await client.message()
        assert (refused["code"], refused["ref"]) == ("too_many", "more")
        client.send({"type": "unsubscribe", "id": ids[0]})
        client.send({"type": "subscribe", "shapes": [shape("more")]})
        assert (await client.messages_until("subscribed"))[-1]["id"] == "more"
        shapes = [shape(f"other-{number}") for number in range(101)]
        client.send({"type": "subscribe", "shapes": shapes})
        assert (await client.messages_until("error"))[-1]["code"] == "bad_frame"


@on_loop
async def test_an_error_does_not_echo_a_megabyte() -> None:
    # Goal: what one frame makes the server write is bounded, for no window holds it back.
    async with running() as node, peer(node.port) as client:
        await open_peer(client)
        client.send({"type": "x" * 1_000_000})
        opcode, payload = await client.frame()
        assert opcode == TEXT
        assert len(payload) < 2_000, "the error repeats what it was sent"


@on_loop
async def test_the_first_frame_is_not_hello() -> None:
    firsts = [b'{"type":"ping"}', b"nonsense", b'{"type":"hello"}', b'{"type":"hello","client":""}']
    firsts += [
        b'{"type":"subscribe","shapes":[{"id":"1","table":"words","initial":false}]}',
        b'{"type":"ack","n":0}',
    ]
    async with running() as node:
        for first in firsts:
            async with peer(node.port) as client:
                await client.shake_hands()
                client.write(frame(TEXT, first) + text(HELLO))
                assert await client.close_code() == 4400
        assert node.closed_as("bad_hello") == len(firsts)


@on_loop
async def test_a_reason_is_long_and_in_any_script() -> None:
    # Goal: a close frame holds at most 125 bytes and whole signs, wherever the cut falls.
    async with running() as node:
        for shift in range(4):
            async with peer(node.port) as client:
                await client.shake_hands()
                client.send({"type": "a" * shift + "\N{FIRE}" * 100})
                opcode, payload = await client.frame()
                assert opcode == CLOSE
                assert 120 <= len(payload) - 2 <= limits.CLOSE_REASON_BYTES
                assert payload[2:].decode().rstrip("\N{FIRE}").endswith("'" + "a" * shift)


@on_loop
async def test_no_hello_comes() -> None:
    async with running() as node, follower(node) as bystander, peer(node.port) as client:
        await client.shake_hands()
        node.pass_time(limits.HELLO_S - 0.5)
        assert [session.closing for session in node.hub.sessions] == [None, None]
        node.pass_time(limits.HELLO_S + 0.1)
        assert await client.close_code() == 4408
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]
        assert node.closed_as("hello_timeout") == 1


@on_loop
async def test_pings_do_not_stand_for_hello() -> None:
    async with running() as node, peer(node.port) as client:
        await client.shake_hands()
        client.write(frame(9, b"x"))
        assert await client.frame() == (10, b"x")
        node.pass_time(limits.HELLO_S + 0.1)
        assert await client.close_code() == 4408


@on_loop
async def test_a_client_floods_us() -> None:
    async with running() as node, follower(node) as bystander, peer(node.port) as client:
        await open_peer(client)
        client.send(*([{"type": "ping", "t": 1}] * 2_000))
        assert await client.close_code() == 4429
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]
        await until(lambda: node.closed_as("flood") == 1)


@on_loop
async def test_a_burst_within_the_limit_is_no_flood() -> None:
    async with running() as node, peer(node.port) as client:
        await open_peer(client)
        client.send(*([{"type": "ping", "t": 1}] * (int(limits.INBOUND_FRAMES_BURST) - 1)))
        for _ in range(int(limits.INBOUND_FRAMES_BURST) - 1):
            assert await client.message() == {"type": "pong", "t": 1}


@on_loop
async def test_a_client_floods_us_with_pings_and_empty_fragments() -> None:
    # Goal: frames that are no messages cost the server work and memory as well, so they count.
    async with running() as node:
        for data in (frame(9, b"x" * 125), frame(0, b"", fin=False)):
            async with peer(node.port) as client:
                await open_peer(client)
                client.write(frame(TEXT, b"", fin=False) + data * 5_000)
                client.write(frame(0, b'{"type":"ping","t":5}'))
                opcode, payload = await client.frame()
                while opcode == 10:
                    opcode, payload = await client.frame()
                assert (opcode, payload[:2]) == (CLOSE, (4429).to_bytes(2))
