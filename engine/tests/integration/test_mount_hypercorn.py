"""The fall-back serves clients behind a server that we know nothing of: Hypercorn.

Method: the application of the kit; it runs in this loop and is asked by bare sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import hypercorn
import hypercorn.asyncio
import websockets

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.mounting import PATH, application
from engine.tests.integration.node import GUARDED, OPEN, TOKEN, Node, follower
from engine.tests.integration.peer import BINARY, CLOSE, frame, peer
from tidewire.config import Config
from tidewire.server.mount import Mount


@contextlib.asynccontextmanager
async def served(config: Config = OPEN) -> AsyncIterator[Node]:
    """Serve until the block is left."""
    node = Node(config)
    mount = Mount(config, node.app, node)
    listener = socket.create_server(("127.0.0.1", 0))
    node.port = listener.getsockname()[1]
    settings = hypercorn.Config()
    settings.bind = [f"fd://{listener.detach()}"]
    settings.graceful_timeout = 0.2
    settings.errorlog = None
    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        app = cast("Any", application(mount))
        tasks.create_task(hypercorn.asyncio.serve(app, settings, shutdown_trigger=is_over.wait))
        try:
            yield node
        finally:
            is_over.set()
    await until(lambda: node.count_sessions() == 0)
    node.check_is_empty()


@on_loop
async def test_a_client_follows() -> None:
    words = [*(f"word {number}" for number in range(50)), "\u00e9" * 40_000, "v" * 70_000]
    async with served() as node, follower(node, path=PATH) as client:
        for word in words:
            node.commit(word)
        assert await client.words(len(words)) == words
        client.write(frame(BINARY, b"{}"))
        assert await client.close_code() == 1003


@on_loop
async def test_who_may_not_enter_is_told_why() -> None:
    async with served(GUARDED) as node, peer(node.port) as client:
        wrong = await client.shake_hands("Authorization: Bearer wrong", path=PATH)
        assert (wrong.status, wrong.headers["www-authenticate"]) == (401, "Bearer")
    async with served(GUARDED) as node, peer(node.port) as client:
        assert (await client.shake_hands(path=PATH)).status == 101
        await client.follow(token=TOKEN)
        client.write(frame(CLOSE, (1000).to_bytes(2)))
        assert await client.close_code() == 1000


@on_loop
async def test_other_websockets_stay_the_applications() -> None:
    async with (
        served() as node,
        websockets.connect(f"ws://127.0.0.1:{node.port}/echo") as guest,
    ):
        await guest.send("hello")
        assert await guest.recv() == "hello"


@on_loop
async def test_the_server_ends_under_a_client() -> None:
    # Hypercorn cuts what is open without a word; nothing of it stays with us.
    async with served() as node, follower(node, path=PATH):
        assert node.count_sessions() == 1
