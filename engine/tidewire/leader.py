"""Hold the slot: read the stream into the log, and let the slot follow the log.

::

    starting --> streaming --> asleep       asleep: nobody is there, so nothing is read; the slot
       ^             |  ^         |         stays, and with it all that is committed meanwhile
       |   broken <--+  +---------+
       +-----+                    somebody comes

Who wakes reads from a bookmark at the end of the log until the slot's own stream is there, too.

Whatever fails is tried again for ever, with backoff and jitter; only a history that does not go on
is given up, and then its slot is dropped and another history begins.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Literal

from psycopg import errors

from tidewire import limits
from tidewire.config import Config
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import LSN_ZERO, Lsn, format_lsn
from tidewire.core.model.spool import Spool
from tidewire.core.stream.history import Mark
from tidewire.core.stream.rejoin import BrokenHistory, Rejoin
from tidewire.core.wal.assembler import Assembler
from tidewire.errors import DatabaseError, DatabaseGone, DecodeError, SpoolError
from tidewire.follower import Follower
from tidewire.postgres.bookmark import Bookmark
from tidewire.postgres.database import Connection, Database
from tidewire.postgres.publication import Notes, publication_name, write_notes
from tidewire.postgres.replication import Identity, Replication
from tidewire.postgres.slot import (
    Slot,
    discard_slot,
    ensure_slot,
    epoch_of,
    is_synchronous_standby,
)
from tidewire.telemetry import Metrics

_log = logging.getLogger("tidewire.leader")

State = Literal["starting", "streaming", "asleep", "broken"]


class _Rest(Exception):
    """Say that nobody needs the stream."""


class Leader:
    """The one task that reads the stream.

    `begun` is called when it runs, again and again, and `tell` whenever the log has grown.
    """

    def __init__(
        self,
        hub: Hub,
        spool: Spool,
        database: Database,
        *,
        config: Config,
        metrics: Metrics,
        tell: Callable[[], None],
        begun: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._database = database
        self._follower = Follower(
            hub, spool, config=config, metrics=metrics, tell=self._note_progress
        )
        self.publishing = self._follower.publishing
        self._config = config
        self._metrics = metrics
        self._tell = tell
        self._begun = begun
        self.state: State = "starting"
        self.trouble: str | None = "starting"
        """Why the stream does not run, in one line."""
        self.is_ready = False
        """The log is as new as the database was when the stream started."""
        self.slot: Slot | None = None
        self.confirmed = LSN_ZERO
        """Position that the slot was last told."""
        self._notes = Notes("")
        """What stands in the publication's comment."""
        self._released = LSN_ZERO
        """Position that the slot may move to."""
        self._replication: Replication | None = None
        self._bookmark = Bookmark(database)
        self._is_overtaking = False
        self._catch_up_to = LSN_ZERO
        self._needed_at = 0.0
        self._is_needed = asyncio.Event()

    # --- what others ask of it ---

    @property
    def replication(self) -> Replication | None:
        """The connection that streams now, if one does."""
        return self._replication

    async def name_history(self) -> None:
        """Find out which history this is: clients are told before the stream runs.

        Raises DatabaseGone, DatabaseRefused.
        """
        slot = await ensure_slot(self._database, self._config.deployment)
        async with Replication(self._config.database_url) as replication:
            self._begin_history(slot, await replication.identify())

    def ask(self) -> None:
        """Ask the walsender how far it is."""
        self._send_report(LSN_ZERO)

    def report(self) -> None:
        """Tell the walsender that we live, and how far its slot may move."""
        self._send_report(self._releasable())

    async def settle(self) -> None:
        """Let go of what has left the log once the database shows it to everybody."""
        history = self._hub.history
        if self._replication is None:
            return
        try:
            if self._bookmark.name is None:
                await self._bookmark.take_out()
            if history.has_unsettled:
                history.settle(await self._database.snapshot())
            released, quiet = history.settled, history.quiet
            if released <= self._released or not self.is_ready or self._is_overtaking:
                return  # what is read ahead is not proven yet
            if quiet and released - self._released < limits.QUIET_BYTES:
                return  # it is not worth being written down
            if quiet or self._notes.quiet:
                # Before the slot moves: behind it nobody could find out any more.
                async with self._database.connection() as connection:
                    await self._write(connection, quiet, released)
            self._released = released
        except DatabaseError as error:
            _log.debug("settle: %s", error)  # the next second is another chance

    async def keep(self, connection: Connection) -> None:
        """Write down what `publishing` has learnt."""
        await self._write(connection, self._notes.quiet, self._notes.until)

    async def _write(self, connection: Connection, quiet: Mark | None, until: Lsn) -> None:
        notes = Notes(self._notes.slot, dict(self.publishing.horizons), quiet, until)
        try:
            await write_notes(connection, publication_name(self._config.deployment), notes)
        except errors.InsufficientPrivilege:
            if self._notes.quiet is not None:
                raise  # what stands there would become wrong
            _log.debug("the publication is not ours: nothing is written down")
        else:
            self._notes = notes

    def need(self) -> None:
        """Note that somebody is there: wake up, and stay awake for a while."""
        self._needed_at = asyncio.get_running_loop().time()
        self._is_needed.set()

    async def rest(self) -> None:
        """Fall asleep if nobody has been there for long."""
        if self._is_overtaking or self.state != "streaming":
            return
        if not self._may_rest():
            self._bookmark.use_up()
        elif await self._is_marked() and self._may_rest() and self._replication is not None:
            self._replication.interrupt(_Rest())

    def _may_rest(self) -> bool:
        idle_s = asyncio.get_running_loop().time() - self._needed_at
        after_s = self._config.hibernate_after_s
        return bool(after_s) and idle_s >= after_s and self.is_ready

    async def _is_marked(self) -> bool:
        """Leave a bookmark where it is worth it; tell when all before it was read."""
        progress = self._hub.history.progress
        if self.slot is None or progress - self.confirmed < limits.BOOKMARK_BYTES:
            return True
        try:
            if self._bookmark.name is None:
                await self._bookmark.take_out()
                await self._bookmark.place(self.slot.name)
        except DatabaseError as error:
            _log.debug("bookmark: %s", error)  # the stream has the same trouble, and says so
        return self._bookmark.name is None or progress >= self._bookmark.position

    async def abandon(self, reason: str) -> None:
        """Give this history up, because it costs more than it may: the slot is dropped.

        Raises DatabaseGone, DatabaseRefused.
        """
        if self._replication is not None:
            self._replication.interrupt(BrokenHistory(reason))
        elif self.slot is not None:
            self._note_trouble(f"another history begins: {reason}")
            await discard_slot(self._database, self.slot.name)

    # --- the task ---

    async def run(self) -> None:
        """Stream for ever."""
        wait_s = limits.BACKOFF_FIRST_S
        clock = asyncio.get_running_loop().time
        self.need()
        while True:
            started_at = clock()
            try:
                await self._stream()
            except _Rest:
                await self._sleep()
                wait_s = limits.BACKOFF_FIRST_S
                continue
            except (DatabaseError, DecodeError, SpoolError, TimeoutError) as error:
                self._note_trouble(str(error) or "the database did not answer in time")
            except BrokenHistory as error:
                self._note_trouble(f"another history begins: {error}")
                await self._discard_slot()
            if clock() - started_at > limits.BACKOFF_LONGEST_S:
                wait_s = limits.BACKOFF_FIRST_S
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(wait_s * 2, limits.BACKOFF_LONGEST_S)

    async def _stream(self) -> None:
        async with Replication(self._config.database_url) as replication:
            try:
                rejoin = await self._begin(replication)
                assembler = await self._overtake(replication, rejoin)
                await self._follower.follow(replication, rejoin, assembler)
            finally:
                self._replication = None
                self._hub.interrupt()

    async def _overtake(self, replication: Replication, rejoin: Rejoin) -> Assembler | None:
        """Read from the bookmark as long as it is quicker, if there is one for where we are."""
        assembler = None
        self._is_overtaking = True
        try:
            # The slot is ours now, so no other server makes a bookmark any more.
            if await self._bookmark.continues(self._hub.history.progress):
                assert self._bookmark.name is not None, "it continues the log"
                assembler = await self._follower.overtake(self._bookmark.name, replication, rejoin)
            self._bookmark.use_up()
        finally:
            self._is_overtaking = False
        return assembler

    async def _begin(self, replication: Replication) -> Rejoin:
        slot = await ensure_slot(self._database, self._config.deployment)
        # A new slot begins behind what was written before it: where the log ends is asked later.
        identity = await replication.identify()
        self._begin_history(slot, identity)
        rejoin = Rejoin(self._hub.history)
        if identity.flushed < self._hub.history.progress:
            raise BrokenHistory("the database is at an earlier position than before")
        if slot.confirmed > rejoin.after:
            raise BrokenHistory("somebody else has moved the slot")
        publication = publication_name(self._config.deployment)
        await replication.start(slot.name, publication, rejoin.after)
        self._replication = replication
        if await is_synchronous_standby(self._database, replication.pid):
            replication.is_trailing = False
            _log.warning("commits wait for this engine: list standbys by name, not as '*'")
        self.confirmed, self._catch_up_to = slot.confirmed, identity.flushed
        self.state, self.trouble = "streaming", None
        self._begun()
        self._metrics.replication_starts.inc()
        _log.info("streaming from slot %s", slot.name, extra={"lsn": format_lsn(rejoin.after)})
        return rejoin

    def _begin_history(self, slot: Slot, identity: Identity) -> None:
        self.slot = slot
        self._bookmark.recall(slot.name)
        epoch = epoch_of(identity.system_id, identity.timeline, slot.name)
        if epoch != self._hub.epoch:
            notes = self._notes = slot.notes
            solid = notes.solid(slot.confirmed)
            self._hub.restart(epoch, slot.confirmed, slot.horizon, solid=solid)
            self.publishing.recall(notes.horizons)
            self._released = slot.confirmed

    def _note_progress(self, rejoin: Rejoin) -> None:
        if self._hub.history.progress >= self._catch_up_to and rejoin.is_complete:
            self.is_ready = True
        self._tell()

    async def _sleep(self) -> None:
        """Keep nothing open until somebody comes; the log does not grow older meanwhile."""
        clock = asyncio.get_running_loop().time
        self._is_needed.clear()
        self.state = "asleep"
        _log.info("asleep: nobody has been there for %d s", self._config.hibernate_after_s)
        history = self._hub.history
        history.pause(clock())
        try:
            await self._database.rest()
            await self._is_needed.wait()
        finally:
            history.resume(clock())
        _log.info("awake")

    # --- trouble ---

    def _note_trouble(self, text: str) -> None:
        self.state, self.trouble = "broken", text
        self.is_ready = False
        self._metrics.replication_failures.inc()
        _log.warning("replication: %s", text)

    async def _discard_slot(self) -> None:
        if self.slot is None:
            return
        try:
            await discard_slot(self._database, self.slot.name)
        except DatabaseError as error:
            self._note_trouble(str(error))

    # --- reports ---

    def _send_report(self, flush: Lsn) -> None:
        if self._replication is None:
            return
        try:
            self._replication.report(flush, wants_reply=True)
            if self._follower.ahead is not None:
                self._follower.ahead.report(wants_reply=True)
        except DatabaseGone as error:
            _log.debug("report: %s", error)  # the reader sees the same and deals with it

    def _releasable(self) -> Lsn:
        if self._replication is None or self._released <= self.confirmed:
            return LSN_ZERO
        self.confirmed = self._released
        return self._released
