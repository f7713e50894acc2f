"""Goal: whenever a program with a store is killed, its file is a state of the database, and which.

Method: a writer that is alone, and so knows the state behind each of its transactions, numbers them
in a table that is followed, too. A program in a process of its own is killed at drawn moments; a
copy of its file must be the state that it names, table for table. Nothing that the file had is sent
again. A failure prints its seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.tests.integration import keeper
from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import Watched, make_small, only_newest
from tidewire import Client, Engine, Shape, SqliteStore
from tidewire.core.model.lsn import parse_lsn

pytestmark = [pytest.mark.postgres, only_newest]

EFFORT = int(os.environ.get("TIDEWIRE_EFFORT", "1"))
ROWS = 400
TABLES = """
CREATE TABLE checking (id int PRIMARY KEY, amount int NOT NULL, note text NOT NULL);
CREATE TABLE savings (id int PRIMARY KEY, amount int NOT NULL, note text NOT NULL);
CREATE TABLE meta (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO checking SELECT n, 100, repeat('c', 60) FROM generate_series(1, {}) n;
INSERT INTO savings SELECT n, 100, repeat('s', 60) FROM generate_series(1, {}) n;
INSERT INTO meta VALUES (1, 0)
"""
Rows = dict[int, dict[str, object]]


@dataclass
class Ledger:
    """The only writer, and what the tables were after each of its transactions."""

    chance: random.Random
    tables: dict[str, Rows] = field(default_factory=dict)
    steps: list[list[tuple[str, int, dict[str, object] | None]]] = field(default_factory=list)
    """What each transaction did: table, key, and the row or None."""
    positions: list[int] = field(default_factory=list)
    """Each at or behind the end of a transaction, and before the next."""

    async def prepare(self, live: Live) -> None:
        async with await psycopg.AsyncConnection.connect(live.url) as connection:
            await connection.execute(TABLES.replace("{}", f"{ROWS}").encode())
        for table, letter in (("checking", "c"), ("savings", "s")):
            self.tables[table] = {
                n: {"id": n, "amount": 100, "note": letter * 60} for n in range(1, ROWS + 1)
            }
        self.tables["meta"] = {1: {"id": 1, "n": 0}}
        self.start = {table: dict(rows) for table, rows in self.tables.items()}
        self.steps.append([])
        self.positions.append(0)

    def at(self, number: int) -> dict[str, Rows]:
        """Return all tables as they were behind a transaction."""
        found = {table: dict(rows) for table, rows in self.start.items()}
        for step in self.steps[: number + 1]:
            for table, key, row in step:
                found[table].pop(key, None)
                if row is not None:
                    found[table][key] = row
        return found

    async def write(self, live: Live, is_enough: asyncio.Event) -> None:
        connecting = psycopg.AsyncConnection.connect(live.url, autocommit=True)
        async with await connecting as connection:
            while not is_enough.is_set():
                await self.transact(connection)

    async def transact(self, connection: psycopg.AsyncConnection[Any]) -> None:
        step: list[tuple[str, int, dict[str, object] | None]] = []
        async with connection.transaction():
            for table in self.chance.sample(["checking", "savings"], 2):
                for _ in range(self.chance.randint(1, 3)):
                    await self.change(connection, table, step)
            self.put("meta", 1, {"id": 1, "n": len(self.steps)}, step)
            await connection.execute("UPDATE meta SET n = %s", [len(self.steps)])
        self.steps.append(step)
        cursor = await connection.execute("SELECT pg_current_wal_insert_lsn()::text")
        row = await cursor.fetchone()
        assert row is not None
        self.positions.append(parse_lsn(row[0]))

    async def change(
        self, connection: psycopg.AsyncConnection[Any], table: str, step: list[Any]
    ) -> None:
        rows, kind = self.tables[table], self.chance.random()
        key, free = self.chance.choice(sorted(rows)), max(rows) + 1
        now = {**rows[key], "amount": self.chance.randint(0, 999)}
        if kind < 0.5:
            statement = f"UPDATE {table} SET amount = %s WHERE id = %s"
            await connection.execute(statement.encode(), [now["amount"], key])
            self.put(table, key, now, step)
        elif kind < 0.7:
            statement = f"UPDATE {table} SET amount = %s, id = %s WHERE id = %s"
            await connection.execute(statement.encode(), [now["amount"], free, key])
            self.put(table, key, None, step)
            self.put(table, free, {**now, "id": free}, step)
        elif kind < 0.85 and len(rows) > ROWS // 2:
            await connection.execute(f"DELETE FROM {table} WHERE id = %s".encode(), [key])
            self.put(table, key, None, step)
        else:
            statement = f"INSERT INTO {table} VALUES (%s, %s, 'new')"
            await connection.execute(statement.encode(), [free, now["amount"]])
            self.put(table, free, {"id": free, "amount": now["amount"], "note": "new"}, step)

    def put(self, table: str, key: int, row: dict[str, object] | None, step: list[Any]) -> None:
        self.tables[table].pop(key, None)
        if row is not None:
            self.tables[table][key] = row
        step.append((table, key, row))

    async def judge(self, path: Path) -> int | None:
        """Hold the file against the state that it names; return which, if it has one."""
        copy = Path(shutil.copytree(path.parent, path.parent.with_name("looked-at"))) / path.name
        store = SqliteStore(copy)
        saved = store.open()
        store.close()
        shutil.rmtree(copy.parent)
        if saved is None or not saved.tables:
            return None
        found: dict[str, Rows] = {
            entry.request.table: dict(table.rows)  # type: ignore[arg-type]
            for entry, table in saved.tables
        }
        assert found.keys() == set(keeper.TABLES), "they become visible together"
        number = int(str(found["meta"][1]["n"]))
        # A transaction may be seen before its writer has been told that it is made.
        await eventually(lambda: len(self.positions) > number)
        assert found == self.at(number), f"not the state behind transaction {number}"
        before, after = self.positions[max(0, number - 1)], self.positions[number + 1 :]
        assert before < saved.cursor.lsn, "the cursor is behind its rows"
        assert not after or saved.cursor.lsn <= after[0], "the cursor is ahead of its rows"
        return number


@contextlib.asynccontextmanager
async def program(engine: Engine, path: Path, statements: int = 0) -> AsyncIterator[Process]:
    """Run a program until the block is left, and kill it then; or after so many statements."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, keeper.__file__, engine.url, str(path), str(statements)), stdout=PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"open\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def said(process: Process) -> dict[str, Any]:
    """Wait until all rows are there; return what was sent for them."""
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(await process.stdout.readline())
    return found


@contextlib.asynccontextmanager
async def writing(live: Live, ledger: Ledger) -> AsyncIterator[None]:
    is_enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ledger.write(live, is_enough))
        try:
            yield
        finally:
            is_enough.set()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2 * EFFORT))
