"""Sockets of `/v2`: who is let in, and what becomes of their messages.

The one rule: whoever does not read is cut, and comes back to its last offset. So an agent that is
behind delays nobody and loses nothing.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from tidelab.coordinator.connection import Connection, Manners
from tidelab.coordinator.keeper import Keeper
from tidelab.coordinator.v2.gate import SUBPROTOCOL, Gate
from tidelab.coordinator.v2.reply import STATUS, headers_of
from tidelab.core.coord.answer import Answer, Fault
from tidelab.core.coord.codec import decode_command
from tidelab.core.coord.coordinator import Rights
from tidelab.core.coord.websocket import Opcode, frame
from tidelab.limits import (
    COORD_CONNECTIONS_MAX,
    COORD_FRAME_BYTES_MAX,
    COORD_OUTBOX_BYTES_MAX,
    COORD_PING_S,
)

PATH = "/v2/connect"


class Sockets:
    """The way in."""

    def __init__(self, keeper: Keeper, gate: Gate) -> None:
        self.is_stopping = False
        self.manners = Manners(
            message_bytes_max=COORD_FRAME_BYTES_MAX,
            unsent_bytes_max=COORD_OUTBOX_BYTES_MAX,
            cuts_slow=True,
            ping=frame(Opcode.PING, b""),
            ping_s=COORD_PING_S,
            checks_text=True,
            minds_silence=True,
            gone_s=None,  # pings find that out
            stop=(1012, "the server stops"),
            subprotocol=SUBPROTOCOL,
        )
        self._keeper, self._gate = keeper, gate

    def open(self, request: Request, accepted: Response, connection: Connection) -> Visit | bytes:
        """Let a socket in, or refuse it."""
        headers = (
            (k.lower().encode(), v.encode("latin-1")) for k, v in request.headers.raw_items()
        )
        rights = self._gate.judge(headers)
        path = unquote(request.path.partition("?")[0])
        if isinstance(rights, Fault):
            return self._refuse(rights)
        if path != PATH:
            return self._refuse(Fault("not_found", f"sockets are at {PATH}"))
        if self.is_stopping or self._keeper.connections >= COORD_CONNECTIONS_MAX:
            told = "there is no room for another connection: try again"
            return self._refuse(Fault("unavailable", told))
        if accepted.status_code != 101:
            return accepted.serialize()
        return Visit(self._keeper, rights, connection)

    def refuse_garbage(self) -> bytes:
        """Answer what is no handshake."""
        return self._refuse(Fault("bad_request", "this is no handshake of a WebSocket"))

    def _refuse(self, fault: Fault) -> bytes:
        status, body = STATUS[fault.code], self._keeper.refuse(fault)
        headers = Headers((k.decode(), v.decode()) for k, v in headers_of(status, body))
        headers["connection"] = "close"
        return Response(status, HTTPStatus(status).phrase, headers, body).serialize()


class Visit:
    """One socket that was let in."""

    __slots__ = ("_connection", "_keeper", "_peer")

    def __init__(self, keeper: Keeper, rights: Rights, connection: Connection) -> None:
        self._keeper, self._connection = keeper, connection
        self._peer = keeper.connect(rights, connection)

    def receive(self, message: bytes) -> None:
        """Take a command; there is no next one while too much waits for the disk."""
        command = decode_command(message)
        if isinstance(command, Answer):
            self._keeper.answer(self._peer, command)
        else:
            self._keeper.receive(self._peer, command)
        if not self._keeper.has_room:
            self._connection.hold()
            self._keeper.when_room(self._connection.go_on)

    def leave(self) -> None:
        """Note that the socket is gone."""
        self._keeper.disconnect(self._peer)
