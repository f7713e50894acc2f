"""One agent's socket: bytes to messages, and frames that are ready to bytes.

An `asyncio.Protocol` of our own takes the place of uvicorn's WebSocket implementation, for agents
of either protocol: without a task, a queue or a future for each of them. The sans-I/O protocol of
`websockets` shakes hands and is dropped; frames are read by `core.coord.websocket`. They are
written past the transport while that holds nothing: one system call, and no bookkeeping. What the
socket has no room for is not copied: hundreds who read the same data slowly share them.

The rule: a message is taken when the one before is done with, none while the socket is left unread,
and after a few it is the others' turn. So whoever is slow holds a bounded amount of memory, and
neither who is slow nor who never rests delays anybody.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tidelab.core.coord.websocket import BrokenFrameError, Opcode, Reader, close_frame, frame
from tidelab.limits import COORD_CLOSE_S, COORD_TURN_MESSAGES

if TYPE_CHECKING:
    from uvicorn.config import Config as UvicornConfig
    from uvicorn.server import ServerState

_NORMAL, _INTERNAL_ERROR = 1000, 1011
_SLOW = (4008, "you read too slowly: come back, and read on from your last offset")
_SILENT = (1011, "you answer no pings")
_log = logging.getLogger("tidelab.connection")


class Manners(NamedTuple):
    """How agents of one protocol are treated."""

    message_bytes_max: int
    unsent_bytes_max: int
    """To one agent. Whoever has more waiting is cut, or is not listened to until it reads."""
    cuts_slow: bool
    ping: bytes
    ping_s: float
    checks_text: bool
    """A text that is not UTF-8 ends the connection, as RFC 6455 (8.1) wants it."""
    minds_silence: bool
    """Whoever has said nothing at all since the last ping is gone when the next one is due."""
    gone_s: float | None
    """That an agent's host may acknowledge nothing, if its kernel is asked (on Linux)."""
    stop: tuple[int, str]
    """What agents are told when the server stops."""
    subprotocol: Subprotocol | None
    """Chosen when an agent offers it; it need not."""


class Session(Protocol):
    """What is behind a connection that was let in."""

    def receive(self, message: bytes) -> None:
        """Take a message; `hold` of the connection keeps the next one back."""
        ...

    def leave(self) -> None:
        """Forget the agent, which is gone or going; called once."""
        ...


class Desk(Protocol):
    """What a connection asks of the half of the server that it belongs to."""

    manners: Manners

    def open(self, request: Request, accepted: Response, connection: Connection) -> Session | bytes:
        """Let a connection in, or give the whole answer that refuses it.

        `accepted` is what will be answered otherwise; its status is 101 if the handshake is sound.
        """
        ...

    def refuse_garbage(self) -> bytes:
        """Give the answer to what is no handshake."""
        ...


