"""Goal: the server or PostgreSQL dies while a table is copied; the client ends with the table.

Method: the server is a process of its own, killed from within the client when a few chunks have
come; PostgreSQL is killed or restarted while a copy is held in the middle of its rows.
"""

from __future__ import annotations

import asyncio
import signal

import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import (
    Watched,
    compare,
    hold_rows,
    only_newest,
    only_newest_own,
    script,
)
from engine.tests.integration.test_engine_failures import ServerProcess
from tidewire.embedded import EmbeddedPostgres

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY, body text)"


@only_newest
@in_loop
async def test_the_server_is_killed_while_a_table_is_copied(live: Live) -> None:
    # More than the window, so that the server cannot have sent all of it.
    await script(live, TABLE)
    await script(live, "INSERT INTO t SELECT n, repeat('b', 200) FROM generate_series(1, 15000) n")
    node = await asyncio.to_thread(ServerProcess, live.url)
    dead = asyncio.Event()
    async with Watched(node.url) as client, asyncio.TaskGroup() as tasks:

        def look() -> None:
            if client.kinds.count("snapshot") == 3 and not dead.is_set():
                node.process.kill()
                dead.set()
            assert dead.is_set() or not client._following.subscriptions["1"].is_live

        client.look = look
        asking = tasks.create_task(client.subscribe("t", timeout_s=40))
        await dead.wait()
        await asyncio.to_thread(node.end, signal.SIGKILL)
        await script(live, "UPDATE t SET id = -id WHERE id % 3 = 0", "DELETE FROM t WHERE id < 10")
        node = await asyncio.to_thread(ServerProcess, live.url, node.listen)
        try:
            t = await asking
            await compare(live, client, t)
            assert t.resets == 0, "nothing of it was visible"
            await script(live, "INSERT INTO t VALUES (0, 'after')")
            await compare(live, client, t)
        finally:
            assert await asyncio.to_thread(node.end, signal.SIGTERM) == 0


@only_newest_own
@pytest.mark.parametrize("is_killed", [True, False])
@in_loop
async def test_postgres_dies_while_a_table_is_copied(
    own_server: EmbeddedPostgres, is_killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(own_server.url)
    await script(live, TABLE)
    # More than the sockets' buffers hold: the rows are on their way when it dies.
    await script(live, "INSERT INTO t SELECT n, repeat('b', 500) FROM generate_series(1, 20000) n")
    gate = hold_rows(monkeypatch)
    async with live.engine() as engine, Watched(engine.url) as client, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t", timeout_s=40))
        await eventually(lambda: gate.arrived == ["t"])
        await script(live, "UPDATE t SET body = 'live' WHERE id = 1")
        if is_killed:
            await asyncio.to_thread(own_server.kill)
        else:
            await asyncio.to_thread(own_server.restart, "fast")
        gate.open("t")
        await asyncio.to_thread(own_server.start)
        await script(live, "UPDATE t SET body = 'later' WHERE id = 2", "DELETE FROM t WHERE id = 3")
        t = await asking
        await compare(live, client, t)
        assert len(gate.arrived) >= 2, "copied again"
        await script(live, "DELETE FROM t WHERE id > 100")
        await compare(live, client, t)
