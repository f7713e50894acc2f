"""Frames as RFC 6455 has them, and every kind that breaks it, each with its answer.

Method: a peer on a bare socket sends the bytes; a bystander follows the table and has to see the
next commit after each of them.
"""

from __future__ import annotations

import asyncio
import json
import os

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import Node, follower, running
from engine.tests.integration.peer import BINARY, CLOSE, PING, PONG, TEXT, Peer, frame, peer, text
from tidewire import limits

HELLO = {"type": "hello", "client": "peer"}
MIB = 1 << 20
CONT = 0
NO_UTF8 = b'{"type":"ping","x":"\xff"}'
SPLIT_SIGN = '{"type":"hello","client":"€"}'.encode()
BAD_FRAMES = {
    "not masked": (1002, frame(TEXT, b"{}", is_masked=False)),
    "reserved bit 1": (1002, frame(TEXT, b"{}", reserved=4)),
    "reserved bit 2": (1002, frame(TEXT, b"{}", reserved=2)),
    "reserved bit 3": (1002, frame(TEXT, b"{}", reserved=1)),
    "reserved opcode 3": (1002, frame(3, b"{}")),
    "reserved opcode 7": (1002, frame(7, b"{}")),
    "reserved control opcode": (1002, frame(11, b"")),
    "control frame in fragments": (1002, frame(PING, b"x", fin=False)),
    "control frame of 126 bytes": (1002, frame(PING, b"x" * 126)),
    "continuation of nothing": (1002, frame(CONT, b"{}")),
    "new message inside a message": (1002, frame(TEXT, b"{", fin=False) + frame(TEXT, b"}")),
    "close inside a message": (1002, frame(TEXT, b"{", fin=False) + frame(CLOSE, b"\x03\xe8")),
    "close code 999": (1002, frame(CLOSE, (999).to_bytes(2))),
    "close code 1005": (1002, frame(CLOSE, (1005).to_bytes(2))),
    "close code 1006": (1002, frame(CLOSE, (1006).to_bytes(2))),
    "close code 5000": (1002, frame(CLOSE, (5000).to_bytes(2))),
    "close of one byte": (1002, frame(CLOSE, b"\x03")),
    "close reason that is not UTF-8": (1007, frame(CLOSE, b"\x03\xe8\xff")),
    "text that is not UTF-8": (1007, frame(TEXT, NO_UTF8)),
    "text that ends within a sign": (1007, frame(TEXT, "é".encode()[:1])),
    "fragments that are not UTF-8": (
        1007,
        frame(TEXT, NO_UTF8[:-3], fin=False) + frame(CONT, NO_UTF8[-3:]),
    ),
    "surrogates": (1007, frame(TEXT, b'"\xed\xa0\x80"')),
    "binary": (1003, frame(BINARY, b"{}")),
    "binary in fragments": (1003, frame(BINARY, b"\xff", fin=False) + frame(CONT, b"\xff")),
    "a byte too many": (1009, frame(TEXT, b" " * (MIB + 1))),
    "a header that promises 2**63 bytes": (1009, frame(TEXT, length=2**63 - 1)),
    "a length with its highest bit set": (1009, frame(TEXT, length=2**64 - 1)),
    "too many bytes over fragments": (
        1009,
        frame(TEXT, b" " * MIB, fin=False) + frame(CONT, b" ", fin=False) + frame(CONT, b""),
    ),
}


async def open_peer(client: Peer) -> None:
    assert (await client.shake_hands()).status == 101
    client.send(HELLO)
    await client.messages_until("welcome")


async def see_next(node: Node, bystander: Peer) -> None:
    node.commit("undisturbed")
    assert await bystander.words(1) == ["undisturbed"]


@on_loop
async def test_frames_break_the_rules() -> None:
    async with running() as node, follower(node) as bystander:
        codes = {}
        for kind, (_, data) in BAD_FRAMES.items():
            async with peer(node.port) as client:
                await open_peer(client)
                client.write(data)
                codes[kind] = await client.close_code()
            await until(lambda: node.count_sessions() == 1, f"the session is freed after: {kind}")
            await see_next(node, bystander)
        assert codes == {kind: code for kind, (code, _) in BAD_FRAMES.items()}
        assert node.closed_as("lost") == 0


@on_loop
async def test_what_follows_a_broken_frame_is_not_read() -> None:
    async with running() as node, peer(node.port) as client:
        await open_peer(client)
        client.write(frame(BINARY, b"") + text({"type": "ping", "t": 1}))
        assert (await client.frame())[0] == CLOSE
        client.write(text({"type": "ping", "t": 2}) + frame(CLOSE, b"\x03\xeb"))
        assert await client.end() == b""


@on_loop
async def test_a_message_of_exactly_the_limit_is_read() -> None:
    async with running() as node, peer(node.port) as client:
        await open_peer(client)
        message = b'{"type":"ping","t":1}'
        client.write(frame(TEXT, message.ljust(limits.INBOUND_FRAME_BYTES)))
        assert await client.message() == {"type": "pong", "t": 1}


