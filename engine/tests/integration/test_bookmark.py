"""Goal: a server that wakes reads from its bookmark at once, and nothing is lost or told twice.

Method: servers that leave a bookmark however short the log is; where commits come from is seen in
the stream of the slot, which is held back, and in what PostgreSQL says of its slots.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import msgspec
import psycopg
import pytest

from engine.tests.integration.conftest import FAST
from engine.tests.integration.live import Live, database, eventually, in_loop
from engine.tests.integration.syncing import only_newest, only_newest_own, script, wire
from tidewire import limits
from tidewire.core.model.lsn import Lsn, Xid
from tidewire.embedded import EmbeddedPostgres
from tidewire.engine import Engine
from tidewire.errors import DatabaseGone
from tidewire.postgres.database import Database
from tidewire.postgres.replication import Batch, Replication
from tidewire.postgres.slot import teardown

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int)"
BOOKMARKS = """
SELECT slot_name FROM pg_replication_slots
WHERE slot_name LIKE '%\\_wake' AND database = current_database()
"""
PLACES = """
SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots
WHERE slot_name LIKE '%\\_wake' AND database = current_database()
"""
BREAK = """
SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots
WHERE active AND database = current_database()
"""
SLEEPY = {"hibernate_after_s": 1}


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every server that falls asleep leave a bookmark."""
    monkeypatch.setattr(limits, "BOOKMARK_BYTES", 0)
    monkeypatch.setattr(limits, "COPY_KEEP_S", 0.2)


class Slow:
    """Streams of slots that bring nothing until they may; those of bookmarks are as they are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go_on = asyncio.Event()
        self.is_held = asyncio.Event()
        self.ahead = 0
        """Streams of bookmarks that were begun."""
        held = self.streams = set[Replication]()
        start, read = Replication.start, Replication.read

        async def note(stream: Replication, slot: str, publication: str, after: Lsn) -> None:
            await start(stream, slot, publication, after)
            if slot.endswith("_wake"):
                self.ahead += 1
            else:
                held.add(stream)

        async def wait(stream: Replication) -> Batch:
            if stream in held:
                self.is_held.set()
                await self.may_go_on.wait()
            return await read(stream)

        monkeypatch.setattr(Replication, "start", note)
        monkeypatch.setattr(Replication, "read", wait)


async def bookmarks(live: Live) -> list[str]:
    return [name for (name,) in await live.execute(BOOKMARKS)]


async def until_gone(live: Live) -> None:
    async with asyncio.timeout(20):
        while await bookmarks(live):
            await asyncio.sleep(0.05)  # why: the poll of a condition, under a deadline


async def fall_asleep(engine: Engine) -> None:
    await eventually(lambda: engine.leader.state == "asleep")


@contextlib.asynccontextmanager
async def asleep(live: Live) -> AsyncIterator[tuple[Engine, dict[str, object]]]:
    """Give a server that sleeps, and the cursor of a client that was there before."""
    await script(live, TABLE, "INSERT INTO t VALUES (0, 0)")
    async with live.engine(**SLEEPY) as engine:
        async with wire(engine.url) as raw:
            await raw.subscribe(table="t", initial=True)
            # The log has a commit that a stream can prove itself with.
            await script(live, "INSERT INTO t VALUES (-1, 0)")
            told = (await raw.until("commit"))[-1]
        await fall_asleep(engine)
        yield engine, raw.place(engine.hub.epoch, told)


async def check_first_and_second(
    live: Live, engine: Engine, cursor: dict[str, object], slow: Slow
) -> None:
    """Come back where row 1 is new, have row 2 written, and only then let the slot's stream go."""
    leader, history = engine.leader, engine.hub.history
    async with wire(engine.url) as raw:
        await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **cursor}])
        await eventually(lambda: leader.state == "streaming")
        known = history.newest
        await script(live, "INSERT INTO t VALUES (2, 2)")
        await eventually(lambda: history.newest > known or leader._bookmark.name is None)
        slow.may_go_on.set()
        assert await raw.changes() == [["i", [1, 1]]], "it is not left out"
        assert await raw.changes() == [["i", [2, 2]]]


async def change_of(engine: Engine, cursor: dict[str, object]) -> object:
    """Come back; return the first change."""
    async with wire(engine.url) as raw:
        await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **cursor}])
        return await raw.changes()


