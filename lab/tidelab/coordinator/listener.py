"""One port: uvicorn for HTTP, and what stands beside it for WebSockets.

The rule: whoever connects gets a stated time for a request and for reading the answer, and is gone
when we say so. uvicorn alone would wait for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias, cast

import uvicorn

from tidelab.core.coord.testsync.limits import ANSWER_S, CONNECTIONS_MAX, REQUEST_S
from tidelab.errors import ConfigurationError
from tidelab.limits import (
    COORD_DRAIN_S,
    COORD_SWEEP_S,
)

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Tls(NamedTuple):
    """What a port needs to speak TLS."""

    certificate: Path
    key: Path


class Listener(uvicorn.Server):
    """A uvicorn server whose signals are the caller's business."""

    def __init__(
        self,
        listening: socket.socket,
        app: App,
        tls: Tls | None = None,
        *,
        websocket: Callable[..., asyncio.Protocol] | None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                cast("Any", app),  # uvicorn's types of scopes are closed, ours are mappings
                http="h11",  # written in Python, and the only one that bounds a request's head
                # uvicorn wants a class, but only ever calls it; "none" reads upgrades as requests
                ws=cast("Any", websocket or "none"),
                proxy_headers=False,  # nobody's word about addresses is taken
                lifespan="off",
                log_config=None,
                access_log=False,  # it would write query strings down, and with them passwords
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=int(REQUEST_S),
                timeout_graceful_shutdown=int(COORD_DRAIN_S),
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.key if tls else None,
            )
        )
        try:
            self.config.load()
        except OSError as error:  # an ssl.SSLError is one, too
            assert tls is not None, "nothing else is read from a file"
            told = f"cannot use certificate {tls.certificate} with key {tls.key}"
            raise ConfigurationError(f"{told}: {error}") from error
        # What strangers send is no concern of the operator's; what breaks down is.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._socket = listening
        self._stopped = asyncio.Event()
        self._quiet: dict[object, tuple[object, float]] = {}

    def stop(self) -> None:
        """Let `run_until_stopped` return."""
        self.should_exit = True
        self._stopped.set()

    async def run_until_stopped(self) -> None:
        """Serve until `stop`, then tell all connections and close them."""
        try:
            await self.serve(sockets=[self._socket])
        finally:
            for accepting in getattr(self, "servers", ()):  # still there after a cancellation
                accepting.close()
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)  # the loop may end now: let them be gone before

    async def main_loop(self) -> None:
        """Look around until `stop`, which uvicorn's own loop would notice a moment later."""
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COORD_SWEEP_S):
                    await self._stopped.wait()
            self._sweep(asyncio.get_running_loop().time())

    def _sweep(self, now: float) -> None:
        """Cut connections that are silent between requests, or do not read their answer."""
        quiet: dict[object, tuple[object, float]] = {}
        for connection in cast("set[Any]", self.server_state.connections):
            if not hasattr(connection, "cycle"):
                continue  # a WebSocket: it has no requests
            cycle = connection.cycle
            # Also while it is answered: whoever asks on and does not read would be for ever.
            is_unread = connection.transport.get_write_buffer_size() > 0
            if cycle is not None and not cycle.response_complete and not is_unread:
                continue
            before, since = self._quiet.get(connection, (None, now))
            quiet[connection] = (cycle, since if before is cycle else now)
            if now >= quiet[connection][1] + (ANSWER_S if is_unread else REQUEST_S):
                connection.transport.abort()
        self._quiet = quiet

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to whoever runs the loop."""
        yield


def _spare() -> IO[bytes]:
    return Path(os.devnull).open("rb")


class _Door(socket.socket):
    """A listening socket that turns away whoever comes while no descriptor is left.

    That is what uvloop does. asyncio's own loop would try again and again, and say so each time.
    """

    def __init__(self, *kind: int) -> None:
        super().__init__(*kind)
        self._spare = _spare()

    def accept(self) -> tuple[socket.socket, Any]:
        """Take the next connection."""
        while True:
            try:
                return super().accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
            self._spare.close()
            try:
                super().accept()[0].close()
            finally:
                self._spare = _spare()

    def close(self) -> None:
        """Listen no longer."""
        self._spare.close()
        super().close()


def bind(host: str, port: int) -> socket.socket:
    """Listen on a port; raises ConfigurationError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named: without it a small
    # frame would wait for the acknowledgement of the one before.
    listener = _Door(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(4096)
    except OSError as error:
        listener.close()
        told = f"cannot listen on {host}:{port}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            told += "; choose another port, 0 is any that is free"
        raise ConfigurationError(told) from error
    listener.setblocking(False)
    return listener
