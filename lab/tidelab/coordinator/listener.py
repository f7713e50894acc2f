"""The one port: uvicorn for HTTP and WebSocket, and sockets that are gone when we say so."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tidelab.errors import ConfigurationError
from tidelab.limits import (
    COORD_CLOSE_S,
    COORD_DRAIN_S,
    COORD_FRAME_BYTES_MAX,
    COORD_PING_S,
    COORD_PONG_S,
)

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Socket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, cut when the other end does not answer.

    uvicorn closes a silent socket politely, and then waits for what can never be written.
    """

    def keepalive_timeout(self) -> None:
        """Cut a socket that answers no ping."""
        super().keepalive_timeout()
        self.transport.abort()

    async def run_asgi(self) -> None:
        """Run the application; what is not closed soon after it is cut."""
        try:
            await super().run_asgi()
        finally:
            asyncio.get_running_loop().call_later(COORD_CLOSE_S, self.transport.abort)


class Listener(uvicorn.Server):
    """A uvicorn server whose signals are the caller's business."""

    def __init__(
        self, app: App, host: str, port: int, certificate: Path | None, key: Path | None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                cast("Any", app),  # uvicorn's types of scopes are closed, ours are mappings
                ws=Socket,
                ws_max_size=COORD_FRAME_BYTES_MAX,
                ws_ping_interval=COORD_PING_S,
                ws_ping_timeout=COORD_PONG_S,
                ws_per_message_deflate=False,  # small frames, a near network: it would not pay
                proxy_headers=False,  # nobody's word about addresses is taken
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(COORD_DRAIN_S),
                ssl_certfile=certificate,
                ssl_keyfile=key,
            )
        )
        try:
            self.config.load()
        except OSError as error:  # an ssl.SSLError is one, too
            raise ConfigurationError(f"cannot use certificate {certificate}: {error}") from error
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        """The port that is listened on."""

    async def run_until_stopped(self) -> None:
        """Serve until `should_exit` is set, then close all sockets with 1012."""
        try:
            await self.serve(sockets=[self._socket])
        finally:
            self._socket.close()
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)  # the loop may end now: let them be gone before

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to whoever runs the loop."""
        yield


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, the protocol makes asyncio switch Nagle's algorithm off, which would hold small frames.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(4096)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror or error}"
        ) from error
    listener.setblocking(False)
    return listener