@only_newest
@in_loop
async def test_commits_come_before_the_slots_own_stream_is_there(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asleep(live) as (engine, cursor):
        (bookmark,) = await bookmarks(live)
        assert engine.leader.slot is not None
        assert bookmark == engine.leader.slot.name + "_wake"
        await script(live, "INSERT INTO t VALUES (1, 1)")
        slow = Slow(monkeypatch)
        async with wire(engine.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **cursor}])
            assert await raw.changes() == [["i", [1, 1]]]
            await script(live, "INSERT INTO t VALUES (2, 2)")
            assert await raw.changes() == [["i", [2, 2]]]
            assert await bookmarks(live) == [bookmark], "it is read from"
            slow.may_go_on.set()
            await until_gone(live)
            assert slow.ahead == 1
            await script(live, "INSERT INTO t VALUES (3, 3)")
            assert await raw.changes() == [["i", [3, 3]]], "what came before is not told again"
    assert await bookmarks(live) == []


@only_newest
@in_loop
async def test_writers_write_all_the_while(live: Live) -> None:
    # Goal: while one stream takes over from the other each commit comes once, in order.
    written, is_over = 0, False

    async def write() -> None:
        nonlocal written
        async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
            while not is_over:
                await connection.execute("INSERT INTO t VALUES (%s, 0)", [written + 1])
                written += 1

    async def read(engine: Engine, cursor: dict[str, object]) -> dict[str, object]:
        """Read until the stream of the slot has taken over, and a while longer."""
        async with wire(engine.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **cursor}])
            taken_over_at = None
            while taken_over_at is None or len(found) < taken_over_at + 200:
                message = json.loads(await raw.socket.recv())
                raw.fingerprint = message.get("fingerprint", raw.fingerprint)
                assert message["type"] in ("subscribed", "commit", "up_to_date"), message
                if message["type"] != "commit":
                    continue
                raw.counted += 1
                if raw.counted % 100 == 0:  # and not at each: that would be a flood
                    await raw.say("ack", n=raw.counted)
                found.extend(row[0] for part in message["parts"] for _, row in part["changes"])
                cursor = {**cursor, **raw.place(engine.hub.epoch, message)}
                if taken_over_at is None and not engine.leader._is_overtaking:
                    taken_over_at = len(found)
        return cursor

    found: list[int] = []
    async with asleep(live) as (engine, cursor), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        places = []
        for _ in range(2):
            places += await live.execute(PLACES)
            cursor = await read(engine, cursor)
            await fall_asleep(engine)
        is_over = True
    assert found == list(range(1, len(found) + 1))
    (first,), (second,) = places
    assert first < second, "each sleep has a bookmark of its own"


@only_newest
@in_loop
async def test_a_bookmark_that_is_gone_is_not_missed(live: Live) -> None:
    async with asleep(live) as (engine, cursor):
        (bookmark,) = await bookmarks(live)
        await live.execute("SELECT pg_drop_replication_slot(%s)", bookmark)
        await script(live, "INSERT INTO t VALUES (1, 1)")
        assert await change_of(engine, cursor) == [["i", [1, 1]]]


@only_newest
@in_loop
async def test_the_slots_own_stream_tells_another_history(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Goal: what was read ahead is not believed for ever. Method: our log remembers another commit.
    async with asleep(live) as (engine, cursor):
        slow = Slow(monkeypatch)
        newest = engine.hub.history._entries[-1]
        forged = msgspec.structs.replace(newest.transaction, xid=Xid(7))
        engine.hub.history._entries[-1] = newest._replace(transaction=forged)
        async with wire(engine.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **cursor}])
            await script(live, "INSERT INTO t VALUES (1, 1)")
            assert await raw.changes() == [["i", [1, 1]]]
            slow.may_go_on.set()
            assert (await raw.until("reset"))[-1]["reason"] == "other_history"
            await until_gone(live)


@only_newest
@in_loop
async def test_a_server_that_was_stopped_asleep_takes_its_bookmark_out(live: Live) -> None:
    async with asleep(live) as (_, cursor):
        pass
    assert len(await bookmarks(live)) == 1
    await script(live, "INSERT INTO t VALUES (1, 1)")
    async with live.engine() as engine:
        assert await change_of(engine, cursor) == [["i", [1, 1]]]
        await until_gone(live)


@only_newest
@in_loop
async def test_teardown_takes_the_bookmark_with_it(live: Live) -> None:
    async with asleep(live):
        pass
    connection = Database(live.url)
    dropped = await teardown(connection, "default")
    await connection.close()
    assert [word.split()[0] for word in dropped] == ["slot", "slot", "publication"]
    assert await bookmarks(live) == []


