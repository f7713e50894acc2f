"""What dies and comes back: PostgreSQL, server, client. Nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys

import psycopg
import pytest

from engine.tests.integration.live import (
    Live,
    collect,
    database,
    eventually,
    following,
    in_loop,
)
from tidewire import Client, Commit, Subscription, SyncError
from tidewire.core.model.lsn import parse_lsn
from tidewire.embedded import EmbeddedPostgres

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY)"
INSERT = "INSERT INTO t VALUES (%s)"
FAST_STOP_S = 5.0


async def collect_until(subscription: Subscription, last: int) -> list[int]:
    """Read inserted ids until one comes; a gap is an error."""
    found: list[int] = []
    async for commit in subscription.commits():
        found += _ids(commit)
        if last in found:
            return found
    raise AssertionError("the commits ended")


def _ids(commit: Commit) -> list[int]:
    return [int(str(change.key[0])) for change in commit.changes]


@in_loop
async def test_a_fast_stop_of_postgres_with_live_clients_returns_and_they_go_on(
    own_server: EmbeddedPostgres,
) -> None:
    live = Live(own_server.url)
    await live.execute(TABLE)
    async with live.engine() as engine, following(engine, "t") as (_, t):
        await live.execute(INSERT, 1)
        assert await collect_until(t, 1) == [1]
        # After the time-out the server would be stopped harder, and its log would say so: a slot
        # that trails must not hold a fast stop back.
        await asyncio.to_thread(own_server.restart, "fast", timeout_s=FAST_STOP_S)
        log = (own_server.data_dir / "tidewire.log").read_text()
        assert "received fast shutdown" in log
        assert "received immediate shutdown" not in log
        await live.execute(INSERT, 2)
        assert await collect_until(t, 2) == [2]
        await eventually(lambda: engine.is_ready)


@in_loop
async def test_postgres_is_killed_under_load_and_every_commit_arrives_once(
    own_server: EmbeddedPostgres,
) -> None:
    live = Live(own_server.url)
    await live.execute(TABLE)
    committed: list[int] = []

    async def write_until_it_dies() -> None:
        async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
            with pytest.raises(psycopg.Error):
                await write(connection)

    async def write(connection: psycopg.AsyncConnection) -> None:
        for n in range(100_000):
            await connection.execute(INSERT, [n])
            committed.append(n)

    async with live.engine() as engine, following(engine, "t") as (_, t):
        async with asyncio.TaskGroup() as group:
            group.create_task(write_until_it_dies())
            await eventually(lambda: len(committed) > 200)
            own_server.kill()
        await asyncio.to_thread(own_server.start)
        await live.execute(INSERT, 200_000)
        found = await collect_until(t, 200_000)
        # The commit that was under way when the server died may have been made or not.
        assert found[: len(committed)] == committed
        assert found[len(committed) :] in ([200_000], [len(committed), 200_000])
        assert engine.status()["trouble"] is None


class ServerProcess:
    """`tidewire serve` in a process of its own, to be killed."""

    def __init__(self, url: str, listen: str = "127.0.0.1:0") -> None:
        command = [sys.executable, "-m", "tidewire", "serve", "--dev", "--listen", listen]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TIDEWIRE_DATABASE_URL": url},
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if match := re.search(r"serving on (ws://\S+:(\d+)/\S+)", line):
                self.url, self.listen = match[1], f"127.0.0.1:{match[2]}"
                return
        raise AssertionError("the server did not start")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@in_loop
async def test_the_server_is_killed_under_load_and_its_clients_lose_nothing(live: Live) -> None:
    await live.execute(TABLE)
    node = await asyncio.to_thread(ServerProcess, live.url)
    is_enough = asyncio.Event()
    written: list[int] = []

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
            while not is_enough.is_set():
                await connection.execute(INSERT, [len(written)])
                written.append(len(written))

    async with asyncio.TaskGroup() as group, Client(node.url) as client:
        t = await client.subscribe("t")
        group.create_task(write())
        await eventually(lambda: len(written) > 100)
        await asyncio.to_thread(node.end, signal.SIGKILL)
        await eventually(lambda: not client.is_connected)
        at_death = len(written)
        await eventually(lambda: len(written) > at_death + 100)
        node = await asyncio.to_thread(ServerProcess, live.url, node.listen)
        try:
            is_enough.set()
            await live.execute(INSERT, 1_000_000)
            assert await collect_until(t, 1_000_000) == [*written, 1_000_000]
        finally:
            assert await asyncio.to_thread(node.end, signal.SIGTERM) == 0


@in_loop
async def test_the_slot_follows_the_floor_of_the_log_and_never_passes_it(live: Live) -> None:
    await live.execute(TABLE)
    confirmed = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s"
    async with live.engine() as engine, following(engine, "t") as (_, t):
        history, slot = engine.hub.history, str(engine.status()["slot"])
        [(before,)] = await live.execute(confirmed, slot)
        history._bytes_max = 10_000
        for n in range(60):
            await live.execute(INSERT, n)
            [(position,)] = await live.execute(confirmed, slot)
            assert parse_lsn(position) <= history.floor or position == before
        await collect_until(t, 59)
        assert history.floor > parse_lsn(before)
        async with asyncio.timeout(20):
            while parse_lsn((await live.execute(confirmed, slot))[0][0]) != history.floor:
                pass


@in_loop
async def test_the_server_restarts_on_an_idle_database_and_its_clients_go_on(live: Live) -> None:
    await live.execute(TABLE)
    node = await asyncio.to_thread(ServerProcess, live.url)
    async with Client(node.url) as client:
        t = await client.subscribe("t")
        await asyncio.to_thread(node.end, signal.SIGTERM)
        await eventually(lambda: not client.is_connected)
        node = await asyncio.to_thread(ServerProcess, live.url, node.listen)
        try:
            await eventually(lambda: client.is_connected)
            await live.execute(INSERT, 1)
            assert await collect_until(t, 1) == [1]
        finally:
            await asyncio.to_thread(node.end, signal.SIGTERM)


@in_loop
async def test_a_client_is_killed_and_the_server_forgets_it(live: Live) -> None:
    await live.execute(TABLE)
    async with live.engine() as engine, following(engine, "t") as (_, t):
        command = [sys.executable, "-m", "tidewire", "tail", "t", "--url", engine.url]
        tail = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
        await eventually(lambda: len(engine.hub.sessions) == 2)
        tail.kill()
        await tail.communicate()
        await eventually(lambda: len(engine.hub.sessions) == 1)
        await live.execute(INSERT, 1)
        assert await collect_until(t, 1) == [1]


@in_loop
async def test_a_slot_that_somebody_dropped_means_another_history_and_is_told(live: Live) -> None:
    await live.execute(TABLE)
    async with live.engine() as engine, following(engine, "t") as (_, t):
        epoch, slot = engine.hub.epoch, str(engine.status()["slot"])
        async with asyncio.timeout(20):
            while not await _drop(live, slot):
                pass
        await eventually(lambda: engine.hub.epoch != epoch and engine.is_ready)
        with pytest.raises(SyncError) as gap:
            await collect(t, 1)
        assert gap.value.code == "other_history"
        await eventually(lambda: t.is_live)  # or the row would come with the new copy
        await live.execute(INSERT, 1)
        assert await collect_until(t, 1) == [1]


async def _drop(live: Live, slot: str) -> bool:
    """Take the slot away from its walsender, as an impatient administrator would."""
    try:
        await live.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
            " WHERE slot_name = %s",
            slot,
        )
        await live.execute("SELECT pg_drop_replication_slot(%s)", slot)
    except psycopg.errors.ObjectInUse:
        return False
    return True


@in_loop
async def test_somebody_who_reads_our_slot_is_found_out_and_clients_are_told(live: Live) -> None:
    await live.execute(TABLE)
    async with live.engine() as engine, following(engine, "t") as (_, t):
        epoch, slot = engine.hub.epoch, str(engine.status()["slot"])
        await live.execute(INSERT, 1)
        assert await collect_until(t, 1) == [1]
        async with asyncio.timeout(20):
            while not await _steal(live, slot):
                pass
        await eventually(lambda: engine.hub.epoch != epoch and engine.is_ready)
        with pytest.raises(SyncError) as gap:
            await collect(t, 1)
        assert gap.value.code == "other_history"


async def _steal(live: Live, slot: str) -> bool:
    """Read what the slot holds, so that its position moves on without the engine."""
    try:
        await live.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
            " WHERE slot_name = %s",
            slot,
        )
        await live.execute(
            "SELECT count(*) FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL,"
            " 'proto_version', '1', 'publication_names', 'tidewire_default')",
            slot,
        )
    except psycopg.errors.ObjectInUse:
        return False
    return True


@in_loop
async def test_a_clean_stop_keeps_slot_and_publication_and_teardown_removes_them(
    server: EmbeddedPostgres,
) -> None:
    with database(server) as live:
        async with live.engine():
            pass
        objects = (
            "SELECT (SELECT count(*) FROM pg_replication_slots"
            "        WHERE database = current_database()),"
            " (SELECT count(*) FROM pg_publication)"
        )
        assert await live.execute(objects) == [(1, 1)]
        async with live.engine():
            assert await live.execute(objects) == [(1, 1)], "the same slot again"
        command = [sys.executable, "-m", "tidewire", "teardown", "--database-url", live.url]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "dropped slot tidewire_default_" in done.stdout
        assert await live.execute(objects) == [(0, 0)]
