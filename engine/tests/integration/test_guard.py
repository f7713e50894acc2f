"""Goal: the log that PostgreSQL keeps for the slot stays below its bound, whoever writes.

Method: a small bound, a guard that looks often, and segments that are switched instead of filled.
"""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import Message, Wire, compare, only_newest_own, script, wire
from tidewire import Client, limits
from tidewire.embedded import EmbeddedPostgres
from tidewire.engine import Engine

pytestmark = [pytest.mark.postgres, only_newest_own]

MIB = 1024 * 1024
SEGMENT = 16 * MIB
BOUND = 256 * MIB
RETAINED = """
SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)), 0)::bigint
FROM pg_replication_slots
"""
TABLE = "CREATE TABLE t (id int PRIMARY KEY)"


@pytest.fixture(autouse=True)
def a_guard_that_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look as often as segments are filled here."""
    monkeypatch.setattr(limits, "GUARD_S", 0.1)
    monkeypatch.setattr(limits, "GUARD_ASLEEP_S", 0.1)
    monkeypatch.setattr(limits, "GUARD_ASLEEP_LONGEST_S", 0.1)
    monkeypatch.setattr(limits, "WARN_AGAIN_S", 0.1)
    monkeypatch.setattr(limits, "HELD_S", 1.0)
    monkeypatch.setattr(limits, "COPY_KEEP_S", 0.2)


async def retained(live: Live) -> int:
    return int((await live.execute(RETAINED))[0][0])


async def fill(live: Live) -> int:
    """Write one segment of log that nobody follows; return what the slot keeps then."""
    await script(live, "CREATE TABLE IF NOT EXISTS other (id int)", "INSERT INTO other VALUES (1)")
    await script(live, "SELECT pg_switch_wal()")
    # The slot moves with what the server notes about running transactions, and that takes a moment.
    await script(live, "CHECKPOINT")
    return await retained(live)


async def let_look(engine: Engine) -> None:
    """Wait until the guard has looked again."""
    seen = engine.guard.retained
    await eventually(lambda: engine.guard.retained is not seen or not engine.is_ready)


async def fill_until_the_guard_has_followed(live: Live, engine: Engine) -> int:
    """Write a segment, and wait until the guard has seen it: it must be allowed to be quick."""
    kept = await fill(live)
    await let_look(engine)
    return kept


@in_loop
async def test_a_busy_neighbour_does_not_make_the_slot_keep_its_log(
    own_server: EmbeddedPostgres,
) -> None:
    live = Live(own_server.url)
    await script(live, TABLE)
    async with live.engine(wal_bytes_max=BOUND) as engine, Client(engine.url) as client:
        t = await client.subscribe("t")
        before = engine.hub.epoch
        kept = [await fill_until_the_guard_has_followed(live, engine) for _ in range(30)]
        assert max(kept) < BOUND
        await eventually(lambda: engine.guard.retained and engine.guard.retained.total < BOUND // 2)
        await script(live, "INSERT INTO t VALUES (1)")
        await compare(live, client, t)
        assert engine.hub.epoch == before


@in_loop
async def test_a_neighbour_is_busier_than_the_server_is_with_its_notes(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No checkpoint comes, so nobody but the guard notes what a slot could move to."""
    monkeypatch.setattr(limits, "WARN_AGAIN_S", 30.0)
    live = Live(own_server.url)
    await script(live, TABLE)
    async with live.engine(wal_bytes_max=BOUND) as engine, Client(engine.url) as client:
        t = await client.subscribe("t")
        before = engine.hub.epoch
        for n in range(40):
            await script(live, f"INSERT INTO t VALUES ({n})", "SELECT pg_switch_wal()")
            assert await retained(live) < BOUND
            await let_look(engine)
        await compare(live, client, t)
        assert engine.hub.epoch == before


@in_loop
async def test_a_busy_neighbour_costs_nobody_who_sleeps_a_reset(
    own_server: EmbeddedPostgres,
) -> None:
    live = Live(own_server.url)
    await script(live, TABLE)
    async with live.engine(wal_bytes_max=BOUND, hibernate_after_s=1) as engine:
        async with wire(engine.url) as raw:
            start = await told_of_one_row(live, engine, raw)
        await eventually(lambda: engine.leader.state == "asleep")
        kept = [await fill_until_the_guard_has_followed(live, engine) for _ in range(30)]
        assert max(kept) < BOUND
        await eventually(lambda: engine.leader.state == "asleep")
        await script(live, "INSERT INTO t VALUES (2)")
        async with wire(engine.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **start}])
            assert await raw.changes() == [["i", [2]]]


