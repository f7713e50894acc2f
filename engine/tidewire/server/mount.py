"""The front of a mounted engine: connections come through an application's own ASGI server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator

from tidewire import limits
from tidewire.config import Config, is_loopback
from tidewire.server.admission import Verdict
from tidewire.server.app import App, answer, text
from tidewire.server.connection import Connection
from tidewire.server.handshake import PATH, judge
from tidewire.server.node import Node, note_refused
from tidewire.server.relay import Relay, refuse
from tidewire.server.scope import Receive, Scope, Send, headers_of, path_of
from tidewire.server.takeover import EXTENSION, TakeOver

_EXPOSED = Verdict(
    403, "dev lets everybody in and so serves loopback only; set a token instead: TIDEWIRE_TOKENS"
)


class Mount:
    """An ASGI application, as long as its engine runs."""

    def __init__(self, config: Config, app: App, node: Node) -> None:
        self._is_dev = config.dev
        self._app = app
        self._node = node
        self._open: set[Connection | Relay] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._is_stopped = asyncio.Event()

    # --- for the server ---

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket."""
        is_websocket = scope["type"] == "websocket"
        if is_websocket and path_of(scope) == PATH:
            await self._serve(scope, receive, send)
        elif is_websocket or not self._is_exposed(scope):
            await self._app(scope, receive, send)
        else:
            await answer(scope, send, text(*_EXPOSED))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # nothing but that somebody wants to connect
        take_over: TakeOver | None = scope.get("extensions", {}).get(EXTENSION)
        headers = headers_of(scope)
        if self._is_exposed(scope):
            await self._refuse(scope, send, _EXPOSED)
        elif take_over is not None:
            is_lost = asyncio.Event()
            connection = take_over(self._node, is_lost.set)
            with self._holding(connection):
                await is_lost.wait()
        elif verdict := judge(self._node, headers):
            await self._refuse(scope, send, verdict)
        else:
            relay = Relay(self._node, headers, receive, send)
            with self._holding(relay):
                await relay.run()

    async def _refuse(self, scope: Scope, send: Send, verdict: Verdict) -> None:
        note_refused(self._node, verdict.status)
        await refuse(scope, send, verdict)

    @contextlib.contextmanager
    def _holding(self, connection: Connection | Relay) -> Generator[None, None, None]:
        self._open.add(connection)
        self._is_empty.clear()
        try:
            yield
        finally:
            connection.cut()  # it has ended, or its server has lost patience
            self._open.discard(connection)
            if not self._open:
                self._is_empty.set()

    def _is_exposed(self, scope: Scope) -> bool:
        # `--dev` of a server of ours looks where it listens; here each request tells where it came.
        if not self._is_dev:
            return False
        host, port = scope.get("server") or (None, None)
        return host is None or port is None or not is_loopback(host)

    # --- for the engine ---

    @property
    def url(self) -> None:
        """Only the application knows where it is served."""
        return

    def sweep(self, now: float) -> None:
        """Do nothing: what does not get as far as a request is the server's business."""

    def stop(self) -> None:
        """Close all connections."""
        self._is_stopped.set()

    async def run_until_stopped(self) -> None:
        """Wait for the end, then close all connections with 1012."""
        await self._is_stopped.wait()
        for connection in list(self._open):
            connection.shutdown()
        try:
            async with asyncio.timeout(limits.CLOSE_S):
                await self._is_empty.wait()
        except TimeoutError:
            for connection in list(self._open):
                connection.cut()
