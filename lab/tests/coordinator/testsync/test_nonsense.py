"""Goal: whatever bytes come in, the server lives, and an agent beside them notices nothing.

Method: words of the protocols in any order, and frames with anything in them, from seeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from random import Random

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode

from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.testsync.wire import (
    PATIENCE_S,
    agent,
    basic,
    count_is,
    raw,
    request,
    server,
    shake_hands,
)

WORDS = (
    b"GET ", b"POST ", b"HEAD ", b"/tests/1", b"/register/1", b"/", b"?username=", b"%2e%2e/",
    b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/9\r\n", b"Host: x\r\n", b"\r\n", b"\r\n\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n",
    b"Connection: Upgrade\r\n", b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Authorization: Basic Og==\r\n",
    f"Authorization: {basic()}\r\n".encode(), b"\x00", b"\xff\xfe", b"a" * 70_000,
    b"5\r\nabcde\r\n", b"\x81\x85\0\0\0\0hello", b"\x88\x80\0\0\0\0", b"\x89\x80\0\0\0\0",
)  # fmt: skip
VALUES: tuple[object, ...] = (
    None, 0, -1, 2, 1.5, 10**30, "", "x", "wait_checkpoint", "update_data", "read_data", [], {},
    {"identifier": "x", "target_count": 3}, {"identifier": 5}, {"target_count": "2"},
)  # fmt: skip


async def nobody_is_disturbed(client: ClientConnection, http_url: str) -> None:
    await count_is(client, 1)
    assert (await request(http_url, "GET", "/health")).status == 200


@pytest.mark.parametrize("seed", range(4))
@on_loop
async def test_words_of_the_protocols_in_any_order(seed: int) -> None:
    random = Random(seed)
    async with server() as at, agent(at, 1) as client:
        for _ in range(100):
            words = b"".join(random.choice(WORDS) for _ in range(random.randrange(1, 14)))
            async with raw(random.choice([at.http_url, at.ws_url])) as (answers, writer):
                writer.write(words)
                writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    async with asyncio.timeout(PATIENCE_S):
                        await answers.read(100)
        await nobody_is_disturbed(client, at.http_url)


@pytest.mark.parametrize("seed", range(4))
@on_loop
async def test_frames_with_anything_in_them(seed: int) -> None:
    random = Random(seed)
    async with server() as at, agent(at, 1) as client:
        for _ in range(40):
            async with raw(at.ws_url) as (answers, writer):
                await shake_hands(answers, writer)
                writer.write(b"".join(any_frame(random) for _ in range(20)))
                if random.random() < 0.5:
                    writer.write_eof()
                    async with asyncio.timeout(PATIENCE_S):
                        with contextlib.suppress(ConnectionError):
                            await answers.read()
        await nobody_is_disturbed(client, at.http_url)


def any_frame(random: Random) -> bytes:
    message = {
        random.choice(["command", "COMMAND", "x"]): random.choice(VALUES),
        "content": random.choice(VALUES),
    }
    opcode = random.choice([Opcode.TEXT, Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG])
    data = json.dumps(message).encode()
    frame = Frame(opcode, data).serialize(mask=True)
    if random.random() < 0.02:
        at = random.randrange(len(frame))
        frame = frame[:at] + random.randbytes(1) + frame[at + 1 :]
    return frame
