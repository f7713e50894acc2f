"""Keep the write-ahead log that the slot holds back below its bound, awake and asleep.

In this order: a heartbeat, where only others write, so that there is a commit that the slot can
move to; the oldest of the log is dropped, so that the slot may move; and at the bound the slot goes
itself, because a full disk would stop the database. Each step is said aloud.
"""

from __future__ import annotations

import asyncio
import logging

from psycopg import errors

from tidewire import limits
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import parse_lsn
from tidewire.core.stream.retention import Retained, Step, judge, look_again_s, shed_below
from tidewire.errors import DatabaseError
from tidewire.leader import Leader
from tidewire.postgres.database import Database, query

_log = logging.getLogger("tidewire.guard")
_MIB = 1024 * 1024


class Guard:
    """The one task that measures what the slot costs."""

    def __init__(self, hub: Hub, leader: Leader, database: Database, bytes_max: int) -> None:
        self._hub = hub
        self._leader = leader
        self._database = database
        self._bytes_max = bytes_max
        self._warned_at = -limits.WARN_AGAIN_S
        self.retained: Retained | None = None
        """What was measured last."""
        self.held_by: str | None = None
        """The oldest transaction, if it has been open for long."""

    async def run(self) -> None:
        """Look for ever."""
        clock = asyncio.get_running_loop().time
        looked_at = clock()
        pause_s = limits.GUARD_S
        while True:
            await asyncio.sleep(pause_s)
            before, was_asleep = self.retained, self._leader.state == "asleep"
            pause_s = limits.GUARD_S
            try:
                await self._look()
                await self._act()
                if self._leader.state == "asleep":
                    await self._database.rest()
            except DatabaseError as error:
                _log.debug("guard: %s", error)  # the stream has the same trouble, and says so
            if self._leader.state == "asleep" and self.retained is not None:
                pause_s = look_again_s(
                    before if was_asleep else None,
                    self.retained,
                    clock() - looked_at,
                    self._bytes_max,
                    shortest_s=limits.GUARD_ASLEEP_S,
                    longest_s=limits.GUARD_ASLEEP_LONGEST_S,
                )
            looked_at = clock()

    async def _look(self) -> None:
        slot = self._leader.slot
        if slot is None:
            return
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                query("retained"), {"slot": slot.name, "held_s": limits.HELD_S}
            )
            row = await cursor.fetchone()
        self.retained = self.held_by = None
        if row is not None:
            places = (parse_lsn(str(row[name])) for name in ("restart", "confirmed", "end"))
            self.retained = Retained(*places)
            self.held_by = row["held_by"]

    async def _act(self) -> None:
        if self.retained is None:
            return
        step = judge(self.retained, self._bytes_max, is_held=self.held_by is not None)
        if step is not Step.NOTHING and self._leader.state == "asleep":
            # Reading costs nobody anything; moving the slot blindly would cost all who sleep.
            _log.info("awake to read: %d MiB of log are kept", self.retained.total // _MIB)
            self._leader.need()
            return
        match step:
            case Step.NOTHING:
                await self._beat()
            case Step.NAME:
                await self._help(f"because of the {self.held_by}")
            case Step.SHED:
                await self._beat()
                self._hub.history.shed(shed_below(self.retained, self._bytes_max))
                await self._leader.settle()
                self._leader.report()
                await self._help("for clients that come back: fewer will be able to go on")
            case Step.DROP:
                held = f", held by {self.held_by}" if self.held_by else ""
                await self._leader.abandon(
                    f"PostgreSQL keeps {self.retained.total // _MIB} MiB of log for the slot, more "
                    f"than the {self._bytes_max // _MIB} MiB of wal_bytes_max{held}"
                )

    async def _beat(self) -> None:
        """Commit something, if for long nothing was committed that the slot could move to."""
        history = self._hub.history
        if self._leader.state != "streaming" or not self._leader.is_ready:
            return
        if history.progress - history.newest < limits.HEARTBEAT_BYTES:
            return
        async with self._database.connection() as connection:
            await connection.execute("SELECT pg_logical_emit_message(true, 'tidewire', '')")

    async def _help(self, reason: str) -> None:
        """Say why the log is long, and let the slot move as soon as it may.

        A slot moves over what a snapshot of running transactions covers, one after another. A
        server writes one every 15 s, and meanwhile the log may grow from half of the bound to all.
        """
        self._warn(reason)
        async with self._database.connection() as connection:
            try:
                await connection.execute("SELECT pg_log_standby_snapshot()")
            except (errors.UndefinedFunction, errors.InsufficientPrivilege) as error:
                _log.debug("help: %s", error)  # the server makes one by itself, later

    def _warn(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._warned_at < limits.WARN_AGAIN_S:
            return
        self._warned_at = now
        assert self.retained is not None, "looked at just before"
        kept, most = self.retained.total // _MIB, self._bytes_max // _MIB
        _log.warning("PostgreSQL keeps %d of at most %d MiB of log %s", kept, most, reason)