@in_loop
async def test_an_open_transaction_pins_the_log_and_is_named_and_at_the_bound_the_slot_goes(
    own_server: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    live = Live(own_server.url)
    await script(live, TABLE, "CREATE TABLE other (id int)")
    async with live.engine(wal_bytes_max=BOUND) as engine, Client(engine.url) as client:
        t = await client.subscribe("t")
        before = engine.hub.epoch
        async with await psycopg.AsyncConnection.connect(live.url) as old:
            await old.execute("INSERT INTO other VALUES (2)")
            pid = old.info.backend_pid
            while "because of the" not in caplog.text:
                await fill_until_the_guard_has_followed(live, engine)
                assert await retained(live) < BOUND, "named too late"
            assert f"because of the transaction of pid {pid}," in caplog.text
            held_by = engine.status()["held_by"]
            assert isinstance(held_by, str)
            assert f"pid {pid}," in held_by
            assert engine.hub.epoch == before
            kept = 0
            while kept < 2 * BOUND and engine.is_ready:
                kept = await fill_until_the_guard_has_followed(live, engine)
            await eventually(lambda: not engine.is_ready)
            assert kept <= BOUND + SEGMENT
            # A new slot cannot be made while it is open, and people are told why.
            for _ in range(5):
                with contextlib.suppress(psycopg.Error):
                    await fill(live)
            assert any("wal_bytes_max" in record.message for record in caplog.records)
        await eventually(lambda: engine.is_ready, timeout_s=60)
        assert engine.hub.epoch != before
        await script(live, "INSERT INTO t VALUES (1)")
        await compare(live, client, t)
        assert await retained(live) < BOUND


@in_loop
async def test_our_own_window_makes_way(own_server: EmbeddedPostgres) -> None:
    """Commits of a followed table lie between: the log drops them, and who is old is told so."""
    live = Live(own_server.url)
    await script(live, TABLE)
    async with live.engine(wal_bytes_max=BOUND) as engine:
        async with wire(engine.url) as raw:
            told = (await raw.subscribe(table="t"))[-1]
        kept = []
        for n in range(24):
            await script(live, f"INSERT INTO t VALUES ({n})")
            kept.append(await fill_until_the_guard_has_followed(live, engine))
        assert max(kept) < BOUND
        await eventually(lambda: engine.hub.history.first > 0)
        start = raw.place(engine.hub.epoch, told)
        async with wire(engine.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **start}])
            assert (await raw.until("reset"))[-1]["reason"] == "lagged"


async def told_of_one_row(live: Live, engine: Engine, raw: Wire) -> Message:
    """Follow the table through one commit; return where the client is then."""
    await raw.subscribe(table="t")
    await script(live, "INSERT INTO t VALUES (1)")
    await raw.changes()
    told = (await raw.until("up_to_date"))[-1]
    return raw.place(engine.hub.epoch, told)


async def leave_behind(live: Live, engine: Engine) -> None:
    """Let the slot move past every commit that has rows."""
    engine.hub.history._seconds_max = 0.1
    newest = engine.hub.history.newest
    while engine.leader.confirmed <= newest:
        await fill_until_the_guard_has_followed(live, engine)


@in_loop
async def test_a_quiet_server_is_restarted_and_nobody_starts_over(
    own_server: EmbeddedPostgres,
) -> None:
    """The slot has moved past the last commit that clients know, which is remembered."""
    live = Live(own_server.url)
    await script(live, TABLE)
    async with live.engine(wal_bytes_max=BOUND) as engine, wire(engine.url) as raw:
        start = await told_of_one_row(live, engine, raw)
        await leave_behind(live, engine)
    for n in (2, 3):
        async with live.engine(wal_bytes_max=BOUND) as engine, wire(engine.url) as raw:
            await script(live, f"INSERT INTO t VALUES ({n})")
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **start}])
            found: list[object] = []
            while len(found) < n - 1:
                found += await raw.changes()
            assert found == [["i", [m]] for m in range(2, n + 1)]


@in_loop
async def test_what_was_remembered_is_forgotten_before_it_is_wrong(
    own_server: EmbeddedPostgres,
) -> None:
    live = Live(own_server.url)
    await script(live, TABLE)
    async with live.engine(wal_bytes_max=BOUND) as engine, wire(engine.url) as raw:
        start = await told_of_one_row(live, engine, raw)
        await leave_behind(live, engine)
        # Two commits that the slot leaves behind, too, and then one that it does not.
        await script(live, "INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (3)")
        await leave_behind(live, engine)
        await script(live, "INSERT INTO t VALUES (4)")
        await eventually(lambda: engine.hub.history.quiet is None)
    async with live.engine(wal_bytes_max=BOUND) as engine, wire(engine.url) as raw:
        await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **start}])
        assert (await raw.until("reset"))[-1]["reason"] == "lagged"
