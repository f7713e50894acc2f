"""Goal: both storages keep the same promises, and a file keeps them over the death of the process.

Method: one contract for both; for the file also old files, bad files, and a file that is locked.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.tests.integration.loop import on_loop
from tidelab.coordinator.testsync import storage as storage_module
from tidelab.coordinator.testsync.storage import MemoryStorage, SqliteStorage, Storage
from tidelab.errors import ConfigurationError, StorageError

KINDS = ("memory", "sqlite")
ODD = b"\x00\xff \xc3\xa9"


@contextlib.contextmanager
def opened(kind: str, folder: Path) -> Iterator[Storage]:
    storage: Storage = MemoryStorage() if kind == "memory" else SqliteStorage(folder / "t.db")
    with contextlib.closing(storage):
        yield storage


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_data_are_created_once_and_kept_as_they_are(kind: str, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as storage:
        assert await storage.read(1) is None
        assert await storage.create(1, ODD, 0)
        assert not await storage.create(1, b"other", 0)
        assert await storage.read(1) == ODD
        await storage.keep(1, b"new", 0)
        assert await storage.read(1) == b"new"
        await storage.keep(2**63 - 1, b"", 0)
        assert await storage.read(2**63 - 1) == b""
        assert not await storage.create(2**63 - 1, b"x", 0)


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_of_many_who_create_at_once_one_succeeds(kind: str, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as storage:
        async with asyncio.TaskGroup() as tasks:
            tries = [
                tasks.create_task(storage.create(1, b"%d" % number, 0)) for number in range(50)
            ]
        winners = [number for number, each in enumerate(tries) if each.result()]
        assert len(winners) == 1
        assert await storage.read(1) == b"%d" % winners[0]


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_old_data_are_forgotten_but_not_those_in_use(kind: str, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as storage:
        for test_id, created_ms in ((1, 9), (2, 10), (3, 9), (4, 5)):
            await storage.keep(test_id, b"x", created_ms)
        await storage.keep(4, b"again", 10)
        await storage.forget(10, frozenset({3, 99}))
        left = [test_id for test_id in range(1, 5) if await storage.read(test_id) is not None]
        assert left == [2, 3, 4]


@on_loop
async def test_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "SHARED_BYTES_IN_MEMORY_MAX", 10)
    storage = MemoryStorage()
    await storage.keep(1, b"12345678", 0)
    with pytest.raises(StorageError, match="holds 10 bytes of data at most"):
        await storage.create(2, b"123", 0)
    assert await storage.read(2) is None
    await storage.keep(1, b"1234567890", 0)
    await storage.forget(1, frozenset())
    assert await storage.create(2, b"1234567890", 0)


@on_loop
async def test_data_are_there_after_a_restart(tmp_path: Path) -> None:
    with opened("sqlite", tmp_path) as storage:
        await storage.create(1, ODD, 0)
    with opened("sqlite", tmp_path) as storage:
        assert await storage.read(1) == ODD
        assert not await storage.create(1, b"x", 0)


@on_loop
async def test_a_file_of_the_original_is_used_as_it_is(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute(
            "CREATE TABLE test_data "
            "(test_id INTEGER PRIMARY KEY, data BLOB, created_at INTEGER NOT NULL)"
        )
        database.execute("INSERT INTO test_data VALUES (5, ?, 1), (6, NULL, 1)", (ODD,))
        database.commit()
    with opened("sqlite", tmp_path) as storage:
        assert await storage.read(5) == ODD
        assert await storage.read(6) == b""


@on_loop
async def test_the_file_has_a_write_ahead_log(tmp_path: Path) -> None:
    with opened("sqlite", tmp_path) as storage:
        await storage.create(1, b"x", 0)
        with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@on_loop
async def test_a_file_that_somebody_else_has_locked_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storage_module, "DATABASE_BUSY_S", 0.05)
    with opened("sqlite", tmp_path) as storage:
        with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StorageError, match="SQLite: database is locked"):
                await storage.create(1, b"x", 0)
        assert await storage.create(1, b"x", 0)


@on_loop
async def test_all_who_ask_of_a_locked_file_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storage_module, "DATABASE_BUSY_S", 0.5)
    with opened("sqlite", tmp_path) as storage:
        with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            # one after the other they would take twice that
            async with asyncio.timeout(2), asyncio.TaskGroup() as tasks:
                for number in range(8):
                    tasks.create_task(is_told(storage, number))
        await storage.keep(1, b"x", 0)


@on_loop
async def test_nothing_is_kept_in_a_file_that_is_gone(tmp_path: Path) -> None:
    with opened("sqlite", tmp_path) as storage:
        await storage.keep(1, b"x", 0)
        (tmp_path / "t.db").unlink()
        for write in (storage.create, storage.keep):
            with pytest.raises(StorageError, match="was deleted or replaced while it was used"):
                await write(2, b"x", 0)
        (tmp_path / "t.db").touch()
        with pytest.raises(StorageError, match="was deleted or replaced while it was used"):
            await storage.keep(2, b"x", 0)


async def is_told(storage: Storage, number: int) -> None:
    with pytest.raises(StorageError, match="SQLite: database is locked"):
        await storage.keep(number, b"x", 0)


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    file.write_bytes(b"this is not a database, but it is long enough to look like one" * 20)
    for path in (file, tmp_path, tmp_path / "nowhere" / "t.db"):
        with pytest.raises(ConfigurationError, match=f"cannot use {path}: "):
            SqliteStorage(path)
