"""A program with a store that runs again and again, against a scripted server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.tests.integration.script import Scene, Script, following, scripted
from tidewire import Client, SqliteStore
from tidewire.core.saved import Batch

START = {"epoch": "e1", "lsn": "0/5", "tag": "tag-0/5"}
T = {"id": "1", "table": "t", "from": START}


class Failed(Exception):
    """What ends a program that fails."""


class Program:
    """A program that begins where its file ends."""

    def __init__(self, script: Script, path: Path) -> None:
        self.script = script
        self.path = path

    @contextlib.asynccontextmanager
    async def run(self, lsn: str = "0/5", epoch: str = "e1") -> AsyncIterator[tuple[Client, Scene]]:
        """Start it; the server is at a position."""

        async def greet() -> Scene:
            scene = await self.script.scene()
            await scene.welcome(epoch, lsn)
            return scene

        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.TaskGroup() as tasks:
                greeting = tasks.create_task(greet())
                client = Client(self.script.url, store=SqliteStore(self.path))
                await stack.enter_async_context(client)
            yield client, greeting.result()

    @contextlib.asynccontextmanager
    async def fail(self, lsn: str = "0/5") -> AsyncIterator[tuple[Client, Scene]]:
        """Start it, and let it end with an error of its own."""
        with contextlib.suppress(Failed):
            async with self.run(lsn) as both:
                yield both
                raise Failed


@contextlib.asynccontextmanager
async def program(tmp_path: Path, *rows: list[object]) -> AsyncIterator[Program]:
    """Make one whose file has these rows of `t`, as of 0/5; without rows there is no file."""
    async with scripted() as script:
        made = Program(script, tmp_path / "rows.db")
        if rows:
            async with made.run() as (client, scene):
                await following(client, scene, *rows)
        yield made


class Gate:
    """A place where the writing thread waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_waiting = False
        self._opened = threading.Event()
        original = SqliteStore.write

        def write(store: SqliteStore, batch: Batch) -> None:
            self.is_waiting = True
            assert self._opened.wait(10)
            original(store, batch)

        monkeypatch.setattr(SqliteStore, "write", write)

    def open(self) -> None:
        self._opened.set()
