"""The data of tests: in memory, or in a SQLite file that outlives the process.

The file is the original's: the same table, so that an old file can be used as it is. All of its
work is done by one thread, in the order in which it was asked for, and what has been answered is on
the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from tidelab.core.coord.testsync.limits import DATABASE_BUSY_S, SHARED_BYTES_IN_MEMORY_MAX
from tidelab.errors import ConfigurationError, StorageError

T = TypeVar("T")

_TABLE = """
    CREATE TABLE IF NOT EXISTS test_data (
        test_id INTEGER PRIMARY KEY, data BLOB, created_at INTEGER NOT NULL
    )
"""
_CREATE = """
    INSERT INTO test_data (test_id, data, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""
_KEEP = "INSERT OR REPLACE INTO test_data (test_id, data, created_at) VALUES (?, ?, ?)"
_READ = "SELECT data FROM test_data WHERE test_id = ?"
_FORGET = """
    DELETE FROM test_data
    WHERE created_at < ? AND test_id NOT IN (SELECT value FROM json_each(?))
"""


class Storage(Protocol):
    """Where the data of tests are kept; every method may raise `StorageError`."""

    async def create(self, test_id: int, data: bytes, now_ms: int) -> bool:
        """Keep data of a test that has none; tell whether it had none."""
        ...

    async def keep(self, test_id: int, data: bytes, now_ms: int) -> None:
        """Keep data in place of what a test has."""
        ...

    async def read(self, test_id: int) -> bytes | None:
        """Return the data of a test, if it has any."""
        ...

    async def forget(self, before_ms: int, but_of: AbstractSet[int]) -> None:
        """Forget data that are older than a time, but those of some tests."""
        ...

    def close(self) -> None:
        """Finish what was asked for and let go of the file."""
        ...


def open_data(path: Path | None) -> Storage:
    """Open the file, or memory when there is none; raises ConfigurationError."""
    return MemoryStorage() if path is None else SqliteStorage(path)


class MemoryStorage:
    """Data that are gone with the process."""

    def __init__(self) -> None:
        self._data: dict[int, tuple[bytes, int]] = {}
        self._bytes = 0

    async def create(self, test_id: int, data: bytes, now_ms: int) -> bool:
        """Keep data of a test that has none; tell whether it had none."""
        if test_id in self._data:
            return False
        await self.keep(test_id, data, now_ms)
        return True

    async def keep(self, test_id: int, data: bytes, now_ms: int) -> None:
        """Keep data in place of what a test has."""
        before, _ = self._data.get(test_id, (b"", 0))
        total = self._bytes - len(before) + len(data)
        if total > SHARED_BYTES_IN_MEMORY_MAX:
            raise StorageError(
                f"memory holds {SHARED_BYTES_IN_MEMORY_MAX} bytes of data at most: "
                'set storage.type to "sqlite"'
            )
        self._data[test_id] = (data, now_ms)
        self._bytes = total

    async def read(self, test_id: int) -> bytes | None:
        """Return the data of a test, if it has any."""
        found = self._data.get(test_id)
        return None if found is None else found[0]

    async def forget(self, before_ms: int, but_of: AbstractSet[int]) -> None:
        """Forget data that are older than a time, but those of some tests."""
        for test_id, (data, created_ms) in list(self._data.items()):
            if created_ms < before_ms and test_id not in but_of:
                self._bytes -= len(data)
                del self._data[test_id]

    def close(self) -> None:
        """Do nothing: there is no file."""


class SqliteStorage:
    """Data in a SQLite file with a write-ahead log."""

    def __init__(self, path: Path) -> None:
        self._newest = b""
        """What was read last: all who are sent the same share it, however slow they are."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        try:
            self._database = self._thread.submit(_open, path).result()
        except sqlite3.Error as error:
            self._thread.shutdown()
            raise ConfigurationError(f"storage.sqlite_path: cannot use {path}: {error}") from error
        self._path, self._file = path, path.stat()

    async def create(self, test_id: int, data: bytes, now_ms: int) -> bool:
        """Keep data of a test that has none; tell whether it had none."""
        return await self._ask(lambda: self._write(_CREATE, test_id, data, now_ms)) == 1

    async def keep(self, test_id: int, data: bytes, now_ms: int) -> None:
        """Keep data in place of what a test has."""
        await self._ask(lambda: self._write(_KEEP, test_id, data, now_ms))

    async def read(self, test_id: int) -> bytes | None:
        """Return the data of a test, if it has any."""
        return await self._ask(lambda: self._read(test_id))

    async def forget(self, before_ms: int, but_of: AbstractSet[int]) -> None:
        """Forget data that are older than a time, but those of some tests."""
        but = json.dumps(sorted(but_of))
        await self._ask(lambda: self._database.execute(_FORGET, (before_ms, but)))

    def close(self) -> None:
        """Finish what was asked for and let go of the file."""
        self._thread.submit(self._database.close).result()
        self._thread.shutdown()

    async def _ask(self, question: Callable[[], T]) -> T:
        asked = time.monotonic()

        def answer() -> T:
            # All who ask of a locked file hear it at the same time, and not one after the other.
            left_s = max(0.0, asked + DATABASE_BUSY_S - time.monotonic())
            self._database.execute(f"PRAGMA busy_timeout = {left_s * 1000:.0f}")
            return question()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, answer)
        except sqlite3.Error as error:
            raise StorageError(f"SQLite: {error}") from error

    # --- in the thread ---

    def _read(self, test_id: int) -> bytes | None:
        row = self._database.execute(_READ, (test_id,)).fetchone()
        if row is None:
            return None
        data = bytes(row[0] or b"")
        if data != self._newest:
            self._newest = data
        return self._newest

    def _write(self, statement: str, test_id: int, data: bytes, now_ms: int) -> int:
        count = self._database.execute(statement, (test_id, data, now_ms)).rowcount
        if not self._is_there():
            told = "the file was deleted or replaced while it was used: start the server again"
            raise StorageError(f"SQLite: {told}")
        return count

    def _is_there(self) -> bool:
        """Tell whether what was written is in a file that can be opened again."""
        try:
            return os.path.samestat(self._path.stat(), self._file)
        except FileNotFoundError:
            return False


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=DATABASE_BUSY_S, isolation_level=None)
    try:
        # In this mode a commit appends to one file, and a kill leaves the database whole.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(_TABLE)
        # A file that can be read only is found out now, not with the first data.
        with contextlib.closing(database.execute("BEGIN IMMEDIATE")):
            database.execute("ROLLBACK")
    except sqlite3.Error:
        database.close()
        raise
    return database
