"""What connections ask of the node that they belong to (`engine.Engine`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from tidewire.core.session.server import ServerSession
from tidewire.server.admission import Admission
from tidewire.server.auth import Tokens
from tidewire.telemetry import Metrics

_log = logging.getLogger("tidewire.server")


class Node(Protocol):
    """A node, as connections see it."""

    admission: Admission
    tokens: Tokens
    metrics: Metrics

    def count_sessions(self) -> int:
        """Count the connections that are open now."""
        ...

    def open_session(
        self,
        *,
        flush: Callable[[], None],
        send_ping: Callable[[], None],
        abort: Callable[[str], None],
        is_authenticated: bool,
    ) -> ServerSession:
        """Begin a session."""
        ...

    def receive(self, session: ServerSession, payload: bytes) -> None:
        """Take a frame of a session."""
        ...

    def stall(self, session: ServerSession, is_blocked: bool) -> None:
        """Note that a session's socket is full, or free again."""
        ...

    def leave(self, session: ServerSession) -> None:
        """Forget a session whose socket is gone."""
        ...


def note_refused(node: Node, status: int) -> None:
    """Count and log a handshake that was refused."""
    node.metrics.connections_refused.inc()
    _log.info("connection refused: %d", status)


def note_closed(node: Node, session: ServerSession, reason: str) -> None:
    """Count and log a connection that is gone, and forget its session."""
    node.leave(session)
    node.metrics.connections_closed.labels(reason).inc()
    _log.info(
        "connection closed: %s",
        reason,
        extra={"connection": session.id, "client": session.client},
    )
