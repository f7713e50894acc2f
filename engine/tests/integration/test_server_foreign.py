"""Our path, the WebSockets of others and plain HTTP live on one port.

Method: an ASGI application with an echo of its own stands around ours, and uvicorn serves it; other
libraries talk to it while our path is busy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import websockets
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import follower, running
from engine.tests.integration.peer import PING, PONG, TEXT, frame, peer
from tidewire.server.app import App
from tidewire.server.scope import Receive, Scope, Send


def with_echo(app: App) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Mount an echo beside our application."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or scope["path"] != "/echo":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            content = {name: event[name] for name in ("text", "bytes") if name in event}
            await send({"type": "websocket.send", **content})

    return serve


@on_loop
async def test_another_path_speaks_its_own_protocol() -> None:
    async with running(wrap=with_echo) as node:
        url = f"ws://127.0.0.1:{node.port}/echo?x=/v1/sync"
        async with websockets.connect(url) as socket:
            for content in ("text", b"binary is no fault here", "é" * 100_000, ""):
                await socket.send(content)
                assert await socket.recv() == content
            await (await socket.ping(b"hello"))
            assert node.count_sessions() == 0
        assert socket.close_code == 1000


@on_loop
async def test_another_path_works_while_ours_is_busy() -> None:
    words = [f"word {number}" for number in range(200)]
    async with running(wrap=with_echo) as node, follower(node) as client:
        async with websockets.connect(f"ws://127.0.0.1:{node.port}/echo") as socket:
            for word in words:
                node.commit(word)
                await socket.send(word)
                assert await socket.recv() == word
        assert await client.words(len(words)) == words


@on_loop
async def test_another_path_takes_more_than_its_socket() -> None:
    # Goal: flow control reaches uvicorn through us. Method: echoes that nobody reads at first.
    messages = [b"%d:" % number + b"e" * 50_000 for number in range(20)]
    async with (
        running(wrap=with_echo, send_buffer_bytes=4096) as node,
        peer(node.port, receive_buffer_bytes=4096) as client,
    ):
        assert (await client.shake_hands(path="/echo")).status == 101
        client.pause()
        (connection,) = node.listener.server_state.connections
        assert isinstance(connection, WebSocketsSansIOProtocol)
        client.write(b"".join(frame(TEXT, message) for message in messages))
        await until(lambda: not connection.writable.is_set(), "uvicorn is told to pause")
        await client.drain()
        client.resume()
        assert [(await client.frame())[1] for _ in messages] == messages
        await until(connection.writable.is_set, "uvicorn is told to go on")


@on_loop
async def test_a_client_of_another_path_vanishes() -> None:
    async with running(wrap=with_echo) as node:
        async with peer(node.port) as client:
            assert (await client.shake_hands(path="/echo")).status == 101
            client.write(frame(PING, b"x"))
            assert await client.frame() == (PONG, b"x")
        await until(lambda: not node.listener.server_state.connections, "it is forgotten")
        await until(lambda: not node.listener.server_state.tasks, "its task ends")


@on_loop
async def test_nobody_serves_the_path() -> None:
    async with running() as node:
        for path in ("", "/", "/v1/sync/", "/v1/%73ync", "/V1/SYNC", "//v1/sync", "/v2/sync"):
            with pytest.raises(InvalidStatus) as caught:
                await websockets.connect(f"ws://127.0.0.1:{node.port}{path}")
            assert caught.value.response.status_code == 403, path
        assert node.metrics.connections_opened._value.get() == 0
        assert node.listener.server_state.connections == set()


@on_loop
async def test_http_works_beside_websockets_on_one_connection() -> None:
    # Goal: keep-alive. Method: three requests over one socket, then the same socket upgrades.
    async with running() as node, follower(node) as client, peer(node.port) as browser:
        for path in ("/health", "/ready", "/v1/status"):
            node.commit(path)
            browser.ask(path)
            answer = await browser.answer()
            assert answer.status == 200
            assert answer.headers.get("connection") != "close"
            assert await client.words(1) == [path]
        assert (await browser.shake_hands()).status == 101
        await browser.follow()
        node.commit("upgraded")
        assert await browser.words(1) == ["upgraded"]


@on_loop
async def test_the_server_stops_under_a_client_of_another_path() -> None:
    async with running(wrap=with_echo) as node:
        socket = await websockets.connect(f"ws://127.0.0.1:{node.port}/echo")
        node.listener.should_exit = True
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012
        await socket.close()
