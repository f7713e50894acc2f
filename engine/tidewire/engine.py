"""The composition root: one TaskGroup holds everything that runs.

::

    replicate   stream -> assembler -> hub -> sockets     (the walk of a commit)
    report      tells the walsender that we live, and how far its slot may move
    serve       the one port, or none where the engine is mounted in an application
    watch       once a second: what is due
    settle      once a second: may the slot let go of what has left the log?
    definitions every few seconds: has anybody altered a table?
    copies      one task for each table that is copied now

Shutdown, in this order: stop accepting, close the connections with 1012, end the stream (which
frees the slot but keeps it), close the database connection.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self

from tidewire import limits
from tidewire.config import Config
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import format_lsn
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeSpec
from tidewire.definitions import Definitions
from tidewire.guard import Guard
from tidewire.leader import Leader
from tidewire.postgres.catalog import Catalog
from tidewire.postgres.database import Database
from tidewire.postgres.slot import (
    check_server,
)
from tidewire.postgres.snapshot import TableSnapshot
from tidewire.progress import Progress
from tidewire.server.admission import Admission
from tidewire.server.app import App
from tidewire.server.auth import Tokens
from tidewire.server.front import Front, MakeFront
from tidewire.server.listener import Listener
from tidewire.server.sockets import write_to_all
from tidewire.snapshots import Snapshots
from tidewire.spool.file import FileSpool
from tidewire.subscriptions import Subscriptions
from tidewire.telemetry import Metrics

_log = logging.getLogger("tidewire.engine")


class Engine:
    """A node: `async with Engine(config) as engine` serves until the block is left.

    Connections come through the front, which is a port of its own if no other is given. Raises
    ConfigError, DatabaseRefused or DatabaseGone when it cannot start. Once started it outlives
    every failure of PostgreSQL.
    """

    def __init__(
        self, config: Config, *, page: bytes | None = None, front: MakeFront = Listener
    ) -> None:
        config.check_complete()
        self.config = config
        self.metrics = Metrics()
        self.tokens = Tokens(config.tokens, is_open=config.dev)
        self.admission = Admission(config)
        self._database = Database(config.database_url)
        spool = _make_spool(config)
        self._progress = Progress(
            lambda: self.hub.history.progress,
            ask=self._ask,
            flush=self._database.flush,
            start=self._start,
        )
        self.hub = Hub(
            spool,
            schedule=self._schedule_turn,
            copy=lambda copy, spec: self._start(self._snapshots.copy(copy, spec)),
            nudge=self._progress.nudge,
            write_to_all=write_to_all,
            name=secrets.token_hex(4),
        )
        self.leader = Leader(
            self.hub,
            spool,
            self._database,
            config=config,
            metrics=self.metrics,
            tell=self._progress.tell,
            begun=self._look_soon,
        )
        self._catalog = Catalog(
            self._database, config, publishing=self.leader.publishing, keep=self.leader.keep
        )
        self._definitions = Definitions(self.hub, self._catalog)
        self.guard = Guard(self.hub, self.leader, self._database, config.wal_bytes_max)
        self._snapshots = Snapshots(self.hub, open=self._open_snapshot)
        self._subscriptions = Subscriptions(
            self.hub,
            tables=self._definitions,
            reach=self._progress.reach,
            start=self._start,
        )
        self._make_front: Callable[[], Front] = lambda: front(config, self._make_app(page), self)
        self._front: Front | None = None
        self._tasks = asyncio.TaskGroup()
        self._background: set[asyncio.Task[None]] = set()

    def _make_app(self, page: bytes | None) -> App:
        return App(
            self.admission,
            self.tokens,
            is_ready=lambda: self.is_ready,
            status=self.status,
            metrics=self.metrics.exposition,
            page=page,
        )

    async def _open_snapshot(self, spec: ShapeSpec) -> TableSnapshot:
        return await TableSnapshot.open(self.config.database_url, spec)

    # --- life ---

    async def __aenter__(self) -> Self:
        """Check the database, bind the port and start all tasks."""
        self._started_at = time.monotonic()
        self._expose()
        try:
            await check_server(self._database)
            await self.leader.name_history()
            self._front = self._make_front()
        except BaseException:
            await self._database.close()
            raise
        await self._tasks.__aenter__()
        self._serving = self._tasks.create_task(self._front.run_until_stopped(), name="serve")
        for work in (self.leader.run(), self._report(), self._settle(), self.guard.run()):
            self._start(work)
        self._start(self._watch())
        self._start(self._definitions.watch())
        _log.info("serving on %s", self._front.url or "the port of an application")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop in the order that the module names."""
        assert self._front is not None
        self._front.stop()
        try:
            await asyncio.wait([self._serving])
            for task in self._background:
                task.cancel()
            await self._tasks.__aexit__(kind, error, traceback)
        finally:
            await self._database.close()

    @property
    def url(self) -> str:
        """Where clients connect."""
        url = self._front and self._front.url
        assert url, "the engine runs, on a port of its own"
        return url

    @property
    def page_url(self) -> str:
        """Where a browser goes."""
        return self.url.replace("ws", "http", 1).removesuffix("v1/sync")

    @property
    def is_ready(self) -> bool:
        """Tell whether the stream runs and the log is as new as the database was at its start."""
        return self.leader.is_ready

    def status(self) -> dict[str, object]:
        """Describe the node for people and machines."""
        history, leader = self.hub.history, self.leader
        return {
            "deployment": self.config.deployment,
            "epoch": self.hub.epoch,
            "is_ready": self.is_ready,
            "state": leader.state,
            "trouble": leader.trouble,
            "slot": leader.slot.name if leader.slot else None,
            "confirmed": format_lsn(leader.confirmed),
            "floor": format_lsn(history.floor),
            "progress": format_lsn(history.progress),
            "retained_bytes": self._retained_bytes(),
            "retained_bytes_max": self.config.wal_bytes_max,
            "held_by": self.guard.held_by,
            "log_commits": history.next - history.first,
            "log_bytes": history.bytes,
            "connections": len(self.hub.sessions),
            "shapes": len(self.hub.index),
            "copies": len(self.hub.copies),
            "waiting": dict(self._catalog.waiting),
            "uptime_s": round(time.monotonic() - self._started_at, 1),
        }

    # --- what is due every now and then ---

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(limits.FEEDBACK_S)
            self.leader.report()

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(limits.PROGRESS_S)
            self.hub.tick(clock())
            if self._front is not None:
                self._front.sweep(clock())
            if self.hub.sessions or len(self.hub.copies):
                self.leader.need()

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(limits.PROGRESS_S)
            await self.leader.settle()
            await self.leader.rest()

    # --- what connections ask ---

    def count_sessions(self) -> int:
        """Count the connections that are open now."""
        return len(self.hub.sessions)

    def open_session(
        self,
        *,
        flush: Callable[[], None],
        send_ping: Callable[[], None],
        abort: Callable[[str], None],
        is_authenticated: bool,
    ) -> ServerSession:
        """Begin a session for a new connection."""
        session = ServerSession(
            secrets.token_hex(8),
            asyncio.get_running_loop().time(),
            flush=flush,
            send_ping=send_ping,
            abort=abort,
            authenticate=self.tokens.admit,
            is_authenticated=is_authenticated,
        )
        self.hub.open(session)
        self.leader.need()
        return session

    def receive(self, session: ServerSession, payload: bytes) -> None:
        """Take a frame of a session."""
        asked = self.hub.receive(session, payload, asyncio.get_running_loop().time())
        if asked:
            self._start(self._subscriptions.answer(session, asked))

    def stall(self, session: ServerSession, is_blocked: bool) -> None:
        """Note that a session's socket is full, or free again."""
        self.hub.stall(session, is_blocked, asyncio.get_running_loop().time())

    def leave(self, session: ServerSession) -> None:
        """Forget a session whose socket is gone."""
        self.hub.leave(session)

    # --- plumbing ---

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _retained_bytes(self) -> int:
        return self.guard.retained.total if self.guard.retained else 0

    def _ask(self) -> None:
        self.leader.ask()

    def _look_soon(self) -> None:
        self._definitions.look_soon()

    def _schedule_turn(self) -> None:
        asyncio.get_running_loop().call_soon(self.hub.turn)

    def _expose(self) -> None:
        hub, gauge = self.hub, self.metrics.gauge
        gauge("connections", "WebSockets that are open.", lambda: len(hub.sessions))
        gauge("copies", "Copies of tables in the spool.", lambda: len(hub.copies))
        gauge("shapes", "Shapes that somebody has.", lambda: len(hub.index))
        gauge("log_commits", "Commits in the log.", lambda: hub.history.next - hub.history.first)
        gauge("log_bytes", "Bytes that the log takes.", lambda: hub.history.bytes)
        gauge("progress_lsn", "Position up to which all is known.", lambda: hub.history.progress)
        gauge("wal_retained_bytes", "Log that the slot keeps.", self._retained_bytes)
        gauge("is_asleep", "1 while nobody is there.", lambda: self.leader.state == "asleep")
        gauge("is_ready", "1 when /ready says yes.", lambda: float(self.is_ready))


def _make_spool(config: Config) -> FileSpool:
    folder = Path(config.spool_dir) if config.spool_dir else None
    return FileSpool(folder, memory_bytes=limits.SPOOL_MEMORY_BYTES)
