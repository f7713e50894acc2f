"""The replication stream and the catalog against schedules that break naive designs."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest

from engine.tests.integration.live import Live, collect, eventually, following, in_loop
from tidewire import Client, SyncError
from tidewire.config import Config
from tidewire.core.model.lsn import parse_lsn
from tidewire.core.protocol.frames import ShapeRequest
from tidewire.core.wal.publishing import Publishing
from tidewire.errors import ConfigError, DatabaseGone
from tidewire.postgres.catalog import Catalog
from tidewire.postgres.database import Database, connection_string
from tidewire.postgres.publication import publication_name
from tidewire.postgres.replication import Replication
from tidewire.postgres.slot import ensure_slot

pytestmark = pytest.mark.postgres


@in_loop
async def test_the_walsender_dies_while_we_are_busy_and_the_reader_learns_it(live: Live) -> None:
    # Goal: libpq may close the socket inside a report, and then nobody would wake the reader.
    database = Database(live.url)
    slot = await ensure_slot(database, "busy")
    async with Replication(live.url) as replication:
        await replication.start(slot.name, publication_name("busy"), slot.confirmed)
        while not (await replication.read()).progress:
            replication.report(wants_reply=True)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_read_to_the_end(replication))
            while replication._waiting is None:
                await asyncio.sleep(0)
            with psycopg.connect(live.url, autocommit=True) as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", [replication.pid])
                while connection.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = %s", [replication.pid]
                ).fetchone():
                    pass
            time.sleep(0.05)  # noqa: ASYNC251  # why: the loop is kept busy, that is the event
            with pytest.raises(DatabaseGone):
                report_often(replication)
            async with asyncio.timeout(5):
                await reading
    await database.close()


async def keep_nothing(_: object) -> None:
    """Write nothing down."""


def report_often(replication: Replication) -> None:
    for _ in range(10):
        replication.report(wants_reply=True)


async def _read_to_the_end(replication: Replication) -> None:
    try:
        while True:
            await replication.read()
    except DatabaseGone:
        return


T = ShapeRequest(id="1", table="t")


@in_loop
async def test_an_answer_that_timed_out_is_not_forgotten_when_the_client_asks_again(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database = Database(live.url)
    await ensure_slot(database, "again")
    config = Config(deployment="again")
    catalog = Catalog(database, config, publishing=Publishing(), keep=keep_nothing)
    monkeypatch.setattr("tidewire.limits.OLDER_TRANSACTIONS_TIMEOUT_S", 0.3)
    async with await psycopg.AsyncConnection.connect(live.url) as writer:
        await writer.execute("INSERT INTO t VALUES (1)")
        for _ in range(2):
            with pytest.raises(DatabaseGone, match="open for long: pid"):
                await catalog.resolve(T)
        # Another process that finds the table published has to wait as well.
        other = Catalog(database, config, publishing=Publishing(), keep=keep_nothing)
        with pytest.raises(DatabaseGone, match="open for long"):
            await other.resolve(T)
        await writer.commit()
    assert (await catalog.resolve(T)).is_new
    assert not (await catalog.resolve(T)).is_new
    await database.close()


@in_loop
async def test_a_partition_is_refused_and_its_root_is_followed(live: Live) -> None:
    await live.execute("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    await live.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    async with live.engine() as engine, following(engine, "p") as (client, root):
        with pytest.raises(SyncError, match="is a partition"):
            await client.subscribe("p1")
        await live.execute("INSERT INTO p1 VALUES (1)")
        [commit] = await collect(root, 1)
        assert commit.changes[0].key == (1,)


@in_loop
async def test_a_table_made_again_under_its_name_is_not_continued(live: Live) -> None:
    await live.execute("CREATE TABLE t (id int PRIMARY KEY)")
    async with live.engine() as engine, Client(engine.url) as client:
        t = await client.subscribe("t")
        await live.execute("DROP TABLE t")
        await live.execute("CREATE TABLE t (id int PRIMARY KEY)")
        await live.execute("INSERT INTO t VALUES (1)")
        for session in list(engine.hub.sessions):
            session.abort("dead")  # the network fails, and the client comes back
        with pytest.raises(SyncError, match="other_history"):
            await collect(t, 1)
        await eventually(lambda: t.is_live)
        assert list(t.rows) == [1]
        await live.execute("INSERT INTO t VALUES (2)")
        assert (await collect(t, 1))[0].changes[0].key == (2,)


@in_loop
async def test_the_position_of_an_idle_server_is_reached(live: Live) -> None:
    async with live.engine() as engine:
        for _ in range(5):
            await live.execute("SELECT pg_switch_wal()")
            [(text,)] = await live.execute("SELECT pg_current_wal_lsn()::text")
            position = parse_lsn(text)
            async with asyncio.timeout(10):
                while engine.hub.history.progress < position:
                    await asyncio.sleep(0.01)  # why: the poll of a condition, under a deadline


def test_a_wrong_database_url_does_not_show_its_password() -> None:
    for url in ("postgresql://app:100%safe@h/db", "app:hunter2secret@host/db"):
        with pytest.raises(ConfigError) as refused:
            connection_string(url, {}, {})
        assert "safe" not in str(refused.value)
        assert "hunter2" not in str(refused.value)
