"""Copies of tables on their way from the database to the hub, a few at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from tidewire import limits
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import Lsn
from tidewire.core.shape.shape import ShapeSpec
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.splice import Snapshot
from tidewire.errors import DatabaseError, DatabaseGone, SyncError

_log = logging.getLogger("tidewire.snapshots")


class Source(Protocol):
    """One snapshot of one table (`postgres.snapshot.TableSnapshot`)."""

    snapshot: Snapshot
    until: Lsn

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the rows."""
        ...

    async def close(self) -> None:
        """End its transaction."""
        ...


class Snapshots:
    """Read the tables that the hub wants copied.

    `open` takes a snapshot of a table. What the database cannot do now is tried again while the
    copy is wanted, at most for `COPY_RETRY_S`. Who waits for a place waits as long as it takes:
    each copy that has one has a deadline.
    """

    def __init__(self, hub: Hub, *, open: Callable[[ShapeSpec], Awaitable[Source]]) -> None:
        self._hub = hub
        self._open = open
        self._places = asyncio.Semaphore(limits.COPIES_AT_ONCE)

    async def copy(self, copy: Copy, spec: ShapeSpec) -> None:
        """Read one table into a copy, or give it up."""
        name = spec.qualified_name
        wait_s = limits.BACKOFF_FIRST_S
        try:
            async with self._places, asyncio.timeout(limits.COPY_RETRY_S) as deadline:
                while not await self._try(copy, spec, deadline):
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 2, limits.BACKOFF_LONGEST_S)
        except SyncError as error:
            self._hub.copies.give_up(copy, error.code, error.text)
        except (DatabaseError, TimeoutError) as error:
            _log.warning("copy of %s was given up: %s", name, str(error) or "it took too long")
            text = "the table cannot be copied now; try again later"
            self._hub.copies.give_up(copy, "unavailable", text)

    async def _try(self, copy: Copy, spec: ShapeSpec, deadline: asyncio.Timeout) -> bool:
        """Copy the table; False when that cannot begin now."""
        if copy.is_dead:
            return True
        try:
            source = await self._open(spec)
        except DatabaseGone as error:
            _log.warning("copy of %s.%s waits: %s", spec.schema, spec.table, error)
            return False
        try:
            if not self._hub.splice(copy, source.snapshot, source.until):
                return False  # the log does not reach back to this snapshot
            deadline.reschedule(None)  # from here on the database has a deadline of its own
            await self._read(copy, source)
        finally:
            await source.close()
        return True

    async def _read(self, copy: Copy, source: Source) -> None:
        async for rows in source.chunks():
            if copy.is_dead:
                return
            self._hub.copies.add_rows(copy, rows)
            # A table that is in memory comes without a pause, and the sockets want their turn.
            await asyncio.sleep(0)
        self._hub.copies.add_rows(copy, b"", is_last=True)
