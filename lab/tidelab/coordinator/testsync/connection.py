"""One agent's socket: bytes to messages, and frames to bytes.

An `asyncio.Protocol` of our own takes the place of uvicorn's WebSocket implementation, because the
handshake's answers are the original's and because one frame goes to many sockets as it is. The
sans-I/O protocol of `websockets` does handshake, unmasking, fragments and the closing handshake.

The rule: an agent's commands are obeyed one after the other, and none while the agent does not read
what it was sent. So a slow agent holds a bounded amount of memory and delays nobody.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tidelab.coordinator.testsync.metrics import Tally
from tidelab.core.coord.testsync import answer
from tidelab.core.coord.testsync.answer import Answer
from tidelab.core.coord.testsync.credentials import Credentials
from tidelab.core.coord.testsync.limits import (
    CLOSE_S,
    GONE_S,
    INBOX_MAX,
    MESSAGE_BYTES_MAX,
    PING_S,
    UNSENT_BYTES_MAX,
)
from tidelab.core.coord.testsync.meeting import Agent
from tidelab.core.coord.testsync.routes import Register, Request, route_agents
from tidelab.errors import RefusedError

if TYPE_CHECKING:
    from uvicorn.config import Config as UvicornConfig
    from uvicorn.server import ServerState

_PING = Frame(Opcode.PING, b"ping").serialize(mask=False)
_NORMAL, _GOING_AWAY = 1000, 1001


class Desk(Protocol):
    """What a connection asks of the server that it belongs to."""

    credentials: Credentials
    tally: Tally

    def register(self, test_id: int, connection: Connection) -> Agent:
        """Take an agent in, and begin to converse with it."""
        ...

    def leave(self, agent: Agent) -> None:
        """Forget an agent that is gone."""
        ...


class Conversation(ServerProtocol):
    """The WebSocket protocol; a client's close is answered with its code and without its reason."""

    def send_frame(self, frame: Frame) -> None:
        """Queue a frame."""
        if frame.opcode is Opcode.CLOSE and self.close_rcvd is not None:
            frame = Frame(Opcode.CLOSE, frame.data[:2])
        super().send_frame(frame)


class Connection(asyncio.Protocol):
    """The protocol that uvicorn makes for each request to upgrade."""

    def __init__(
        self, desk: Desk, *, config: UvicornConfig, server_state: ServerState, app_state: object
    ) -> None:
        self._desk = desk
        self._connections = cast("set[asyncio.Protocol]", server_state.connections)
        self._websocket = Conversation(max_size=MESSAGE_BYTES_MAX)
        self._message = bytearray()
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()  # `_regulate` keeps it short
        self._reads = asyncio.Event()  # set while the agent reads what it is sent
        self._reads.set()
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.agent: Agent | None = None

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport from the HTTP protocol."""
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the agent."""
        self._websocket.receive_data(data)
        if self.agent is None and self._websocket.handshake_exc is not None:
            self._refuse(answer.NO_HANDSHAKE, "GET")
        for event in self._websocket.events_received():
            if isinstance(event, Handshake):
                self._shake_hands(event)
            elif isinstance(event, Frame):
                self._collect(event)
        self._flush()
        self._regulate()

    def pause_writing(self) -> None:
        """Note that the agent does not read."""
        self._reads.clear()
        self._regulate()

    def resume_writing(self) -> None:
        """Note that the agent reads again."""
        self._reads.set()
        self._regulate()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the agent: the socket is gone."""
        self._connections.discard(self)
        self._depart()
        self._reads.set()
        self._inbox.put_nowait(None)

    def shutdown(self) -> None:
        """Close because the server stops (uvicorn calls this for each connection)."""
        self.close(_GOING_AWAY, "the server stops")

    # --- what the server does with it ---

    async def next_message(self) -> bytes | None:
        """Return the next message, as soon as the agent has read the answers to those before.

        What an agent sent before it left is returned too; then comes nothing.
        """
        message = await self._inbox.get()
        await self._reads.wait()
        self._regulate()
        return message

    def send(self, frame: bytes) -> None:
        """Send a frame that is ready made."""
        if self._websocket.state is OPEN:
            self._write(frame)

    def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Begin the closing handshake, and end it soon, whatever the agent does."""
        if self._websocket.state is OPEN:
            self._websocket.send_close(code, reason)
            self._flush()
        self._end_soon()

    def cut(self) -> None:
        """End the connection at once."""
        assert self.transport is not None
        self.transport.abort()

    # --- handshake ---

    def _shake_hands(self, handshake: Handshake) -> None:
        route = route_agents(_request(handshake), self._desk.credentials)
        if isinstance(route, Answer):
            self._refuse(route, handshake.method)
            return
        accepted = self._websocket.accept(handshake)
        if accepted.status_code != 101:
            self._refuse(answer.NO_HANDSHAKE, handshake.method)
            return
        self._register(route, accepted)

    def _register(self, route: Register, accepted: Response) -> None:
        assert self.transport is not None
        try:
            self.agent = self._desk.register(route.test_id, self)
        except RefusedError as refused:
            self._refuse(answer.error(refused.code, str(refused)), "GET")
            return
        self._websocket.send_response(accepted)
        self._flush()
        self.transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        _notice_dead_host(self.transport)
        self._ping_later()

    def _refuse(self, reply: Answer, method: str) -> None:
        assert self.transport is not None
        if reply.status >= 400:
            self._desk.tally.refused[reply.status] += 1
        headers = Headers([*reply.headers_for(method), ("Connection", "close")])
        body = b"" if method == "HEAD" else reply.body
        response = Response(reply.status, HTTPStatus(reply.status).phrase, headers, body)
        self.transport.write(response.serialize())
        self.transport.close()

    # --- frames ---

    def _collect(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._message += frame.data
            if frame.fin:
                self._inbox.put_nowait(bytes(self._message))
                self._message.clear()

    def _write(self, data: bytes) -> None:
        assert self.transport is not None
        if not self.transport.is_closing():
            self.transport.write(data)

    def _flush(self) -> None:
        assert self.transport is not None
        for data in self._websocket.data_to_send():
            if data:
                self._write(data)
            else:  # nothing follows: the closing handshake is complete, or was broken
                self._end_soon()
                self.transport.close()

    def _regulate(self) -> None:
        """Read the socket only while few messages wait and the agent reads its answers.

        So what waits is bounded: a full inbox grows by the rest of one chunk of the loop.
        """
        assert self.transport is not None
        if self.transport.is_closing():
            return
        if self._reads.is_set() and self._inbox.qsize() < INBOX_MAX:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _ping_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PING_S, self._ping)

    def _ping(self) -> None:
        self.send(_PING)
        self._ping_later()

    def _end_soon(self) -> None:
        self._depart()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_S, self.cut)

    def _depart(self) -> None:
        """Count the agent no longer, and stop its timer."""
        if self._timer is not None:
            self._timer.cancel()
        if self.agent is not None:
            self._desk.leave(self.agent)


def _request(handshake: Handshake) -> Request:
    path, _, query = handshake.path.partition("?")
    authorization = handshake.headers.get_all("Authorization")
    return Request(
        handshake.method, unquote(path), query, authorization[0] if authorization else None
    )


def _notice_dead_host(transport: asyncio.Transport) -> None:
    """Let the kernel end the connection when the agent's host acknowledges nothing.

    An agent that is busy testing may not answer pings for minutes, and is alive: its kernel
    acknowledges them. A host that vanished does not.
    """
    if sys.platform == "linux":
        raw: Any = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(GONE_S * 1000))
