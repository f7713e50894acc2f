"""Goal: who does not read costs others nothing, the server little, and gets everything later.

Method: the server is a process of its own, so that its memory can be measured. Ten raw clients ask
for a table and read nothing, while a fast one copies the same table and follows live commits.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path

import pytest

from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.syncing import Watched, Wire, compare, only_newest, script, wire
from engine.tests.integration.test_engine_failures import ServerProcess

pytestmark = [pytest.mark.postgres, only_newest]

MIB = 1024 * 1024
SLOW = 10
ROWS = 30_000


def memory_of(pid: int) -> int:
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line
    )
    return int(line.split()[1]) * 1024


async def read_all(raw: Wire) -> dict[int, str]:
    """Read what has waited, until all of it is live."""
    rows: dict[int, str] = {}
    while True:
        message = await raw.message()
        match message["type"]:
            case "snapshot":
                rows.update((id, body) for id, body in message["rows"])
            case "commit":
                for kind, key, *more in message["parts"][0]["changes"]:
                    assert kind == "u"
                    rows[key[0]] = more[0]["body"]
            case "up_to_date" if message.get("live"):
                return rows


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@in_loop
async def test_slow_readers_of_a_large_copy_delay_nobody_and_complete_later(live: Live) -> None:
    await script(live, "CREATE TABLE t (id int PRIMARY KEY, body text)")
    fill = f"INSERT INTO t SELECT n, repeat(n::text, 60) FROM generate_series(1, {ROWS}) n"
    await script(live, fill)
    node = await asyncio.to_thread(ServerProcess, live.url)
    try:
        async with contextlib.AsyncExitStack() as stack:
            fast = await stack.enter_async_context(Watched(node.url))
            (await fast.subscribe("t", where="id < 0"))  # the table is published, the engine warm
            before = memory_of(node.process.pid)
            slow = [await stack.enter_async_context(wire(node.url)) for _ in range(SLOW)]
            for raw in slow:
                await raw.say("subscribe", shapes=[{"id": "1", "table": "t"}])
            t = await fast.subscribe("t")
            assert len(t.rows) == ROWS
            delays = []
            for number in range(20):
                begin = time.monotonic()
                await script(live, f"UPDATE t SET body = body || '{number}' WHERE id % 100 = 7")
                await compare_one(fast, number)
                delays.append(time.monotonic() - begin)
            assert sorted(delays)[10] < 1.0, delays
            growth = memory_of(node.process.pid) - before
            # A copy has 9 MiB; ten windows and what the commits take is all that is allowed.
            assert growth < 60 * MIB, f"{growth / MIB:.0f} MiB"
            await compare(live, fast, t)
            for raw in slow[:2]:
                assert await read_all(raw) == {id: row["body"] for id, row in t.rows.items()}
    finally:
        await asyncio.to_thread(node.end, signal.SIGTERM)


async def compare_one(client: Watched, number: int) -> None:
    t = client._following.subscriptions["2"]
    async with asyncio.timeout(20):
        while not t.rows[7]["body"].endswith(str(number)):
            client._moved.clear()
            await client._moved.wait()