@in_loop
async def test_a_program_is_killed_at_any_moment_and_goes_on_from_its_file(
    live: Live, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    chance = random.Random(seed)
    ledger = Ledger(chance)
    await ledger.prepare(live)
    path = tmp_path / "file" / "rows.db"
    path.parent.mkdir()
    known: int | None = None
    # Where copies are short, first in the middle of one; then anywhere, and between statements.
    deaths = [*([0.05] * 3), *([0.5] * 3), *([None] * 4)]
    async with live.engine() as engine, writing(live, ledger):
        for longest_s in deaths:
            statements = 0 if longest_s else chance.randint(1, 40)
            async with program(engine, path, statements) as process:
                if longest_s is None:
                    await process.wait()
                else:
                    if known is not None:
                        assert await said(process) == {"chunks": 0, "resets": [0, 0, 0]}
                    await asyncio.sleep(chance.uniform(0, longest_s))  # why: a moment, drawn
            number = await ledger.judge(path)
            assert number is not None or known is None, "what was there once stays"
            assert known is None or (number or 0) >= known, "a file never goes back"
            known = number
    assert known is not None, "not one of the programs came as far as to write"
    async with live.engine() as engine, Watched(engine.url) as client:
        await agree(live, client, ledger)
    async with live.engine() as engine, Client(engine.url, store=SqliteStore(path)) as client:
        await agree(live, client, ledger)


async def agree(live: Live, client: Client, ledger: Ledger) -> None:
    """Wait for the newest state, and hold the rows against it."""
    followed = await client.subscribe_all(*[Shape(table) for table in keeper.TABLES])
    await live.execute("UPDATE meta SET n = n")
    [(position,)] = await live.execute("SELECT pg_current_wal_flush_lsn()::text")
    await client.wait_for(position)
    for each in followed:
        assert each.rows == ledger.tables[each.shape.table]


@in_loop
async def test_a_program_is_killed_while_it_copies_another_history(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    chance = random.Random(7)
    ledger = Ledger(chance)
    await ledger.prepare(live)
    path = tmp_path / "file" / "rows.db"
    path.parent.mkdir()
    async with live.engine() as engine, writing(live, ledger), program(engine, path) as process:
        assert (await said(process))["chunks"] > 3
    before = await ledger.judge(path)
    assert before is not None
    await live.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    async with live.engine() as engine, writing(live, ledger):
        for longest_s in (0.0, 0.02, 0.05, 0.1, 0.2):
            async with program(engine, path) as process:
                await asyncio.sleep(chance.uniform(0, longest_s))  # why: a moment, drawn
            number = await ledger.judge(path)
            assert number is None or number >= before
        async with program(engine, path) as process:
            await said(process)
    async with live.engine() as engine, Client(engine.url, store=SqliteStore(path)) as client:
        await agree(live, client, ledger)
