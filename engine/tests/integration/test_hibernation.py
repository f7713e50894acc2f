"""Goal: a server without clients costs the database nothing, and who comes back misses nothing.

Method: engines that fall asleep after a second; what they have open is asked of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import LiteralString

import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.peer import peer
from engine.tests.integration.syncing import compare, only_newest, only_newest_own, script, wire
from tidewire import Client, limits
from tidewire.embedded import EmbeddedPostgres
from tidewire.engine import Engine

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int)"
OPEN = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'tidewire' AND datname = current_database()
"""
HELD = "SELECT count(*) FROM pg_replication_slots WHERE active AND database = current_database()"
SLEEPY = {"hibernate_after_s": 1}


@pytest.fixture(autouse=True)
def no_pause_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server look often, so that it is seen to leave nothing open."""
    monkeypatch.setattr(limits, "GUARD_S", 0.2)
    monkeypatch.setattr(limits, "COPY_KEEP_S", 0.2)


async def counted(live: Live, query: LiteralString) -> int:
    """Count until nothing is left, or nothing more leaves: a backend takes a moment to end."""
    count = 1
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while count := (await live.execute(query))[0][0]:
                await asyncio.sleep(0.05)  # why: the poll of a condition, under a deadline
    return int(count)


async def fall_asleep(engine: Engine) -> None:
    await eventually(lambda: engine.leader.state == "asleep")


@in_loop
async def test_without_clients_nothing_is_open_to_the_database(live: Live) -> None:
    await script(live, TABLE)
    async with live.engine(**SLEEPY) as engine:
        async with Client(engine.url) as client:
            t = await client.subscribe("t")
            await asyncio.sleep(1.5)  # why: longer than a server without clients stays awake
            assert engine.leader.state == "streaming"
            await script(live, "INSERT INTO t VALUES (1, 1)")
            await compare(live, client, t)
        await fall_asleep(engine)
        assert await counted(live, OPEN) == 0
        assert await counted(live, HELD) == 0
        assert engine.is_ready


@in_loop
async def test_100_000_changes_while_asleep_reach_who_comes_back(live: Live) -> None:
    await script(live, TABLE)
    async with live.engine(**SLEEPY) as engine:
        async with wire(engine.url) as raw:
            told = (await raw.subscribe(table="t", initial=True))[-1]
        await fall_asleep(engine)
        for n in range(0, 100_000, 10_000):
            rows = f"SELECT n, n FROM generate_series({n + 1}, {n + 10_000}) n"
            await script(live, f"INSERT INTO t {rows}")
        assert engine.leader.state == "asleep"
        start = raw.place(engine.hub.epoch, told)
        async with wire(engine.url) as raw:
            found: list[int] = []
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **start}])
            while len(found) < 100_000:
                message = await raw.message()
                assert message["type"] in ("subscribed", "commit", "up_to_date"), message
                for part in message.get("parts", ()):
                    found += [change[1][0] for change in part["changes"]]
        assert found == list(range(1, 100_001))


@in_loop
async def test_a_welcome_does_not_wait_for_the_database(
    server: EmbeddedPostgres, live: Live
) -> None:
    await script(live, TABLE)
    async with live.engine(**SLEEPY) as engine:
        await fall_asleep(engine)
        name = live.url.rpartition("/")[2]
        # Nobody can connect: a welcome that needed the database would not come.
        admin = Live(server.url)
        await script(admin, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            async with wire(engine.url):  # it waits for the welcome
                pass
        finally:
            await script(admin, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v1/status"])
@only_newest
@in_loop
async def test_who_only_looks_wakes_nobody(live: Live, path: str) -> None:
    async with live.engine(**SLEEPY) as engine:
        await fall_asleep(engine)
        port = int(engine.url.rpartition(":")[2].partition("/")[0])
        async with peer(port) as client:
            client.ask(path)
            answer = await client.answer()
        assert answer.status == 200
        if path == "/v1/status":
            assert b'"state":"asleep"' in answer.body
        assert engine.leader.state == "asleep"
        assert await counted(live, OPEN) == 0


@only_newest_own
@in_loop
async def test_postgres_is_restarted_and_written_to_while_the_server_sleeps(
    own_server: EmbeddedPostgres,
) -> None:
    live = Live(own_server.url)
    await script(live, TABLE)
    async with live.engine(**SLEEPY) as engine:
        async with wire(engine.url) as raw:
            told = (await raw.subscribe(table="t"))[-1]
        await fall_asleep(engine)
        await asyncio.to_thread(own_server.restart, "fast")
        await script(live, "INSERT INTO t VALUES (1, 1)")
        start = raw.place(engine.hub.epoch, told)
        async with wire(engine.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **start}])
            assert await raw.changes() == [["i", [1, 1]]]


@only_newest
@in_loop
async def test_the_slot_is_dropped_while_the_server_sleeps_and_who_comes_back_is_told(
    live: Live,
) -> None:
    await script(live, TABLE)
    async with live.engine(**SLEEPY) as engine:
        async with wire(engine.url) as raw:
            told = (await raw.subscribe(table="t"))[-1]
        await fall_asleep(engine)
        before = engine.hub.epoch
        await script(live, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        start = raw.place(before, told)
        async with wire(engine.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **start}])
            reset = (await raw.until("reset"))[-1]
            assert reset["reason"] == "other_history"
        assert engine.hub.epoch != before
