"""A second slot at the end of the log, to wake up from.

The slot of a deployment trails by the whole log, and a stream that starts again decodes all of that
first. A server that falls asleep leaves a bookmark where its log ends, and when it wakes it reads
from there at once, until the slot's own stream has come as far. It holds back nothing that the slot
does not hold back anyway, and without it waking is only slower.
"""

from __future__ import annotations

import logging

import psycopg
from psycopg import errors

from tidewire import limits
from tidewire.core.model.lsn import Lsn, parse_lsn
from tidewire.postgres.database import Database
from tidewire.postgres.slot import bookmark_of, drop_slot

_log = logging.getLogger("tidewire.bookmark")


class Bookmark:
    """The bookmark of one slot at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._left: str | None = None
        """A slot of ours that may be there."""
        self.name: str | None = None
        """What to read from, if it is there for that."""
        self.position = Lsn(0)
        """Everything that is committed behind here can be read from it."""

    def recall(self, slot: str) -> None:
        """Note the slot; an earlier process may have left a bookmark for it."""
        if self._left != bookmark_of(slot):
            self._left, self.name = bookmark_of(slot), None

    async def place(self, slot: str) -> None:
        """Make one where the database's log ends, if that is possible in short time.

        Raises DatabaseGone, DatabaseRefused.
        """
        name = self._left = bookmark_of(slot)
        patience = f"{int(limits.BOOKMARK_TIMEOUT_S * 1000)}"
        async with self._database.connection() as connection:
            await connection.execute(
                "SELECT set_config('statement_timeout', %s, false)", [patience]
            )
            try:
                cursor = await connection.execute(
                    "SELECT lsn FROM pg_create_logical_replication_slot(%s, 'pgoutput')", [name]
                )
                row = await cursor.fetchone()
            except psycopg.Error as error:
                # No slot is free, or somebody has an old transaction open.
                _log.info("no bookmark, so waking will take longer: %s", error)
                return
            finally:
                if not connection.closed:
                    await connection.execute("RESET statement_timeout")
        assert row is not None
        self.name, self.position = name, parse_lsn(str(row["lsn"]))

    async def continues(self, progress: Lsn) -> bool:
        """Tell whether all that is committed behind a position can be read from it.

        A stream that broke may not have come so far; another server of the deployment may have put
        its own in place of ours, under the same name. PostgreSQL would leave out what lies between.
        Raises DatabaseGone, DatabaseRefused.
        """
        if self.name is None or progress < self.position:
            return False
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT confirmed_flush_lsn AS place FROM pg_replication_slots"
                " WHERE slot_name = %s",
                [self.name],
            )
            row = await cursor.fetchone()
        return row is not None and parse_lsn(str(row["place"])) == self.position

    def use_up(self) -> None:
        """Note that it is of no more use: the stream is beyond it."""
        self.name = None

    async def take_out(self) -> None:
        """Drop what is left, unless somebody still reads from it.

        Raises DatabaseGone, DatabaseRefused.
        """
        if self._left is None:
            return
        async with self._database.connection() as connection:
            try:
                await drop_slot(connection, self._left)
            except errors.ObjectInUse:
                return  # our own walsender has not noticed yet that we are gone
            except errors.UndefinedObject:
                pass
        self._left = self.name = None
