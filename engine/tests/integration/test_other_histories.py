"""Goal: when the database is not the one that clients were told of, they hear it and start over.

Method: a server of its own, whose slot is taken by the disk's guard, whose data come from a backup,
and which becomes another timeline; each with a client that is connected all the time.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import compare, only_newest_own, script
from tidewire import Client
from tidewire.embedded import EmbeddedPostgres

Arrive = Callable[[], Awaitable[None]]
"""Wait until the client has all that is there."""

pytestmark = [pytest.mark.postgres, only_newest_own]

TABLE = ("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1)")
SLOT = "SELECT slot_name, wal_status FROM pg_replication_slots"


def _copy(source: Path, target: Path) -> None:
    # With owners and rights: PostgreSQL does not run as root.
    subprocess.run(["cp", "-a", source, target], check=True)


async def goes_on_in_another_history(
    server: EmbeddedPostgres, happen: Callable[[Live, Arrive], Awaitable[None]]
) -> None:
    """Follow a table through an event; then the client is told, and has what is there."""
    live = Live(server.url)
    await script(live, *TABLE)
    async with live.engine() as engine, Client(engine.url) as client:
        t = await client.subscribe("t")
        await script(live, "INSERT INTO t VALUES (2, 2)")
        await compare(live, client, t)
        before = engine.hub.epoch
        await happen(live, lambda: compare(live, client, t))
        await script(live, "INSERT INTO t VALUES (3, 3)")
        await eventually(lambda: engine.hub.epoch != before, timeout_s=30)
        await eventually(lambda: engine.is_ready, timeout_s=30)
        await script(live, "INSERT INTO t VALUES (4, 4)")
        await compare(live, client, t)
        assert t.resets == 1
        assert {3, 4} <= set(t.rows)


@in_loop
async def test_the_slot_is_taken_by_the_guard_of_postgres(own_server: EmbeddedPostgres) -> None:
    async def happen(live: Live, _: Arrive) -> None:
        ((slot, _),) = await live.execute(SLOT)
        await script(live, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        await script(live, "SELECT pg_reload_conf()")
        async with asyncio.timeout(30):
            # It is gone at once, or seen as lost before the engine has dropped it.
            while (slot, "lost") not in (found := await live.execute(SLOT)):
                if slot not in dict(found):
                    break
                await script(live, "CREATE TABLE IF NOT EXISTS other (id int)")
                await script(live, "SELECT pg_switch_wal()", "CHECKPOINT")

    await goes_on_in_another_history(own_server, happen)


@in_loop
async def test_the_data_come_from_a_backup(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    cluster = own_server.data_dir / "cluster"

    async def happen(live: Live, arrive: Arrive) -> None:
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(_copy, cluster, tmp_path / "backup")
        await asyncio.to_thread(own_server.start)
        # What clients are told from here on, never was.
        await script(live, "INSERT INTO t VALUES (5, 5)", "UPDATE t SET n = 9")
        await arrive()
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(shutil.rmtree, cluster)
        await asyncio.to_thread(_copy, tmp_path / "backup", cluster)
        await asyncio.to_thread(own_server.start)

    await goes_on_in_another_history(own_server, happen)


@in_loop
async def test_the_server_becomes_another_timeline(own_server: EmbeddedPostgres) -> None:
    async def happen(live: Live, _: Arrive) -> None:
        await asyncio.to_thread(own_server.kill)
        (own_server.data_dir / "cluster" / "standby.signal").touch()
        await asyncio.to_thread(own_server.start)
        await script(live, "SELECT pg_promote()")

    await goes_on_in_another_history(own_server, happen)
