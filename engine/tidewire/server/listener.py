"""The one port: uvicorn for HTTP, our own protocol for WebSockets."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Generator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tidewire import limits
from tidewire.config import Config
from tidewire.errors import ConfigError
from tidewire.server.app import App
from tidewire.server.connection import Connection
from tidewire.server.handshake import PATH
from tidewire.server.node import Node

# Time for clients to answer our close frames when the server stops.
_DRAIN_S = 5


class Listener(uvicorn.Server):
    """A uvicorn server whose signals are the caller's business."""

    def __init__(self, config: Config, app: App, node: Node) -> None:

        def connect(**uvicorns: Any) -> Connection:
            foreign = functools.partial(WebSocketsSansIOProtocol, **uvicorns)
            return Connection(node, uvicorns["server_state"].connections, foreign=foreign)

        super().__init__(
            uvicorn.Config(
                cast("Any", app),  # uvicorn's types of scopes are closed, ours are mappings
                ws=cast("Any", connect),  # uvicorn wants a class, but only ever calls it
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_DRAIN_S,
                ssl_certfile=config.tls_certificate or None,
                ssl_keyfile=config.tls_key or None,
            )
        )
        self._load(config)
        host, _ = config.address
        self._socket = _bind(*config.address)
        self.port: int = self._socket.getsockname()[1]
        """The port that is listened on."""
        scheme = "wss" if config.tls_certificate else "ws"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}{PATH}"
        self._silent: dict[object, float] = {}

    async def run_until_stopped(self) -> None:
        """Serve until `should_exit` is set, then close all connections with 1012."""
        try:
            await self.serve(sockets=[self._socket])
        finally:
            self._socket.close()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.cut()

    def stop(self) -> None:
        """Accept nothing more, and close what is open."""
        self.should_exit = True

    def sweep(self, now: float) -> None:
        """Cut connections that do not get as far as a request: uvicorn waits for them for ever."""
        silent = [c for c in self.server_state.connections if getattr(c, "cycle", self) is None]
        self._silent = {connection: self._silent.get(connection, now) for connection in silent}
        for connection in silent:
            if now >= self._silent[connection] + limits.REQUEST_S:
                connection.transport.abort()

    def _load(self, config: Config) -> None:
        try:
            self.config.load()
        except OSError as error:  # an ssl.SSLError is one, too
            raise ConfigError(
                f"tls: cannot use {config.tls_certificate} with {config.tls_key}: {error}"
            ) from error

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to whoever runs the loop."""
        yield


def _bind(host: str, port: int) -> socket.socket:
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
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener
