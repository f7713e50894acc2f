"""Goal: one transaction of a million rows arrives whole, also when the server dies on the way.

Method: the server is a process of its own, killed when a client has the first parts of the commit.
What is visible is looked at after every message: nothing of it, and then all.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.tests.integration.live import Live, eventually, in_loop_for
from engine.tests.integration.syncing import only_newest, script
from engine.tests.integration.test_engine_failures import ServerProcess
from tidewire import Client

pytestmark = [pytest.mark.postgres, only_newest]

ROWS = 1_000_000
PARTS_BEFORE_DEATH = 5
# A server at rest has 70 MiB; all rows in its memory would be 150 MiB more.
SERVER_KIB_MAX = 160 * 1024


class Counting(Client):
    """A client that counts the parts of commits, and calls `look` after every message."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.look: Callable[[], object] = lambda: None
        self.parts = 0

    def _take(self, message: bytes) -> None:
        self.parts += message.startswith(b'{"type":"commit"')
        super()._take(message)
        self.look()


def most_memory_kib(pid: int) -> int:
    """Return the most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.timeout(240)
@in_loop_for(180)
async def test_the_server_is_killed_while_it_sends_a_million_rows(live: Live) -> None:
    await script(live, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (0)")
    node = await asyncio.to_thread(ServerProcess, live.url)
    dead = asyncio.Event()
    seen = set[int]()
    async with Counting(node.url) as client:
        t = await client.subscribe("t")
        commits = t.commits()

        def look() -> None:
            seen.add(len(t.rows))
            if client.parts == PARTS_BEFORE_DEATH and not dead.is_set():
                node.process.kill()
                dead.set()

        client.look = look
        await script(live, f"INSERT INTO t SELECT n FROM generate_series(1, {ROWS}) n")
        await dead.wait()
        await asyncio.to_thread(node.end, signal.SIGKILL)
        node = await asyncio.to_thread(ServerProcess, live.url, node.listen)
        try:
            commit = await anext(commits)
            assert len(commit.changes) == ROWS
            assert t.rows.keys() == set(range(ROWS + 1))
            assert (seen, t.resets) == ({1, ROWS + 1}, 0), "nothing of it, and then all"
            assert most_memory_kib(node.process.pid) < SERVER_KIB_MAX
            await script(live, "INSERT INTO t VALUES (-1)")
            await eventually(lambda: -1 in t.rows)
        finally:
            assert await asyncio.to_thread(node.end, signal.SIGTERM) == 0
