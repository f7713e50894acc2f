"""What brings the rows of a client into its store, while the client goes on.

One rule: a batch is taken in one step of the loop, between two messages, and written by a thread
that writes nothing else. Until it is written, changes gather; a row that changes ten times in the
meantime is written once. When STORE_BEHIND_ROWS have gathered, nothing is read from the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from tidewire import limits
from tidewire.client.sqlite import SqliteStore
from tidewire.core.model.lsn import Lsn
from tidewire.core.saved import Batch, Saved, Unsaved
from tidewire.core.stream.cursor import Cursor

_log = logging.getLogger("tidewire.client")
Result = TypeVar("Result")


class Saver:
    """One store in use by one client."""

    def __init__(self, store: SqliteStore) -> None:
        self.unsaved = Unsaved()
        self.position: Lsn | None = None
        """Where the file is."""
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tidewire-store")
        self._writing: asyncio.Future[None] | None = None
        self._has_changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def open(self) -> Saved | None:
        """Read what the file holds.

        Raises StoreError.
        """
        try:
            saved = await self._call(self._store.open)
        except BaseException:
            # Whoever is cancelled here leaves an opened file behind otherwise.
            self._thread.submit(self._store.close)
            self._thread.shutdown(wait=False)
            raise
        self.position = saved.cursor.lsn if saved else None
        return saved

    async def keep_up(self, cursor: Cursor | None) -> None:
        """Note where the rows are; wait while too much has gathered."""
        self.unsaved.cursor = cursor
        self._has_changed.set()
        while self.unsaved.count_rows() > limits.STORE_BEHIND_ROWS:
            self._has_room.clear()
            await self._has_room.wait()

    def note(self) -> None:
        """Have it looked at whether something has changed."""
        self._has_changed.set()

    async def run(self) -> None:
        """Write batch after batch.

        Raises StoreError when one cannot be written: nothing more is, then.
        """
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            if batch := self.unsaved.take():
                self._has_room.set()
                self._writing = self._call(partial(self._write, batch))
                # Not awaited itself: a cancellation would forget how it went.
                await asyncio.wait([self._writing])
                self._writing.result()

    async def close(self) -> None:
        """Write the last batch, and let others use the file.

        Raises StoreError when something could not be written.
        """
        try:
            async with asyncio.timeout(limits.STORE_CLOSE_S):
                if self._writing is not None:
                    await asyncio.wait([self._writing])
                    self._writing.result()  # without it the next batch leads nowhere
                if batch := self.unsaved.take():
                    await self._call(partial(self._write, batch))
        except TimeoutError:
            _log.warning("%r is slow: the program will go on from an older position", self._store)
        finally:
            closing = self._call(self._store.close)
            self._thread.shutdown(wait=False)
            await asyncio.wait([closing], timeout=limits.STORE_CLOSE_S)

    def _write(self, batch: Batch) -> None:
        self._store.write(batch)
        self.position = batch.cursor.lsn if batch.cursor else None

    def _call(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)
