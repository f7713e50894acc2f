"""A test kit: a node mounted in a Starlette application, which real ASGI servers run.

Method: as in `node.py`, but the connections come through a `Mount`. The ways in are those of the
table `WAYS`; the application has an echo of its own beside us, and a middleware that is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, TypeAlias, cast

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount as Below
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from engine.tests.integration.loop import until
from engine.tests.integration.node import OPEN, Node
from engine.tests.integration.peer import Peer, peer
from tidewire.asgi import FastPath
from tidewire.config import Config
from tidewire.core.session.server import ServerSession
from tidewire.server.mount import Mount
from tidewire.server.scope import Application, Receive, Scope, Send

FAST, FALL_BACK = "fast", "fall-back"
WAYS: dict[str, Any] = {FAST: FastPath, FALL_BACK: "auto"}
PATH = "/inner/v1/sync"
SMALL = 4096
"""Bytes of socket buffers that are filled quickly."""
Wrap: TypeAlias = Callable[[Application], Application]


class Uvicorn(uvicorn.Server):
    """A server whose signals are left to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Mounted(Node):
    """A node in an application."""

    def __init__(self, config: Config, way: str, wrap: Wrap) -> None:
        super().__init__(config)
        self.mount = Mount(config, self.app, self)
        self.calls = 0
        """How often the application's middleware was gone through."""
        self.server = Uvicorn(
            uvicorn.Config(
                cast("Any", self._counting(wrap(application(self.mount)))),
                ws=WAYS[way],
                lifespan="off",
                log_config=None,
                access_log=False,
            )
        )

    def _counting(self, app: Application) -> Application:
        async def count(scope: Scope, receive: Receive, send: Send) -> None:
            self.calls += 1
            await app(scope, receive, send)

        return count


def application(mount: Mount) -> Application:
    """Mount it, beside an echo."""
    routes = [Below("/inner", app=cast("Any", mount)), WebSocketRoute("/echo", echo)]
    return cast("Application", Starlette(routes=routes))


async def echo(websocket: WebSocket) -> None:
    """Say what is said."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@contextlib.asynccontextmanager
async def mounted(
    way: str,
    config: Config = OPEN,
    *,
    send_buffer_bytes: int | None = None,
    wrap: Wrap = lambda app: app,
) -> AsyncIterator[Mounted]:
    """Serve until the block is left; by then every session has to be freed."""
    node = Mounted(config, way, wrap)
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer_bytes is not None:  # accepted sockets inherit it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    node.port = listener.getsockname()[1]
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(node.mount.run_until_stopped())
        serving = tasks.create_task(node.server.serve(sockets=[listener]))
        try:
            await until(lambda: node.server.started, "the server listens")
            yield node
        finally:
            node.server.should_exit = True
            await serving
            node.mount.stop()
            await draining
    node.check_is_empty()


@contextlib.asynccontextmanager
async def stuck(node: Mounted) -> AsyncIterator[tuple[Peer, ServerSession]]:
    """Let a peer with a small buffer follow the table and then read nothing more."""
    known = set(node.hub.sessions)
    async with peer(node.port, receive_buffer_bytes=SMALL) as client:
        assert (await client.shake_hands(path=PATH)).status == 101
        await client.follow()
        client.pause()
        (session,) = set(node.hub.sessions) - known
        yield client, session
