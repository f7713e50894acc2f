"""A node without PostgreSQL: the real hub, application, listener and connections in this loop.

Method: a `Node` stands where the engine stands, resolves every table to one fixed shape (a name
with a NUL, or `missing`, to none) and delivers transactions that were written as a walsender would
write them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast

from engine.tests.core import pgoutput
from engine.tests.integration.loop import until
from engine.tests.integration.peer import PATH, Peer, peer
from tidewire import limits
from tidewire.config import Config
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.splice import Snapshot
from tidewire.core.wal.assembler import Assembler
from tidewire.server.admission import Admission
from tidewire.server.app import App
from tidewire.server.auth import Tokens
from tidewire.server.listener import Listener
from tidewire.server.sockets import write_to_all
from tidewire.spool.file import FileSpool
from tidewire.telemetry import Metrics

TOKEN = "correct-horse-battery-staple"
OID = 41
WORDS = ShapeSpec(
    relation_oid=OID,
    schema="public",
    table="words",
    columns=(ShapeColumn("id", "int4"), ShapeColumn("word", "text")),
    key=("id",),
)
RELATION = pgoutput.relation(
    OID, "public", "words", [("id", pgoutput.INT4, True), ("word", pgoutput.TEXT, False)]
)
OPEN = Config(listen="127.0.0.1:0", dev=True)
GUARDED = Config(listen="127.0.0.1:0", tokens=(TOKEN,))


class Node:
    """What connections see of an engine, and what a database would make of it."""

    def __init__(self, config: Config = OPEN) -> None:
        self.config = config
        self.admission = Admission(config)
        self.tokens = Tokens(config.tokens, is_open=config.dev)
        self.metrics = Metrics()
        self.is_ready = True
        self.is_over: Callable[[], bool] = lambda: False
        self._loop = asyncio.get_running_loop()
        self.hub = Hub(
            FileSpool(),
            schedule=self._schedule_turn,
            copy=self._copy_soon,
            nudge=lambda position: None,
            write_to_all=write_to_all,
            name="node",
        )
        self.hub.restart("epoch-1", Lsn(0x100))
        self._assembler = Assembler(FileSpool())
        self._assembler.feed(pgoutput.transaction_messages(0x80, [RELATION]))
        self._lsn = 0x100
        self._made = 0
        self.app = App(
            self.admission,
            self.tokens,
            is_ready=lambda: self.is_ready,
            status=lambda: {"connections": self.count_sessions(), "config": repr(config)},
            metrics=self.metrics.exposition,
        )
        self.metrics.gauge("connections", "Open now.", self.count_sessions)

    def listen(self, wrap: Callable[[App], object] | None = None) -> None:
        """Take a port."""
        app = wrap(self.app) if wrap else self.app
        self.listener = Listener(self.config, cast("App", app), self)
        self.port = self.listener.port
        self.url = f"{'wss' if self.config.tls_key else 'ws'}://127.0.0.1:{self.port}{PATH}"

    def count_sessions(self) -> int:
        """Count the sessions."""
        return len(self.hub.sessions)

    def open_session(
        self,
        *,
        flush: Callable[[], None],
        send_ping: Callable[[], None],
        abort: Callable[[str], None],
        is_authenticated: bool,
    ) -> ServerSession:
        """Begin a session, as the engine does."""
        self._made += 1
        session = ServerSession(
            f"session-{self._made}",
            self._loop.time(),
            flush=flush,
            send_ping=send_ping,
            abort=abort,
            authenticate=self.tokens.admit,
            is_authenticated=is_authenticated,
        )
        self.hub.open(session)
        return session

    def receive(self, session: ServerSession, payload: bytes) -> None:
        """Take a frame; shapes are resolved a moment later, as by a database."""
        asked = self.hub.receive(session, payload, self._loop.time())
        if asked:
            self._loop.call_soon(self._resolve, session, asked)

    def stall(self, session: ServerSession, is_blocked: bool) -> None:
        """Note that a socket is full, or free again."""
        self.hub.stall(session, is_blocked, self._loop.time())

    def leave(self, session: ServerSession) -> None:
        """Forget a session."""
        self.hub.leave(session)

    def _schedule_turn(self) -> None:
        self._loop.call_soon(self.hub.turn)

    def _resolve(self, session: ServerSession, asked: Sequence[frames.ShapeRequest]) -> None:
        for request in asked:
            if "\0" in request.table or request.table == "missing":
                text = f"there is no table {request.table!r} here"
                self.hub.refuse(session, request, "unknown_table", text)
        self.hub.join(session, [(request, WORDS) for request in asked])

    def _copy_soon(self, copy: Copy, _: ShapeSpec) -> None:
        self._loop.call_soon(self._copy, copy)

    def _copy(self, copy: Copy) -> None:
        # The table has no rows but those that commits bring.
        self.hub.splice(copy, Snapshot(1, 1), self.hub.history.floor)
        self.hub.copies.add_rows(copy, b"", is_last=True)

    def commit(self, *words: str) -> None:
        """Commit one transaction that inserts a row for each word."""
        self._lsn += 0x100
        rows = [pgoutput.insert(OID, [b"%d" % self._lsn, word.encode()]) for word in words]
        messages = pgoutput.transaction_messages(self._lsn, rows, xid=self._lsn)
        self.hub.deliver(self._assembler.feed(messages), self._loop.time())

    def pass_time(self, seconds: float) -> None:
        """Do what is due after so many seconds from now."""
        self.hub.tick(self._loop.time() + seconds)

    def check_is_empty(self) -> None:
        """Make sure that nothing is left of any client."""
        assert self.count_sessions() == 0, "a session outlived its socket"
        self.pass_time(0)
        self.pass_time(limits.COPY_KEEP_S + 1)
        assert len(self.hub.index) == 0, "a shape outlived its subscribers"

    def closed_as(self, reason: str) -> float:
        """Count the connections that were closed for a reason."""
        return float(self.metrics.connections_closed.labels(reason)._value.get())


@contextlib.asynccontextmanager
async def running(
    config: Config = OPEN,
    *,
    wrap: Callable[[App], object] | None = None,
    send_buffer_bytes: int | None = None,
) -> AsyncIterator[Node]:
    """Serve until the block is left; by then every session has to be freed."""
    node = Node(config)
    node.listen(wrap)
    if send_buffer_bytes is not None:  # accepted sockets inherit it
        node.listener._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(node.listener.run_until_stopped())
        node.is_over = serving.done
        try:
            await until(lambda: node.listener.started or serving.done(), "the listener listens")
            yield node
        finally:
            node.listener.should_exit = True
            await asyncio.wait([serving])
    node.check_is_empty()


@contextlib.asynccontextmanager
async def follower(node: Node, *ids: str, path: str = PATH) -> AsyncIterator[Peer]:
    """Connect a peer that follows the table."""
    async with peer(node.port) as client:
        assert (await client.shake_hands(path=path)).status == 101
        await client.follow(*ids)
        yield client
