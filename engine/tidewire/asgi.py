"""Tidewire inside an application: mount it in FastAPI, Starlette or any other ASGI framework.

::

    tidewire = Tidewire(config)
    app = FastAPI(lifespan=tidewire.lifespan)
    app.mount("/sync", tidewire)            # clients connect to ws://host/sync/v1/sync

Every ASGI server can run it. With `uvicorn app:app --ws tidewire.asgi:FastPath` what is sent goes
straight to the sockets, past the layers of ASGI.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

from tidewire.config import Config, load
from tidewire.engine import Engine
from tidewire.errors import ConfigError, TidewireError
from tidewire.server.app import App
from tidewire.server.mount import Mount
from tidewire.server.node import Node
from tidewire.server.scope import Application, Receive, Scope, Send
from tidewire.server.takeover import FastPath

__all__ = ["FastPath", "Tidewire"]


class Tidewire:
    """An engine as an ASGI application: `/v1/sync`, and its HTTP paths, below where it is mounted.

    Without a config it has the settings of `tidewire serve`: variables, and `tidewire.toml`. Of
    these `listen` and the TLS files mean nothing here. It runs for as long as its lifespan does,
    which the application has to enter.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = config
        self._mount: Mount | None = None

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Run the engine until the block is left: an application's lifespan, or a part of one.

        Raises what `Engine` raises when it cannot start.
        """
        if self._mount is not None:
            raise ConfigError("tidewire runs already: enter its lifespan once")
        async with Engine(self._config or load({}, os.environ), front=self._open):
            try:
                yield
            finally:
                self._mount = None

    def _open(self, config: Config, app: App, node: Node) -> Mount:
        self._mount = Mount(config, app, node)
        return self._mount

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket, or the lifespan of a server.

        Raises ConfigError when the engine does not run.
        """
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._mount is None:
            raise ConfigError(
                "tidewire is mounted but does not run: give the application "
                "lifespan=tidewire.lifespan, or write `async with tidewire.lifespan(app):` in its "
                "own; if that was done, the log says why it ended"
            )
        else:
            await self._mount(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.lifespan())
            except TidewireError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def beside(self, app: Application, at: str = "/sync") -> Application:
        """Return an application that serves this one below a path, and `app` everywhere else.

        For frameworks that neither mount nor know lifespans, as Django. An application with a
        lifespan of its own should mount this one instead.
        """
        prefix = at.rstrip("/") + "/"

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            root = scope.get("root_path", "")
            if scope["type"] == "lifespan":
                await self(scope, receive, send)
            elif scope["path"].removeprefix(root).startswith(prefix):
                await self({**scope, "root_path": root + prefix[:-1]}, receive, send)
            else:
                await app(scope, receive, send)

        return serve
