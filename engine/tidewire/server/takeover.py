"""The fast path of a mounted engine: uvicorn's WebSockets, with a door for ours.

uvicorn's own protocol reads the handshake and calls the application as always, so routes and
middleware decide who comes to us. Only then we take the socket over, and what the engine sends goes
straight to the transport. All other WebSockets stay uvicorn's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tidewire.server.connection import Connection
from tidewire.server.node import Node

EXTENSION = "tidewire.takeover"
"""Where the scope of a WebSocket holds a `TakeOver`, if the server has this fast path."""
TakeOver: TypeAlias = Callable[[Node, Callable[[], None]], Connection]


class FastPath(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol for applications with a mounted engine.

    Name it to uvicorn: `uvicorn app:app --ws tidewire.asgi:FastPath`.
    """

    _reads = 0

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client: first the whole head of its request."""
        self._reads += 1
        super().data_received(data)

    async def run_asgi(self) -> None:
        """Call the application, which may take the socket over."""
        cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self._take_over
        await super().run_asgi()

    def _take_over(self, node: Node, on_lost: Callable[[], None]) -> Connection:
        """Let a connection of this node answer the handshake; the call should last as long.

        Raises ClientDisconnected when the client has gone, or has not waited for the answer.
        """
        if self.transport.is_closing() or self._reads > 1:
            raise ClientDisconnected
        others = cast("set[asyncio.Protocol]", self.connections)
        connection = Connection(node, others, on_lost=on_lost)
        others.discard(self)
        self.handshake_complete = True  # for uvicorn nothing is left to answer
        self.transport.set_protocol(connection)
        connection.connection_made(self.transport)
        connection.data_received(self.request.serialize())
        return connection
