"""Clients of three libraries follow the same commits, and nothing remains of those who leave.

Method: `websockets`, `aiohttp` and `picows` know nothing of our code; each speaks to the real
listener over TCP. What the server keeps is counted after hundreds of comings and goings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import aiohttp
import picows
import psutil
import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import Node, follower, running
from engine.tests.integration.peer import CLOSE, PROTOCOL, Message, frame, peer, words_of
from tidewire import limits
from tidewire.server.connection import Connection

NORMAL = (1000).to_bytes(2)


class Talker(Protocol):
    """One client library behind four verbs."""

    @property
    def pings(self) -> int: ...
    async def send(self, text: str) -> None: ...
    async def receive(self) -> str: ...
    async def close(self) -> int:
        """Close with 1000 and return the code with which the server answered."""
        ...


class CountingConnection(ClientConnection):
    """A connection that counts the pings that it answers."""

    pings = 0

    def process_event(self, event: Any) -> None:
        self.pings += getattr(event, "opcode", None) is Opcode.PING
        super().process_event(event)


class WebsocketsTalker:
    """The library `websockets`."""

    def __init__(self, websocket: CountingConnection) -> None:
        self._socket = websocket

    @property
    def pings(self) -> int:
        return self._socket.pings

    async def send(self, text: str) -> None:
        await self._socket.send(text)

    async def receive(self) -> str:
        return str(await self._socket.recv())

    async def close(self) -> int:
        await self._socket.close(1000)
        received = self._socket.protocol.close_rcvd
        assert received is not None
        return int(received.code)


@contextlib.asynccontextmanager
async def with_websockets(url: str) -> AsyncIterator[Talker]:
    async with websockets.connect(
        url, subprotocols=[Subprotocol(PROTOCOL)], create_connection=CountingConnection
    ) as websocket:
        assert isinstance(websocket, CountingConnection)
        assert websocket.subprotocol == PROTOCOL
        yield WebsocketsTalker(websocket)


class AiohttpTalker:
    """The library `aiohttp`; it would answer pings by itself, but then nobody could count them."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = websocket
        self.pings = 0

    async def send(self, text: str) -> None:
        await self._socket.send_str(text)

    async def receive(self) -> str:
        while (message := await self._socket.receive()).type is aiohttp.WSMsgType.PING:
            self.pings += 1
            await self._socket.pong(message.data)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return str(message.data)

    async def close(self) -> int:
        await self._socket.close(code=1000)
        assert self._socket.close_code is not None
        return self._socket.close_code


@contextlib.asynccontextmanager
async def with_aiohttp(url: str) -> AsyncIterator[Talker]:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url, protocols=[PROTOCOL], autoping=False) as websocket,
    ):
        assert websocket.protocol == PROTOCOL
        yield AiohttpTalker(websocket)