@on_loop
async def test_every_close_code_that_is_allowed_is_echoed() -> None:
    async with running() as node:
        for code in (1000, 1001, 1008, 1011, 3000, 4999):
            async with peer(node.port) as client:
                await open_peer(client)
                client.write(frame(CLOSE, code.to_bytes(2) + b"bye"))
                assert await client.close_code() == code
        async with peer(node.port) as client:
            await open_peer(client)
            client.write(frame(CLOSE))
            assert await client.frame() == (CLOSE, b"")
            assert await client.end() == b""


@on_loop
async def test_text_comes_in_fragments_with_pings_between() -> None:
    # Goal: fragments join at any byte, even within a sign, and control frames may stand between.
    async with running() as node:
        for cut in range(len(SPLIT_SIGN) + 1):
            async with peer(node.port) as client:
                await client.shake_hands()
                client.write(frame(TEXT, SPLIT_SIGN[:cut], fin=False))
                client.write(frame(PING, b"%d" % cut) + frame(CONT, b"", fin=False))
                client.write(frame(CONT, SPLIT_SIGN[cut:]))
                opcodes = {(await client.frame())[0] for _ in range(2)}  # welcome and pong
                assert opcodes == {TEXT, PONG}
                assert [session.client for session in node.hub.sessions] == ["€"]
            await until(lambda: node.count_sessions() == 0)


@on_loop
async def test_bytes_come_one_by_one() -> None:
    async with running() as node, peer(node.port) as client:
        await client.shake_hands()
        for byte in text(HELLO) + frame(PING, b"p") + text({"type": "ping", "t": 3}):
            client.write(bytes((byte,)))
            await asyncio.sleep(0)  # the server, in the same loop, reads this byte alone
        assert (await client.message())["type"] == "welcome"
        assert await client.frame() == (PONG, b"p")
        assert await client.message() == {"type": "pong", "t": 3}


@on_loop
async def test_many_frames_come_in_one_segment() -> None:
    async with running() as node, peer(node.port) as client:
        await client.shake_hands()
        client.send(HELLO, *({"type": "ping", "t": number} for number in range(300)))
        await client.messages_until("welcome")
        answers = [await client.message() for _ in range(300)]
        assert [answer["t"] for answer in answers] == list(range(300))


@on_loop
async def test_a_ping_is_answered_with_its_payload() -> None:
    async with running() as node, peer(node.port) as client:
        await open_peer(client)
        for payload in (b"", b"x", os.urandom(125)):
            client.write(frame(PING, payload))
            assert await client.frame() == (PONG, payload)


@on_loop
async def test_a_pong_that_nobody_asked_for_is_no_fault() -> None:
    async with running() as node, follower(node) as client:
        client.write(frame(PONG, b"unasked"))
        await see_next(node, client)


@on_loop
async def test_frames_of_every_length_are_written() -> None:
    # Goal: the three forms of the length in our own framing. Method: payloads around its borders;
    # errors are the short ones: an id is in them twice, a line end counts an odd number of bytes.
    async with running() as node, follower(node) as client:
        sizes = []
        for id in [tail + "i" * length for length in range(40) for tail in ("x", "\n")]:
            client.send({"type": "unsubscribe", "id": id})
            opcode, payload = await client.frame()
            assert (opcode, json.loads(payload)["ref"]) == (TEXT, id)
            sizes.append(len(payload))
        node.commit("", "", "")
        await client.frame()
        node.commit("", "")
        await client.frame()
        node.commit("")  # from here on the positions have as many digits
        _, empty = await client.frame()
        for size in (65_534, 65_535, 65_536, 65_537, 300_000):
            node.commit("w" * (size - len(empty)))
            sizes.append(len((await client.frame())[1]))
        assert {125, 126, 127, 65_535, 65_536, 65_537} <= set(sizes)


@on_loop
async def test_a_client_promises_a_frame_and_dies() -> None:
    # Goal: half a frame, then silence, is a dead peer: pinged first, cut then, and forgotten.
    async with running() as node, follower(node) as bystander, peer(node.port) as client:
        await open_peer(client)
        client.write(text({"type": "ping", "t": 1})[:-3])
        await client.drain()
        node.pass_time(limits.HEARTBEAT_S + 1)
        assert await client.frame() == (PING, b"")
        assert await bystander.frame() == (PING, b"")
        bystander.write(frame(PONG))
        node.pass_time(limits.HEARTBEAT_S + 1 + limits.DEAD_S - 0.5)
        assert node.count_sessions() == 2
        (alive,) = (session for session in node.hub.sessions if session.shapes)
        alive.hear(alive.deadline)  # it goes on to answer in that future
        node.pass_time(limits.HEARTBEAT_S + 2 + limits.DEAD_S)
        await client.end()
        await until(lambda: node.closed_as("dead") == 1, "the peer is dead")
        await see_next(node, bystander)


@on_loop
async def test_a_large_frame_comes_slowly() -> None:
    # Goal: "no byte for this long" (limits.DEAD_S) means bytes, not whole frames. Method: bytes of
    # one frame come after the ping; a pong cannot, for it may not stand within a frame.
    async with running() as node, peer(node.port) as client:
        await open_peer(client)
        (session,) = node.hub.sessions
        before = session._heard_at - 1  # uvloop's clock may stand still for a millisecond
        session.hear(before)
        client.write(frame(TEXT, b" " * 1000, length=2000))
        await until(lambda: session._heard_at > before, "bytes were heard", timeout_s=1)
