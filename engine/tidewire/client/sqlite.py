"""Rows and cursor in a SQLite file, so that a program which starts again is sent what it missed.

One rule: rows and cursor change in the same transaction. So the file holds one state of the
database and says which, whenever the process is killed. That is also why it need not be flushed
to the disk with each transaction (`synchronous = NORMAL`): after a loss of power the newest ones
may be missing, whole; then the file is at an older position, and the server sends what came since.

Everything here blocks; `saver.py` calls it in a thread. The file belongs to one process at a time
(`locking_mode = EXCLUSIVE`), which is also what keeps its mode: SQLite gives the log beside it the
same.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidewire.core.model.lsn import format_lsn, parse_lsn
from tidewire.core.protocol.record import Record
from tidewire.core.saved import Batch, Change, Entry, Numbers, Saved
from tidewire.core.store import Table
from tidewire.core.stream.cursor import Cursor
from tidewire.errors import StoreError
from tidewire.limits import STORE_LOG_BYTES

# What tells a file of ours from others ("tide"), and which form it has.
APPLICATION_ID = 0x74696465
VERSION = 1
_TABLES = """
CREATE TABLE cursor (epoch TEXT NOT NULL, lsn TEXT NOT NULL, tag TEXT NOT NULL);
CREATE TABLE subscriptions (id TEXT PRIMARY KEY, entry TEXT NOT NULL);
CREATE TABLE rows (
    subscription TEXT NOT NULL,
    number INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (subscription, number)
) WITHOUT ROWID;
"""
_FILE_MODE = 0o600
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_AWAY = "move it away: the rows come anew from the server"


class SqliteStore:
    """Keep the rows of a `Client` in a file, to go on from there when the program starts again.

    Give it to one `Client` at a time. The file is made if there is none, for this user only. It is
    a copy that the server can make anew: whoever deletes it loses nothing but time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # `:memory:` and the like are files here
        self._connection: sqlite3.Connection | None = None
        self._numbers: dict[str, Numbers] = {}
        self._records: dict[str, Record] = {}

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})"

    # --- for the client ---

    def open(self) -> Saved | None:
        """Take the file into use and return what it holds, if anything.

        Raises StoreError when another process uses it, when it is damaged, not ours or of a later
        version.
        """
        if self._connection is not None:
            raise StoreError(f"{self.path}: in use by another client of this program")
        try:
            with self._told("cannot be opened"):
                self._create()
                self._connection = sqlite3.connect(
                    self.path, timeout=0, isolation_level=None, check_same_thread=False
                )
                self._prepare(self._connection)
                return self._read(self._connection)
        except BaseException:
            self.close()
            raise

    def write(self, batch: Batch) -> None:
        """Bring the file to another state, in one transaction.

        Raises StoreError; the file is in the state before, then.
        """
        assert self._connection is not None, "open comes first"
        with self._told("cannot be written"), _transaction(self._connection):
            for change in batch.changes:
                self._write(self._connection, change)
            self._connection.execute("DELETE FROM cursor")
            if (cursor := batch.cursor) is not None:
                values = [cursor.epoch, format_lsn(cursor.lsn), cursor.tag]
                self._connection.execute("INSERT INTO cursor VALUES (?, ?, ?)", values)

    def close(self) -> None:
        """Let others use the file."""
        connection, self._connection = self._connection, None
        self._numbers, self._records = {}, {}
        if connection is not None:
            connection.close()

    def _create(self) -> None:
        # Never open what is there: closing it again would free the locks of all of this process.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE_MODE))

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")  # in use is said here, and nothing was changed yet
        (identity,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
        if identity != APPLICATION_ID and (identity or version or tables):
            raise StoreError(f"{self.path}: a SQLite file of another program; choose another path")
        if version > VERSION:
            text = f"of a newer version of Tidewire ({version}, this one reads {VERSION})"
            raise StoreError(f"{self.path}: {text}; upgrade, or {_AWAY}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {STORE_LOG_BYTES:d}")
        if version < VERSION:
            self._build(connection)

    def _build(self, connection: sqlite3.Connection) -> None:
        # An older file is built anew: all that it holds comes from the server again.
        with _transaction(connection):
            for table in ("cursor", "subscriptions", "rows"):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            connection.execute(f"PRAGMA user_version = {VERSION:d}")

    # --- reading ---

    def _read(self, connection: sqlite3.Connection) -> Saved | None:
        try:
            return self._load(connection)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise StoreError(f"{self.path}: damaged ({error}); {_AWAY}") from error

    def _load(self, connection: sqlite3.Connection) -> Saved | None:
        cursor = connection.execute("SELECT epoch, lsn, tag FROM cursor").fetchone()
        entries = connection.execute("SELECT entry FROM subscriptions ORDER BY rowid").fetchall()
        if cursor is None:
            return None
        epoch, lsn, tag = cursor
        tables = [self._load_table(connection, entry) for (entry,) in entries]
        return Saved(Cursor(epoch, parse_lsn(lsn), tag), tables)

    def _load_table(self, connection: sqlite3.Connection, text: str) -> tuple[Entry, Table]:
        entry = msgspec.json.decode(text, type=Entry)
        id, record, table = entry.request.id, Record(entry.columns), Table()
        int(id)  # those that come later are counted on from here
        table.describe(entry.table, entry.columns, entry.key, entry.fingerprint)
        query = "SELECT number, content FROM rows WHERE subscription = ? ORDER BY number"
        numbers: list[int] = []

        def read() -> Iterator[tuple[object, ...]]:
            for number, content in connection.execute(query, [id]):
                numbers.append(number)
                yield record.read(content)

        table.rows = dict(table.read(read()))
        if len(table.rows) != len(numbers):
            raise ValueError(f"a row of {entry.table} is there twice")
        table.is_live = True
        self._records[id] = record
        self._numbers[id] = Numbers(zip(table.rows, numbers, strict=True))
        return entry, table

    # --- writing ---

    def _write(self, connection: sqlite3.Connection, change: Change) -> None:
        id, layer, entry = change
        if layer is None or layer.has_cleared:
            connection.execute("DELETE FROM rows WHERE subscription = ?", [id])
            connection.execute("DELETE FROM subscriptions WHERE id = ?", [id])
        if layer is None:
            del self._numbers[id], self._records[id]
            return
        if entry is not None:
            values = [id, msgspec.json.encode(entry).decode()]
            connection.execute("INSERT INTO subscriptions VALUES (?, ?)", values)
            self._records[id] = Record(entry.columns)
        numbers, record = self._numbers.setdefault(id, Numbers()), self._records[id]
        connection.executemany(
            "DELETE FROM rows WHERE subscription = ? AND number = ?",
            ((id, number) for number in numbers.take(layer)),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)",
            ((id, number, record.write(row)) for number, row in numbers.put(layer)),
        )

    @contextlib.contextmanager
    def _told(self, failure: str) -> Iterator[None]:
        """Say in the words of the user what SQLite and the system say in theirs."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _BUSY:
                text = "in use by another process; each process needs a file of its own"
            elif code in _DAMAGED:
                text = f"damaged, or no file of SQLite ({error}); {_AWAY}"
            else:
                text = f"{failure}: {error}"
            raise StoreError(f"{self.path}: {text}") from error
        except OSError as error:
            raise StoreError(f"{self.path}: {failure}: {error.strerror or error}") from error


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