@only_newest
@in_loop
async def test_an_open_transaction_only_makes_waking_slower(
    live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BOOKMARK_TIMEOUT_S", 0.2)
    caplog.set_level("INFO", "tidewire.bookmark")
    async with contextlib.AsyncExitStack() as stack:
        await script(live, "CREATE TABLE other (id int)")
        connection = await stack.enter_async_context(
            await psycopg.AsyncConnection.connect(live.url)
        )
        engine, cursor = await stack.enter_async_context(asleep_beside(live, connection))
        assert await bookmarks(live) == []
        assert "no bookmark, so waking will take longer" in caplog.text
        await script(live, "INSERT INTO t VALUES (1, 1)")
        assert await change_of(engine, cursor) == [["i", [1, 1]]]


@contextlib.asynccontextmanager
async def asleep_beside(
    live: Live, connection: psycopg.AsyncConnection
) -> AsyncIterator[tuple[Engine, dict[str, object]]]:
    """Let a transaction be open while a server falls asleep."""
    await script(live, TABLE)
    async with live.engine(**SLEEPY) as engine:
        async with wire(engine.url) as raw:
            told = (await raw.subscribe(table="t"))[-1]
        await connection.execute("INSERT INTO other VALUES (1)")
        await fall_asleep(engine)
        yield engine, raw.place(engine.hub.epoch, told)


def test_no_slot_is_free_for_a_bookmark() -> None:
    @in_loop
    async def look(live: Live) -> None:
        async with asleep(live) as (engine, cursor):
            assert await bookmarks(live) == []
            await script(live, "INSERT INTO t VALUES (1, 1)")
            assert await change_of(engine, cursor) == [["i", [1, 1]]]

    with (
        EmbeddedPostgres(settings={**FAST, "max_replication_slots": "1"}) as server,
        database(server) as live,
    ):
        look(live)


@only_newest_own
@in_loop
async def test_postgres_is_killed_while_the_server_sleeps(own_server: EmbeddedPostgres) -> None:
    live = Live(own_server.url)
    async with asleep(live) as (engine, cursor):
        await asyncio.to_thread(own_server.restart, "immediate")
        assert len(await bookmarks(live)) == 1
        await script(live, "INSERT INTO t VALUES (1, 1)")
        async with wire(engine.url):
            assert await change_of(engine, cursor) == [["i", [1, 1]]]
            await until_gone(live)


@only_newest
@in_loop
async def test_the_stream_breaks_before_it_has_come_to_the_bookmark(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await script(live, TABLE)
    async with live.engine(**SLEEPY) as engine:
        async with wire(engine.url) as raw:
            told = (await raw.subscribe(table="t"))[-1]
        slow, stream = Slow(monkeypatch), engine.leader.replication
        assert stream is not None
        slow.streams.add(stream)
        await slow.is_held.wait()
        await script(live, "INSERT INTO t VALUES (1, 1)")
        async with asyncio.timeout(20):
            while not await bookmarks(live):
                await asyncio.sleep(0.05)  # why: the poll of a condition, under a deadline
        await live.execute(BREAK)
        slow.may_go_on.set()
        slow.may_go_on = asyncio.Event()
        await eventually(lambda: engine.leader.state == "broken")
        cursor = raw.place(engine.hub.epoch, told)
        await check_first_and_second(live, engine, cursor, slow)


@only_newest
@in_loop
async def test_another_server_has_left_its_bookmark_meanwhile(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asleep(live) as (engine, cursor):
        async with live.engine(**SLEEPY) as other:
            await script(live, "INSERT INTO t VALUES (1, 1)")
            await fall_asleep(other)
        assert len(await bookmarks(live)) == 1
        await check_first_and_second(live, engine, cursor, Slow(monkeypatch))


@only_newest
@in_loop
async def test_a_server_sleeps_again_whose_slot_has_gone(live: Live) -> None:
    async with asleep(live) as (engine, _):
        assert engine.leader.slot is not None
        await live.execute("SELECT pg_drop_replication_slot(%s)", engine.leader.slot.name)
        async with wire(engine.url):
            await eventually(lambda: engine.leader.state == "streaming")
        await fall_asleep(engine)


@only_newest
@in_loop
async def test_a_server_sleeps_again_that_has_read_no_commit(live: Live) -> None:
    async with live.engine(**SLEEPY) as engine:
        await fall_asleep(engine)
        assert len(await bookmarks(live)) == 1
        async with wire(engine.url):
            await eventually(lambda: engine.leader.state == "streaming")
        await fall_asleep(engine)


@only_newest
@in_loop
async def test_a_slot_that_costs_too_much_takes_its_bookmark_with_it(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Goal: also where no stream can be had, which would find what is left.
    async def fail(_: Replication) -> None:
        raise DatabaseGone("no walsender is free")

    async with asleep(live) as (engine, _):
        monkeypatch.setattr(Replication, "_connect", fail)
        engine.leader.need()
        await eventually(lambda: engine.leader.state == "broken")
        await engine.leader.abandon("it costs too much")
        assert await bookmarks(live) == []