class Connection(asyncio.Protocol):
    """The protocol that uvicorn makes for each request to upgrade."""

    __slots__ = (
        "_connections", "_descriptor", "_desk", "_handshake", "_is_full", "_is_heard", "_is_held",
        "_is_resting", "_reader", "_session", "_timer", "_unsent", "transport",
    )  # fmt: skip

    def __init__(
        self, desk: Desk, *, config: UvicornConfig, server_state: ServerState, app_state: object
    ) -> None:
        self._desk = desk
        self._connections = cast("set[asyncio.Protocol]", server_state.connections)
        chosen = desk.manners.subprotocol
        self._handshake: ServerProtocol | None = ServerProtocol(
            select_subprotocol=lambda _, offered: chosen if chosen in offered else None
        )
        self._reader: Reader | None = Reader(desk.manners.message_bytes_max)
        """None when nothing that the agent sends is looked at any more."""
        self._session: Session | None = None
        """None before the handshake, and from the moment when one side closes."""
        self._is_held = self._is_full = self._is_resting = False
        self._is_heard = True
        self._timer: asyncio.TimerHandle | None = None
        self._descriptor: int | None = None
        """Of a plain socket that is open."""
        self._unsent: deque[memoryview] | None = None
        """What the transport, which copies what it is given, has no room for: mostly nothing."""
        self.transport: asyncio.Transport

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport from the HTTP protocol."""
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the agent."""
        self._is_heard = True
        if self._handshake is not None:
            self._shake_hands(self._handshake, data)
        elif self._reader is not None:
            self._reader.feed(data)
            self._read()
            if self._is_kept_back():
                self._regulate()

    def pause_writing(self) -> None:
        """Note that the agent does not read: more than its bound is unsent."""
        self._is_full = True
        if self._desk.manners.cuts_slow:
            self.close(*_SLOW)

    def resume_writing(self) -> None:
        """Note that the agent reads again."""
        self._is_full = False
        self._write_on()
        self._rest()  # asyncio would end a transport twice that is closed while it calls this

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the agent: the socket is gone."""
        self._connections.discard(self)
        self._descriptor = self._reader = self._unsent = None
        self._leave()

    def shutdown(self) -> None:
        """Close because the server stops (uvicorn calls this for each connection)."""
        self.close(*self._desk.manners.stop)

    # --- what the server does with it ---

    def put(self, text: bytes) -> None:
        """Send a text."""
        self.send(frame(Opcode.TEXT, text))

    def send(self, data: bytes) -> None:
        """Send a frame that is ready made."""
        if self._session is not None:
            self._write(data)

    def hold(self) -> None:
        """Keep the agent's next message back until `go_on`."""
        self._is_held = True

    def go_on(self) -> None:
        """Take the agent's next message."""
        self._is_held = False
        self._read()
        self._regulate()

    def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Begin the closing handshake, and end it soon, whatever the agent does."""
        if self._session is not None:
            self._write(close_frame(code, reason))
        if self in self._connections:  # else it is gone already
            self._end_soon()

    def break_down(self) -> None:
        """Close because of a bug of ours, which is being handled."""
        _log.exception("a conversation broke down")
        self.close(_INTERNAL_ERROR, "internal error")

    def cut(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    # --- handshake ---

    def _shake_hands(self, handshake: ServerProtocol, data: bytes) -> None:
        handshake.receive_data(data)
        requests = handshake.events_received()
        if not requests and handshake.handshake_exc is None:
            return  # there is more to come
        self._handshake = None
        if not requests:
            self._refuse(self._desk.refuse_garbage())
            return
        request = cast("Request", requests[0])
        accepted = handshake.accept(request)
        session = self._desk.open(request, accepted, self)
        if isinstance(session, bytes):
            self._refuse(session)
            return
        self.transport.write(accepted.serialize())
        self._begin(session)

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()

    def _begin(self, session: Session) -> None:
        manners = self._desk.manners
        self._session = session
        self.transport.set_write_buffer_limits(high=manners.unsent_bytes_max)
        raw: Any = self.transport.get_extra_info("socket")
        if self.transport.get_extra_info("sslcontext") is None:
            self._descriptor = raw.fileno()
        if manners.gone_s is not None and sys.platform == "linux":
            # An agent that is busy testing may not answer pings for minutes, and is alive: its
            # kernel acknowledges them. A host that vanished does not.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(manners.gone_s * 1000))
        self._ping_later()

    # --- frames ---

    def _read(self) -> None:
        """Do what the agent says, as far as that may be now; leave the rest where it is."""
        try:
            for _ in range(COORD_TURN_MESSAGES):
                if self._reader is None or self._is_kept_back():
                    return
                message = self._reader.next()
                if message is None:
                    return
                self._take(*message)
            self._rest()  # it is the others' turn
        except BrokenFrameError as broken:
            self._hang_up(broken.code, str(broken))
        except Exception:  # noqa: BLE001 - a bug in one conversation must not end all the others
            self.break_down()

    def _take(self, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.CLOSE:
            self.send(frame(Opcode.CLOSE, payload[:2]))
            self._end_soon()
            self._part()
        elif self._session is None:
            return  # we have said goodbye, and wait for the agent's
        elif opcode is Opcode.PING:
            self._write(frame(Opcode.PONG, payload))
        elif opcode in (Opcode.TEXT, Opcode.BINARY):
            if opcode is Opcode.TEXT and self._desk.manners.checks_text:
                _check_text(payload)
            self._session.receive(payload)

    def _rest(self) -> None:
        if not self._is_resting:
            self._is_resting = True
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self._is_resting = False
        self._read()
        self._regulate()

    def _is_kept_back(self) -> bool:
        return self._is_resting or (self._session is not None and (self._is_held or self._is_full))

    def _regulate(self) -> None:
        """Read the socket only while what it gives may be taken."""
        if self.transport.is_closing():
            return
        if self._is_kept_back():
            self.transport.pause_reading()
        else:
            self._is_heard = True  # what it has said meanwhile is still to be read
            self.transport.resume_reading()

    def _write(self, data: bytes) -> None:
        taken = 0
        is_behind = self._unsent is not None or self.transport.get_write_buffer_size() > 0
        if self._descriptor is not None and not is_behind:
            try:
                taken = os.write(self._descriptor, data)
            except OSError:  # it is full, or gone: its transport finds that out, too
                taken = 0
        if taken < len(data):
            if self._unsent is None:
                self._unsent = deque()
            self._unsent.append(memoryview(data)[taken:])
            self._write_on()

    def _write_on(self) -> None:
        """Give the transport more until it calls `pause_writing`."""
        piece = self._desk.manners.unsent_bytes_max
        while self._unsent and not self._is_full and not self.transport.is_closing():
            data = self._unsent.popleft()
            if len(data) > piece:
                self._unsent.appendleft(data[piece:])
            self.transport.write(data[:piece])
        if not self._unsent:
            self._unsent = None

    # --- the end ---

    def _ping_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._desk.manners.ping_s, self._ping)

    def _ping(self) -> None:
        manners = self._desk.manners
        if manners.minds_silence and not self._is_heard and not self._is_kept_back():
            self.close(*_SILENT)
            self.cut()
            return
        self._is_heard = False
        self.send(manners.ping)
        self._ping_later()

    def _hang_up(self, code: int, why: str) -> None:
        """End a connection that makes no sense; what else it sends is dropped."""
        self.close(code, why)
        self._part()

    def _part(self) -> None:
        """Read no more, and close the socket behind all that is unsent."""
        self._reader = None
        for data in self._unsent or ():
            self.transport.write(data)
        self._unsent = None
        self.transport.close()

    def _end_soon(self) -> None:
        self._leave()
        self._timer = asyncio.get_running_loop().call_later(COORD_CLOSE_S, self.cut)
        self._regulate()

    def _leave(self) -> None:
        """Stop the timer, and count the agent no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        session, self._session = self._session, None
        if session is not None:
            session.leave()


def _check_text(message: bytes) -> None:
    try:
        message.decode()
    except UnicodeDecodeError:
        raise BrokenFrameError(1007, "a text is not UTF-8") from None
