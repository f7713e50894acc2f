"""Records in one SQLite file.

The one rule: one thread, one transaction for each commit, on disk before it returns. The file is
locked while it is open, because two coordinators that share one would not see each other's agents.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from tidelab.core.coord.record import Forget, Record, Write
from tidelab.errors import StorageError

APPLICATION = 0x7469_6465  # "tide": says in the file whose it is
SCHEMA = 1

_CREATE = f"""
BEGIN;
CREATE TABLE record (
    run TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (run, kind, name, number)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""
_PUT = "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM record WHERE run = ? AND kind = ? AND name = ? AND number = ?"
_FORGET = "DELETE FROM record WHERE run = ?"

_DAMAGED = "it is damaged: give a copy of it, or another file"

T = TypeVar("T")


class SqliteStorage:
    """Keep records in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = self._guard(self._open)
        self._thread = ThreadPoolExecutor(1, "tidelab-storage")

    async def load(self) -> list[Record]:
        """Read all records."""
        return await self._call(self._load)

    async def commit(self, writes: Sequence[Write]) -> None:
        """Write all in one transaction, and wait for the disk."""
        await self._call(lambda: self._commit(writes))

    async def close(self) -> None:
        """Close the file, which folds the log of SQLite into it."""
        await self._call(self._connection.close)
        self._thread.shutdown()

    async def _call(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._guard, work)

    def _guard(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"storage {self._path}: {_words_of(error)}") from error

    # --- in the thread ---

    def _open(self) -> sqlite3.Connection:
        # It is opened here and used in the thread: by one at a time, which is all that SQLite asks.
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._file = self._path.stat()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables and not application:
            connection.executescript(_CREATE)
        elif application != APPLICATION:
            raise StorageError(f"storage {self._path}: this is another program's database")
        elif schema != SCHEMA:
            raise StorageError(
                f"storage {self._path}: its schema is version {schema}, this program knows "
                f"{SCHEMA}; give another file, or use the version that wrote it"
            )
        # Take the lock now, and find out whether the file can be written.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")

    def _load(self) -> list[Record]:
        with closing(self._connection.cursor()) as cursor:
            # A page that is all zeros reads as if it held nothing.
            (fault,) = cursor.execute("PRAGMA quick_check(1)").fetchone()
            if fault != "ok":
                raise StorageError(f"storage {self._path}: {_DAMAGED}: {' '.join(fault.split())}")
            return [Record(*row) for row in cursor.execute("SELECT * FROM record")]

    def _commit(self, writes: Sequence[Write]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for write in writes:
                if isinstance(write, Forget):
                    execute(_FORGET, (write.run,))
                elif write.content is None:
                    execute(_REMOVE, write[:4])
                else:
                    execute(_PUT, write)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        if not self._is_there():
            told = "it was deleted or replaced while it was used; nothing more can be kept"
            raise StorageError(f"storage {self._path}: {told}")

    def _is_there(self) -> bool:
        """Tell whether what was written is in a file that can be opened again."""
        try:
            return os.path.samestat(self._path.stat(), self._file)
        except FileNotFoundError:
            return False


def _words_of(error: Exception) -> str:
    text = str(error)
    if "malformed" in text:
        return f"{_DAMAGED}: {text}"
    if "locked" in text:
        return f"{text}: another coordinator uses it; give each its own file"
    if "unable to open" in text or "readonly" in text:
        return f"{text}: give a file in a folder that can be written"
    return text
