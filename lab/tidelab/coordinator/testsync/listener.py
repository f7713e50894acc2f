"""One port: uvicorn for HTTP, and what stands beside it for WebSockets.

The rule: whoever connects gets a stated time for a request, and for reading the answer. uvicorn
alone would wait for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Any, cast

import uvicorn

from tidelab.coordinator.testsync.app import Application
from tidelab.coordinator.testsync.connection import Connection
from tidelab.core.coord.testsync.limits import ANSWER_S, CONNECTIONS_MAX, REQUEST_S, STOP_S
from tidelab.errors import ConfigurationError


class Listener(uvicorn.Server):
    """A uvicorn server whose signals are the caller's business."""

    def __init__(
        self,
        listening: socket.socket,
        app: Application,
        *,
        websocket: str | Callable[..., Connection] = "none",
    ) -> None:
        super().__init__(
            uvicorn.Config(
                cast("Any", app),  # uvicorn's types of scopes are closed, ours are mappings
                http="h11",  # written in Python, and the only one that bounds a request's head
                ws=cast("Any", websocket),  # uvicorn wants a class, but only ever calls it
                lifespan="off",
                log_config=None,
                access_log=False,  # it would write query strings down, and with them passwords
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=int(REQUEST_S),
                timeout_graceful_shutdown=int(STOP_S),
            )
        )
        self._socket = listening
        self._quiet: dict[object, tuple[object, float]] = {}

    async def run_until_stopped(self) -> None:
        """Serve until `should_exit` is set, then close all connections."""
        try:
            await self.serve(sockets=[self._socket])
        finally:
            for accepting in getattr(self, "servers", ()):  # still there after a cancellation
                accepting.close()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.cut()

    async def on_tick(self, counter: int) -> bool:
        """Look around: uvicorn calls this ten times a second."""
        self._sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def _sweep(self, now: float) -> None:
        """Cut connections that are silent between requests, or do not read their answer."""
        quiet: dict[object, tuple[object, float]] = {}
        for connection in cast("set[Any]", self.server_state.connections):
            if not hasattr(connection, "cycle"):
                continue  # a WebSocket: it has no requests
            cycle = connection.cycle
            if cycle is not None and not cycle.response_complete:
                continue
            before, since = self._quiet.get(connection, (None, now))
            quiet[connection] = (cycle, since if before is cycle else now)
            is_unread = connection.transport.get_write_buffer_size() > 0
            if now >= quiet[connection][1] + (ANSWER_S if is_unread else REQUEST_S):
                connection.transport.abort()
        self._quiet = quiet

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to whoever runs the loop."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """Listen on a port.

    Raises:
        ConfigurationError: the port is in use, or the host is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named: without it a small
    # frame would wait for the acknowledgement of the one before.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror or error}"
        ) from error
    listener.setblocking(False)
    return listener
