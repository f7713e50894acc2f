"""Goal: a server that stops loses nothing, tells nothing that is not so, and buries nobody.

Method: stop it while its disk is busy and while agents wait; start it again on the same file.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from lab.tests.coordinator.kit import DEADLINE_S, Agent, call, running
from tidelab.coordinator import Options
from tidelab.coordinator.storage.sqlite import SqliteStorage
from tidelab.core.coord.record import Write

RUN = "/v2/runs/r"


class SlowDisk(SqliteStorage):
    """A disk that takes its time, when asked to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_busy, self.is_free = asyncio.Event(), asyncio.Event()
        self.is_free.set()

    async def commit(self, writes: Sequence[Write]) -> None:
        if not self.is_free.is_set():
            self.is_busy.set()
            await self.is_free.wait()
        await super().commit(writes)


def test_what_is_on_its_way_to_the_disk_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def free_when_stopping(agent: Agent, disk: SlowDisk) -> None:
        with pytest.raises(ConnectionClosed):
            await agent.receive()
        disk.is_free.set()

    async def scene() -> None:
        disk = SlowDisk(tmp_path / "c.db")
        monkeypatch.setattr(
            sys.modules["tidelab.coordinator.serve"], "open_storage", lambda _: disk
        )
        async with asyncio.TaskGroup() as tasks, running() as url:
            a = await Agent.join(url, "a")
            disk.is_free.clear()
            raising = tasks.create_task(call(url, "POST", f"{RUN}/signals/s"))
            async with asyncio.timeout(DEADLINE_S):
                await disk.is_busy.wait()
            tasks.create_task(free_when_stopping(a, disk))
        assert raising.result()["ok"]["sequence"] == 1

    asyncio.run(scene())


def test_nobody_dies_of_a_stop(tmp_path: Path) -> None:
    async def scene() -> None:
        options = Options(http_port=0, storage=tmp_path / "c.db")
        wait = f"{RUN}/barriers/b?agent=a&roster=a,w&once=1"
        async with asyncio.TaskGroup() as tasks, running(options) as url:
            await Agent.join(url, "w", lease_s=0)
            waiting = tasks.create_task(call(url, "POST", wait))
            async with asyncio.timeout(DEADLINE_S):
                while not (await call(url, "GET", RUN))["ok"]["barriers"]:
                    pass
        assert waiting.result()["error"]["code"] == "unavailable"
        async with running(options) as url:
            assert (await call(url, "POST", f"{wait}&poll_s=0"))["ok"]["arrived"] == 1

    asyncio.run(scene())
