"""The fall-back of a mounted engine: one WebSocket through ASGI's `receive` and `send`.

It works with every ASGI server. What the server does by itself we cannot see: it pings the client,
joins fragments and may compress what we send. Frames of the session are taken apart again, since
the server makes its own.

What `send` has not taken yet waits here. Beyond RELAY_BYTES the session stops at its cursor, as it
does when a socket is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from tidewire import limits
from tidewire.core.protocol.codec import payloads_of
from tidewire.core.protocol.codes import CLOSE_BY_NUMBER, CLOSES, CloseCode
from tidewire.server.admission import Verdict
from tidewire.server.handshake import SUBPROTOCOL, headers_for
from tidewire.server.node import Node, note_closed
from tidewire.server.scope import Receive, Scope, Send

_log = logging.getLogger("tidewire.server")
# What servers say when the socket has gone without a close frame (RFC 6455, 7.1.5).
_LOST = (1005, 1006)


class Relay:
    """One WebSocket that an ASGI server holds for us; its handshake was judged."""

    def __init__(
        self, node: Node, headers: Mapping[str, str], receive: Receive, send: Send
    ) -> None:
        self._node = node
        self._receive = receive
        self._send = send
        self._tasks: list[asyncio.Task[None]] = []
        self._frames: list[bytes] = []
        self._waiting_bytes = 0
        """Frames that `send` has not taken yet, those on their way included."""
        self._has_output = asyncio.Event()
        self._closing: tuple[CloseCode, str] | None = None
        self._closed_as = "lost"
        self._session = node.open_session(
            flush=self._flush,
            send_ping=self._trust_server,
            abort=self._abort,
            is_authenticated=node.tokens.admit_header(headers.get("authorization")) is True,
        )
        self._session.write = self._write
        node.metrics.connections_opened.inc()

    async def run(self) -> None:
        """Accept the connection, and serve until it is gone."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = [tasks.create_task(self._read()), tasks.create_task(self._drain())]
        finally:
            self._session.write = _discard
            note_closed(self._node, self._session, self._closed_as)

    def shutdown(self) -> None:
        """Close because the engine stops."""
        self._session.close("restart", "the server stops; come back in a moment")

    def cut(self) -> None:
        """End the connection at once: the engine has waited long enough."""
        self._abort("restart")

    # --- from the client ---

    async def _read(self) -> None:
        try:
            while (event := await self._receive())["type"] == "websocket.receive":
                self._take(event)
            self._note_end(event.get("code", 1005))
        finally:
            self._cancel()

    def _take(self, event: Mapping[str, Any]) -> None:
        self._session.hear(asyncio.get_running_loop().time())
        text = event.get("text")
        if text is None:
            self._session.close("binary_frame", "frames are text")
            return
        payload = text.encode()
        if len(payload) > limits.INBOUND_FRAME_BYTES:
            self._session.close("too_big", f"at most {limits.INBOUND_FRAME_BYTES} bytes")
            return
        self._node.receive(self._session, payload)

    def _note_end(self, code: int) -> None:
        if self._closed_as == "lost" and code not in _LOST:
            known = CLOSE_BY_NUMBER.get(code)
            self._closed_as = known.name if known else "normal"

    # --- to the client ---

    def _flush(self) -> None:
        for frame in self._session.outbox.take():
            self._session.write(frame)
        if self._session.closing is not None:
            self._closing, self._session.closing = self._session.closing, None
            self._closed_as = self._closing[0].name
            self._session.write = _discard
            self._session.deadline = asyncio.get_running_loop().time() + limits.CLOSE_S
            self._has_output.set()

    def _write(self, frames: bytes) -> None:
        self._frames.append(frames)
        self._waiting_bytes += len(frames)
        self._has_output.set()
        if self._waiting_bytes > limits.RELAY_BYTES and not self._session.outbox.is_blocked:
            self._node.stall(self._session, True)

    async def _drain(self) -> None:
        await self._tell({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        while self._frames or self._closing is None:
            await self._has_output.wait()
            self._has_output.clear()
            await self._send_frames()
        code, text = self._closing
        reason = text.encode()[: limits.CLOSE_REASON_BYTES].decode(errors="ignore")
        await self._tell({"type": "websocket.close", "code": code.number, "reason": reason})

    async def _send_frames(self) -> None:
        while self._frames:
            frames, self._frames = b"".join(self._frames), []
            for payload in payloads_of(frames):
                await self._tell({"type": "websocket.send", "text": payload.decode()})
            self._waiting_bytes -= len(frames)
        if self._session.outbox.is_blocked:
            self._node.stall(self._session, False)

    async def _tell(self, event: dict[str, Any]) -> None:
        try:
            await self._send(event)
        except (OSError, RuntimeError) as error:
            # The client has gone. Which of the two it is depends on the server, and on who closed.
            _log.debug("send: %s", error)
            self._cancel()

    # --- the end ---

    def _trust_server(self) -> None:
        # ASGI has no pings, and tells of none: whether the client lives only the server knows.
        self._session.hear(asyncio.get_running_loop().time())

    def _abort(self, reason: str) -> None:
        if reason in CLOSES:
            self._closed_as = reason
        self._cancel()

    def _cancel(self) -> None:
        self._session.write = _discard
        for task in self._tasks:
            task.cancel()


async def refuse(scope: Scope, send: Send, verdict: Verdict) -> None:
    """Answer a handshake with a refusal: whole where the server can do that, otherwise a 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
        return
    body = verdict.text.encode() + b"\n"
    headers = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        **headers_for(verdict),
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    start = {"type": "websocket.http.response.start", "status": verdict.status, "headers": raw}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": body})


def _discard(frames: bytes) -> None:
    """Drop what can reach nobody any more."""
