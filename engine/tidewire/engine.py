"""The composition root: one TaskGroup holds everything that runs.

::

    replicate   stream -> assembler -> hub -> sockets     (the walk of a commit)
    report      tells the walsender that we live, and how far its slot may move
    serve       the one port
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
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self

from tidewire import limits
from tidewire.config import Config
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import LSN_ZERO, Lsn, format_lsn
from tidewire.core.session.server import ServerSession
from tidewire.core.stream.rejoin import BrokenHistory, Rejoin
from tidewire.core.wal.assembler import Assembler
from tidewire.definitions import Definitions
from tidewire.errors import (
    DatabaseError,
    DatabaseGone,
    DecodeError,
    SpoolError,
)
from tidewire.postgres.catalog import Catalog
from tidewire.postgres.database import Database
from tidewire.postgres.replication import Identity, Replication
from tidewire.postgres.slot import (
    Slot,
    check_server,
    discard_slot,
    ensure_slot,
    epoch_of,
    is_synchronous_standby,
    publication_name,
)
from tidewire.postgres.snapshot import TableSnapshot
from tidewire.progress import Progress
from tidewire.server.admission import Admission
from tidewire.server.app import App
from tidewire.server.auth import Tokens
from tidewire.server.listener import Listener
from tidewire.snapshots import Snapshots
from tidewire.spool.file import FileSpool
from tidewire.subscriptions import Subscriptions
from tidewire.telemetry import Metrics

_log = logging.getLogger("tidewire.engine")


class Engine:
    """A node: `async with Engine(config) as engine` serves until the block is left.

    Raises ConfigError, DatabaseRefused or DatabaseGone when it cannot start. Once started it
    outlives every failure of PostgreSQL.
    """

    def __init__(self, config: Config, *, page: bytes | None = None) -> None:
        config.check_complete()
        self.config = config
        self.metrics = Metrics()
        self.tokens = Tokens(config.tokens, is_open=config.dev)
        self.admission = Admission(config)
        self._database = Database(config.database_url)
        folder = Path(config.spool_dir) if config.spool_dir else None
        spool = self._spool = FileSpool(folder, memory_bytes=limits.SPOOL_MEMORY_BYTES)
        self._progress = Progress(
            lambda: self.hub.history.progress,
            ask=lambda: self._ask_progress(LSN_ZERO),
            flush=self._database.flush,
            start=self._start,
        )
        self.hub = Hub(
            spool,
            schedule=self._schedule_turn,
            copy=lambda copy, spec: self._start(self._snapshots.copy(copy, spec)),
            nudge=self._progress.nudge,
            name=secrets.token_hex(4),
        )
        self._snapshots = Snapshots(
            self.hub, open=lambda spec: TableSnapshot.open(config.database_url, spec)
        )
        catalog = self._catalog = Catalog(self._database, config.deployment, config.tables)
        self._definitions = Definitions(self.hub, catalog)
        self._subscriptions = Subscriptions(
            self.hub, resolve=self._definitions.resolve, reach=self._progress.reach
        )
        app = App(
            self.admission,
            self.tokens,
            is_ready=lambda: self.is_ready,
            status=self.status,
            metrics=self.metrics.exposition,
            page=page,
        )
        self._make_listener: Callable[[], Listener] = lambda: Listener(config, app, self)
        self._listener: Listener | None = None
        self._replication: Replication | None = None
        self._slot: Slot | None = None
        self._confirmed = LSN_ZERO
        self._catch_up_to = LSN_ZERO
        self._trouble: str | None = "starting"
        self._is_ready = False
        self._started_at = time.monotonic()
        self._tasks = asyncio.TaskGroup()
        self._background: set[asyncio.Task[None]] = set()
        self._expose()

    # --- life ---

    async def __aenter__(self) -> Self:
        """Check the database, bind the port and start all tasks."""
        try:
            await check_server(self._database)
            await self._name_history()
            self._listener = self._make_listener()
        except BaseException:
            await self._database.close()
            raise
        await self._tasks.__aenter__()
        self._serving = self._tasks.create_task(self._listener.run_until_stopped(), name="serve")
        for work in (self._replicate, self._report, self._watch, self._settle):
            self._start(work())
        self._start(self._definitions.watch())
        _log.info("serving on %s", self.url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop in the order that the module names."""
        assert self._listener is not None
        self._listener.should_exit = True
        try:
            await asyncio.wait([self._serving])
            for task in self._background:
                task.cancel()
            await self._tasks.__aexit__(kind, error, traceback)
        finally:
            await self._database.close()

    async def _name_history(self) -> None:
        # Clients are told the epoch, so it must be known before the first of them is let in.
        slot = self._slot = await ensure_slot(self._database, self.config.deployment)
        async with Replication(self.config.database_url) as replication:
            identity = await replication.identify()
        epoch = epoch_of(identity.system_id, identity.timeline, slot.name)
        self.hub.restart(epoch, slot.confirmed, slot.horizon)

    @property
    def url(self) -> str:
        """Where clients connect."""
        scheme = "wss" if self.config.tls_certificate else "ws"
        return f"{scheme}://{self._authority}/v1/sync"

    @property
    def page_url(self) -> str:
        """Where a browser goes."""
        scheme = "https" if self.config.tls_certificate else "http"
        return f"{scheme}://{self._authority}/"

    @property
    def _authority(self) -> str:
        assert self._listener is not None, "the engine runs"
        host, _ = self.config.address
        return f"[{host}]:{self._listener.port}" if ":" in host else f"{host}:{self._listener.port}"

    @property
    def is_ready(self) -> bool:
        """Tell whether the stream runs and the log is as new as the database was at its start."""
        return self._is_ready

    def status(self) -> dict[str, object]:
        """Describe the node for people and machines."""
        history = self.hub.history
        return {
            "deployment": self.config.deployment,
            "epoch": self.hub.epoch,
            "is_ready": self.is_ready,
            "trouble": self._trouble,
            "slot": self._slot.name if self._slot else None,
            "confirmed": format_lsn(self._confirmed),
            "floor": format_lsn(history.floor),
            "progress": format_lsn(history.progress),
            "log_commits": history.next - history.first,
            "log_bytes": history.bytes,
            "connections": len(self.hub.sessions),
            "shapes": len(self.hub.index),
            "copies": len(self.hub.copies),
            "waiting": dict(self._catalog.waiting),
            "uptime_s": round(time.monotonic() - self._started_at, 1),
        }

    # --- replicate ---

    async def _replicate(self) -> None:
        wait_s = limits.BACKOFF_FIRST_S
        while True:
            started_at = asyncio.get_running_loop().time()
            try:
                await self._stream()
            except (DatabaseError, DecodeError, SpoolError, TimeoutError) as error:
                self._note_trouble(str(error) or "the database did not answer in time")
            except BrokenHistory as error:
                self._note_trouble(f"another history begins: {error}")
                await self._discard_slot()
            if asyncio.get_running_loop().time() - started_at > limits.BACKOFF_LONGEST_S:
                wait_s = limits.BACKOFF_FIRST_S
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(wait_s * 2, limits.BACKOFF_LONGEST_S)

    async def _stream(self) -> None:
        async with Replication(self.config.database_url) as replication:
            identity = await replication.identify()
            try:
                rejoin = await self._begin(replication, identity)
                await self._follow(replication, rejoin)
            finally:
                self._replication = None
                self.hub.interrupt()

    async def _begin(self, replication: Replication, identity: Identity) -> Rejoin:
        slot = await ensure_slot(self._database, self.config.deployment)
        epoch = epoch_of(identity.system_id, identity.timeline, slot.name)
        if epoch != self.hub.epoch:
            self.hub.restart(epoch, slot.confirmed, slot.horizon)
        rejoin = Rejoin(self.hub.history)
        if identity.flushed < self.hub.history.progress:
            raise BrokenHistory("the database is at an earlier position than before")
        if slot.confirmed > rejoin.after:
            raise BrokenHistory("somebody else has moved the slot")
        await replication.start(slot.name, publication_name(self.config.deployment), rejoin.after)
        self._replication = replication
        if await is_synchronous_standby(self._database, replication.pid):
            replication.is_trailing = False
            _log.warning("commits wait for this engine: list standbys by name, not as '*'")
        self._slot, self._confirmed = slot, slot.confirmed
        self._catch_up_to, self._trouble = identity.flushed, None
        self._definitions.look_soon()
        self.metrics.replication_starts.inc()
        _log.info("streaming from slot %s", slot.name, extra={"lsn": format_lsn(rejoin.after)})
        return rejoin

    async def _follow(self, replication: Replication, rejoin: Rejoin) -> None:
        assembler = Assembler(self._spool)
        clock = asyncio.get_running_loop().time
        while True:
            batch = await replication.read()
            transactions = assembler.feed(batch.messages)
            if transactions:
                self.hub.deliver(rejoin.check(transactions), clock())
                self.metrics.transactions.inc(len(transactions))
                self.metrics.rows.inc(sum(transaction.rows for transaction in transactions))
            if batch.progress and not assembler.is_open and rejoin.check_progress(batch.progress):
                self.hub.advance(batch.progress)
            if self.hub.history.progress >= self._catch_up_to and rejoin.is_complete:
                self._is_ready = True
            self._progress.tell()
            # A busy stream never waits by itself, and the sockets want their turn.
            await asyncio.sleep(0)

    def _note_trouble(self, text: str) -> None:
        self._trouble = text
        self._is_ready = False
        self.metrics.replication_failures.inc()
        _log.warning("replication: %s", text)

    async def _discard_slot(self) -> None:
        if self._slot is None:
            return
        try:
            await discard_slot(self._database, self._slot.name)
        except DatabaseError as error:
            self._note_trouble(str(error))

    # --- report, watch ---

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(limits.FEEDBACK_S)
            self._ask_progress(self._releasable())

    def _ask_progress(self, flush: Lsn) -> None:
        if self._replication is None:
            return
        try:
            self._replication.report(flush, wants_reply=True)
        except DatabaseGone as error:
            _log.debug("report: %s", error)  # the reader sees the same and deals with it

    def _releasable(self) -> Lsn:
        settled = self.hub.history.settled
        if self._replication is None or settled <= self._confirmed:
            return LSN_ZERO
        self._confirmed = settled
        return settled

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(limits.PROGRESS_S)
            self.hub.tick(clock())
            if self._listener is not None:
                self._listener.sweep(clock())

    async def _settle(self) -> None:
        # What has left the log is let go of in the slot once the database shows it to everybody.
        while True:
            await asyncio.sleep(limits.PROGRESS_S)
            if not self.hub.history.has_unsettled or self._replication is None:
                continue
            try:
                self.hub.history.settle(await self._database.snapshot())
            except DatabaseError as error:
                _log.debug("settle: %s", error)  # the next second is another chance

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
        gauge("is_ready", "1 when /ready says yes.", lambda: float(self.is_ready))
