"""Goal: what was kept is there again, and nothing is half kept.

Method: one contract for both storages; for SQLite, files that are wrong in every way we know.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tidelab.coordinator.storage.memory import MemoryStorage
from tidelab.coordinator.storage.sqlite import SCHEMA, SqliteStorage
from tidelab.coordinator.storage.storage import Storage, open_storage
from tidelab.core.coord.record import Forget, Record, Write
from tidelab.errors import StorageError

Make = Callable[[], Storage]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return lambda: open_storage(None if request.param == "memory" else tmp_path / "c.db")


def record(run: str, number: int, content: bytes | None = b"x") -> Record:
    return Record(run, "event", "t", number, content)


async def commit(storage: Storage, *writes: Write) -> set[Record]:
    await storage.commit(writes)
    return set(await storage.load())


def test_records_are_put_replaced_and_removed_by_their_place(make: Make) -> None:
    async def check() -> None:
        storage = make()
        assert await storage.load() == []
        await commit(storage, record("r", 1), record("r", 2), record("q", 1))
        found = await commit(storage, record("r", 1, b"\x00y"), record("r", 2, None))
        assert found == {record("r", 1, b"\x00y"), record("q", 1)}
        assert await commit(storage, record("z", 9, None)) == found
        assert await commit(storage, Forget("r"), Forget("none")) == {record("q", 1)}
        await storage.close()

    asyncio.run(check())


def test_writes_of_one_commit_happen_in_order(make: Make) -> None:
    async def check() -> None:
        storage = make()
        writes = (record("r", 1), Forget("r"), record("r", 2), record("r", 2, b"new"))
        assert await commit(storage, *writes) == {record("r", 2, b"new")}
        await storage.close()

    asyncio.run(check())


def test_a_file_is_there_again(tmp_path: Path) -> None:
    async def check() -> None:
        for number in range(3):
            storage = SqliteStorage(tmp_path / "c.db")
            assert len(await storage.load()) == number
            await storage.commit([record("r", number)])
            await storage.close()

    asyncio.run(check())


def test_a_commit_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async def check() -> None:
        storage = SqliteStorage(tmp_path / "c.db")
        wrong = record("r", 2)._replace(number=None)  # type: ignore[arg-type]
        with pytest.raises(StorageError, match="NOT NULL"):
            await storage.commit([record("r", 1), wrong])
        assert await storage.load() == []
        assert await commit(storage, record("r", 3)) == {record("r", 3)}
        await storage.close()

    asyncio.run(check())


def test_two_coordinators_do_not_share_a_file(tmp_path: Path) -> None:
    async def check() -> None:
        storage = SqliteStorage(tmp_path / "c.db")
        with pytest.raises(StorageError, match="another coordinator uses it"):
            SqliteStorage(tmp_path / "c.db")
        await storage.close()
        await SqliteStorage(tmp_path / "c.db").close()

    asyncio.run(check())


def broken(tmp_path: Path, *statements: str) -> Path:
    path = tmp_path / "c.db"
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return path


def test_what_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="give a file in a folder that can be written"):
        SqliteStorage(tmp_path / "none" / "c.db")
    (tmp_path / "text").write_text("this is no database, but it is long enough to be one " * 20)
    with pytest.raises(StorageError, match="not a database"):
        SqliteStorage(tmp_path / "text")
    with pytest.raises(StorageError, match="another program's"):
        SqliteStorage(broken(tmp_path, "CREATE TABLE test_data (id)"))


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.db"

    async def make() -> None:
        await SqliteStorage(path).close()

    asyncio.run(make())
    broken(tmp_path, f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(StorageError, match=f"version {SCHEMA + 1}, this program knows {SCHEMA}"):
        SqliteStorage(path)


def test_a_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    """SQLite itself reads a page of zeros as one that holds nothing."""
    path = tmp_path / "c.db"

    async def check() -> None:
        storage = SqliteStorage(path)
        await storage.commit([record("r", number, b"x" * 500) for number in range(100)])
        await storage.close()
        with path.open("r+b") as file:
            file.seek(-4096, os.SEEK_END)
            file.write(bytes(4096))
        storage = SqliteStorage(path)
        with pytest.raises(StorageError, match="it is damaged: give a copy of it"):
            await storage.load()
        await storage.close()

    asyncio.run(check())


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_keeps_nothing_more(tmp_path: Path, *, replaced: bool) -> None:
    async def check() -> None:
        storage = SqliteStorage(tmp_path / "c.db")
        await storage.commit([record("r", 1)])
        (tmp_path / "c.db").rename(tmp_path / "other.db")
        if replaced:
            (tmp_path / "c.db").touch()
        with pytest.raises(StorageError, match="deleted or replaced while it was used"):
            await storage.commit([record("r", 2)])
        await storage.close()

    asyncio.run(check())


def test_no_path_is_memory() -> None:
    assert isinstance(open_storage(None), MemoryStorage)