class PicowsTalker:
    """The library `picows`, which calls back."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[str] = asyncio.Queue()
        self.closed: asyncio.Queue[int] = asyncio.Queue()
        self.transport: Any = None
        self.pings = 0

    async def send(self, text: str) -> None:
        self.transport.send(picows.WSMsgType.TEXT, text.encode())

    async def receive(self) -> str:
        return await self.inbox.get()

    async def close(self) -> int:
        self.transport.send_close(picows.WSCloseCode.OK)
        return await self.closed.get()

    def take(self, transport: Any, message: Any) -> None:
        match message.msg_type:
            case picows.WSMsgType.PING:
                self.pings += 1
                transport.send_pong(message.get_payload_as_bytes())
            case picows.WSMsgType.CLOSE:
                self.closed.put_nowait(int(message.get_close_code()))
                transport.disconnect()
            case _:
                self.inbox.put_nowait(message.get_payload_as_utf8_text())


@contextlib.asynccontextmanager
async def with_picows(url: str) -> AsyncIterator[Talker]:
    talker = PicowsTalker()

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: Any, message: Any) -> None:
            talker.take(transport, message)

    talker.transport, _ = await picows.ws_connect(
        Listener,
        url,
        extra_headers={"Sec-WebSocket-Protocol": PROTOCOL},
        enable_auto_pong=False,
    )
    try:
        yield talker
    finally:
        talker.transport.disconnect()
        await talker.transport.wait_disconnected()


SHAPE = {"id": "1", "table": "words", "initial": False}
Connect = Callable[[str], AbstractAsyncContextManager[Talker]]
LIBRARIES = [with_websockets, with_aiohttp, with_picows]
each_library = pytest.mark.parametrize("connect", LIBRARIES)


async def follow(talker: Talker, client: str) -> None:
    await talker.send(json.dumps({"type": "hello", "client": client}))
    shapes = [SHAPE]
    await talker.send(json.dumps({"type": "subscribe", "shapes": shapes}))
    kinds: list[str] = []
    while "up_to_date" not in kinds:
        kinds.append(json.loads(await talker.receive())["type"])
    assert kinds == ["welcome", "subscribed", "up_to_date"]


async def commits(talker: Talker, count: int) -> list[Message]:
    found: list[Message] = []
    while len(found) < count:
        message = json.loads(await talker.receive())
        if message["type"] == "commit":
            found.append(message)
            await talker.send(json.dumps({"type": "ack", "n": len(found)}))
    return found


async def wait_freed(node: Node) -> None:
    await until(lambda: node.count_sessions() == 0, "the server frees the session")


@on_loop
async def test_three_libraries_follow_the_same_commits_in_order() -> None:
    async with running() as node, contextlib.AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(make(node.url)) for make in LIBRARIES]
        for number, talker in enumerate(talkers):
            await follow(talker, f"client-{number}")
        expected = [[f"{number}-{word}" for word in "ab"] for number in range(100)]
        for words in expected:
            node.commit(*words)
        seen = [await commits(talker, len(expected)) for talker in talkers]
        assert [words_of(message) for message in seen[0]] == expected
        assert seen[0] == seen[1] == seen[2]
        lsns = [int(message["lsn"].partition("/")[2], 16) for message in seen[0]]
        assert lsns == sorted(set(lsns))


@each_library
@on_loop
async def test_a_client_says_goodbye(connect: Connect) -> None:
    async with running() as node:
        async with connect(node.url) as talker:
            await follow(talker, "polite")
            assert await talker.close() == 1000
            await wait_freed(node)
        assert node.closed_as("normal") == 1


@each_library
@on_loop
async def test_a_silent_client_is_pinged_and_answers(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEARTBEAT_S", 0.0)  # silent from the first moment on
    async with running() as node, connect(node.url) as talker:
        await follow(talker, "silent")
        node.pass_time(0)
        (session,) = node.hub.sessions
        node.commit("after the ping")  # aiohttp looks at pings only while somebody reads
        await commits(talker, 1)
        await until(lambda: talker.pings == 1, "the ping comes")
        await talker.send(json.dumps({"type": "ping"}))  # behind the pong
        assert json.loads(await talker.receive()) == {"type": "pong", "t": 0}
        node.pass_time(limits.DEAD_S + 1)
        node.commit("still there")
        assert [words_of(message) for message in await commits(talker, 1)] == [["still there"]]
        assert session in node.hub.sessions


@on_loop
async def test_a_client_sends_more_than_we_take() -> None:
    # Goal: an ordinary library, still busy sending, learns why: 1009, and not a broken pipe.
    async with running() as node:
        async with websockets.connect(
            node.url, subprotocols=[Subprotocol(PROTOCOL)], compression=None
        ) as websocket:
            await websocket.send('{"type":"hello","client":"a"}')
            await websocket.recv()
            with contextlib.suppress(websockets.ConnectionClosed):
                await websocket.send("x" * (8 * limits.INBOUND_FRAME_BYTES))
            with pytest.raises(websockets.ConnectionClosed):
                await websocket.recv()
            assert websocket.close_code == 1009
        await wait_freed(node)
        assert node.closed_as("too_big") == 1


@on_loop
async def test_two_hundred_clients_come_and_go() -> None:
    # Goal: neither sessions nor shapes nor descriptors stay. Method: every second one vanishes.
    async with running() as node:
        async with follower(node):
            pass
        await wait_freed(node)
        descriptors = psutil.Process().num_fds()
        for _ in range(10):
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.TaskGroup() as tasks:
                    coming = [stack.enter_async_context(follower(node)) for _ in range(20)]
                    arrivals = [tasks.create_task(one) for one in coming]
                crowd = [arrival.result() for arrival in arrivals]
                node.commit("hello")
                for client in crowd:
                    assert await client.words(1) == ["hello"]
                for client in crowd[::2]:
                    client.write(frame(CLOSE, NORMAL))
                    assert await client.close_code() == 1000
        await wait_freed(node)
        assert len(node.hub.index) == 0
        assert node.metrics.connections_opened._value.get() == 201
        assert node.closed_as("lost") == 101
        assert node.closed_as("normal") == 100
        await until(lambda: psutil.Process().num_fds() <= descriptors, "descriptors are given back")
        assert node.listener.server_state.connections == set()


@on_loop
async def test_a_small_frame_does_not_wait_for_the_one_before() -> None:
    # Goal: no 40 ms of Nagle's algorithm against delayed acknowledgements, whatever the loop.
    async with running() as node, follower(node):
        (connection,) = node.listener.server_state.connections
        assert isinstance(connection, Connection)
        assert connection._transport is not None
        server_socket = connection._transport.get_extra_info("socket")
        assert server_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@on_loop
async def test_clients_vanish_in_the_middle_of_everything() -> None:
    # Goal: no step of a connection's life leaks when it is the last. Method: cut after each.
    async with running() as node:
        steps = [b"", b"GET /v1/sync HT", b"\x81", b'\x81\xfe\x00\x90\x00\x00\x00\x00{"type"']
        for step in steps:
            for is_open in (False, True):
                async with peer(node.port) as client:
                    if is_open:
                        await client.shake_hands()
                    client.write(step)
                    await client.drain()
        async with peer(node.port) as client:
            await client.shake_hands()
            client.send({"type": "hello", "client": "a"})
            client.send({"type": "subscribe", "shapes": [SHAPE]})
        await wait_freed(node)
        async with follower(node) as client:
            node.commit("the others go on")
            assert await client.words(1) == ["the others go on"]
