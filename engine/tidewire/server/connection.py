"""One WebSocket: bytes to the session, frames of the session to the transport.

An `asyncio.Protocol` of our own takes the place of uvicorn's WebSocket implementation. Inbound
bytes go through the sans-I/O protocol of `websockets` (handshake, unmasking, fragments, close);
outbound frames are ready made and shared, and go straight to the transport. A path that is not ours
is handed to uvicorn's own implementation, bytes and all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tidewire import limits
from tidewire.core.protocol.codes import CLOSE_BY_NUMBER, CLOSES, CloseCode
from tidewire.core.session.server import ServerSession
from tidewire.server.handshake import PATH, SUBPROTOCOL, headers_for, judge
from tidewire.server.node import Node, note_closed, note_refused

_websocket_log = logging.getLogger("tidewire.websocket")
# The library prints whole frames and headers at level debug, and with them tokens and rows.
_websocket_log.setLevel(logging.WARNING)


class Connection(asyncio.Protocol):
    """The protocol of one socket; `connections` are those that uvicorn waits for when it stops.

    With `foreign` the request may be for another path, and what that makes serves it then.
    """

    def __init__(
        self,
        node: Node,
        connections: set[asyncio.Protocol],
        *,
        foreign: Callable[[], asyncio.Protocol] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._node = node
        self._connections = connections
        self._make_foreign = foreign
        self._on_lost = on_lost
        self._foreign: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._session: ServerSession | None = None
        self._fragments: list[bytes] = []
        self._closed_as = "lost"
        self._websocket = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=limits.INBOUND_FRAME_BYTES,
            logger=_websocket_log,
        )

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport from the HTTP protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        if self._foreign is not None:
            self._foreign.data_received(data)
            return
        if self._session is not None:
            self._session.hear(asyncio.get_running_loop().time())
        self._websocket.receive_data(data)
        if self._session is None and self._websocket.handshake_exc is not None:
            self._refuse_garbage()
        for event in self._websocket.events_received():
            if isinstance(event, Request):
                if self._make_foreign is not None and event.path.partition("?")[0] != PATH:
                    self._hand_over(self._make_foreign(), data)
                    return
                self._shake_hands(event)
            else:
                self._take(cast("Frame", event))
        self._write_websocket()

    def eof_received(self) -> bool | None:
        """Note that the client sends nothing more."""
        if self._foreign is not None:
            return self._foreign.eof_received()
        return None

    def pause_writing(self) -> None:
        """Note that the socket is full."""
        if self._foreign is not None:
            self._foreign.pause_writing()
        elif self._session is not None:
            self._session.attach(None)  # nothing may overtake what the transport holds
            self._node.stall(self._session, True)

    def resume_writing(self) -> None:
        """Note that the socket has drained."""
        if self._foreign is not None:
            self._foreign.resume_writing()
        elif self._session is not None:
            self._attach()
            self._node.stall(self._session, False)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the session: the socket is gone."""
        self._connections.discard(self)
        self._mute()
        if self._foreign is not None:
            self._foreign.connection_lost(error)
        elif self._session is not None:
            note_closed(self._node, self._session, self._closed_as)
        if self._on_lost is not None:
            self._on_lost()

    def shutdown(self) -> None:
        """Close because the server stops (uvicorn calls this for each connection)."""
        if self._foreign is not None:
            cast("Any", self._foreign).shutdown()
        elif self._session is not None:
            self._session.close("restart", "the server stops; come back in a moment")
        elif self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """End the connection at once: the server has waited long enough."""
        self._abort("restart")

    # --- handshake ---

    def _hand_over(self, foreign: asyncio.Protocol, data: bytes) -> None:
        # uvicorn sets us as the transport's protocol after this call, so we stay in between.
        assert self._transport is not None
        self._connections.discard(self)
        self._foreign = foreign
        self._foreign.connection_made(self._transport)
        self._foreign.data_received(data)

    def _shake_hands(self, request: Request) -> None:
        headers = _headers_of(request)
        response = self._judge(headers) or self._websocket.accept(request)
        self._websocket.send_response(response)
        self._limit_buffer()
        self._write_websocket()
        assert self._transport is not None
        if response.status_code != 101:
            note_refused(self._node, response.status_code)
            self._transport.close()
            return
        self._session = self._node.open_session(
            flush=self._flush,
            send_ping=self._send_ping,
            abort=self._abort,
            is_authenticated=self._node.tokens.admit_header(headers.get("authorization")) is True,
        )
        self._session.write = self._transport.write
        self._attach()
        request.headers.clear()  # the library keeps the request for as long as the connection lives
        self._node.metrics.connections_opened.inc()

    def _refuse_garbage(self) -> None:
        # uvicorn has taken the head for an upgrade, but as a handshake it makes no sense.
        assert self._transport is not None
        self._node.metrics.connections_refused.inc()
        self._transport.write(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )

    def _judge(self, headers: dict[str, str]) -> Response | None:
        verdict = judge(self._node, headers)
        if verdict is None:
            return None
        response = self._websocket.reject(verdict.status, verdict.text + "\n")
        for name, value in headers_for(verdict).items():
            response.headers[name] = value
        return response

    # --- frames ---

    def _take(self, frame: Frame) -> None:
        if self._session is None:
            return
        is_message = frame.opcode in (Opcode.TEXT, Opcode.CONT)
        if not (is_message and frame.fin) and not self._session.admit(
            asyncio.get_running_loop().time()
        ):
            return
        if is_message:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                self._take_message()
        elif frame.opcode is Opcode.BINARY:
            self._session.close("binary_frame", "frames are text")

    def _take_message(self) -> None:
        assert self._session is not None
        payload = b"".join(self._fragments)
        self._fragments = []
        try:
            payload.decode()
        except UnicodeDecodeError:
            self._session.close("bad_utf8", "text frames are UTF-8")
            return
        self._node.receive(self._session, payload)

    def _flush(self) -> None:
        # Once per client and delivery: part of the hot path.
        session = self._session
        if session is None:
            return
        if session.outbox.frames:
            frames = session.outbox.take()
            session.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if session.closing is not None:
            self._close(*session.closing)

    def _close(self, code: CloseCode, text: str) -> None:
        assert self._session is not None
        self._session.closing = None
        self._closed_as = code.name
        reason = text.encode()[: limits.CLOSE_REASON_BYTES].decode(errors="ignore")
        try:
            self._websocket.send_close(code.number, reason)
        except InvalidState:
            return  # the client closed first
        self._write_websocket()
        self._mute()
        self._session.deadline = asyncio.get_running_loop().time() + limits.CLOSE_S
        assert self._transport is not None
        if code is CLOSES["flood"] and self._transport.get_write_buffer_size():
            self._transport.abort()  # it only sends: our close frame would wait for ever

    def _send_ping(self) -> None:
        if self._websocket.state is OPEN:
            self._websocket.send_ping(b"")
            self._write_websocket()

    def _abort(self, reason: str) -> None:
        if self._transport is not None:
            if reason in CLOSES:
                self._closed_as = reason
            self._mute()
            self._transport.abort()

    def _limit_buffer(self) -> None:
        # Before anything is written: from here on we are paused whenever the transport holds bytes.
        assert self._transport is not None
        is_secure = self._transport.get_extra_info("sslcontext") is not None
        # With a limit of 0 a TLS transport takes an empty buffer for a full one.
        self._transport.set_write_buffer_limits(high=max(limits.SOCKET_BUFFER_BYTES, is_secure))

    def _attach(self) -> None:
        """Let commits go straight to the socket while the transport, empty, is only a detour.

        The descriptor is open until `connection_lost`, and that closes this way.
        """
        assert self._transport is not None
        assert self._session is not None
        is_free = self._session.write is not _discard
        is_plain = self._transport.get_extra_info("sslcontext") is None
        socket = self._transport.get_extra_info("socket")
        if socket and is_free and is_plain and not self._transport.get_write_buffer_size():
            self._session.attach(socket.fileno())

    def _mute(self) -> None:
        # Nothing may follow a close frame, and nothing reaches a socket that is gone.
        if self._session is not None:
            self._session.write = _discard
            self._session.attach(None)

    def _write_websocket(self) -> None:
        assert self._transport is not None
        for data in self._websocket.data_to_send():
            if not data:
                self._end()  # nothing follows: the closing handshake is complete, or was broken
            elif self._session is None or self._session.write is not _discard:
                self._transport.write(data)

    def _end(self) -> None:
        assert self._transport is not None
        self._mute()
        close = self._websocket.close_sent or self._websocket.close_rcvd
        if close is not None and self._closed_as == "lost":
            known = CLOSE_BY_NUMBER.get(close.code)
            self._closed_as = known.name if known else "normal"
        self._transport.close()


def _discard(data: bytes) -> None:
    """Drop what can reach nobody any more."""


def _headers_of(request: Request) -> dict[str, str]:
    headers = request.headers
    return {name: ", ".join(headers.get_all(name)) for name in map(str.lower, headers)}
