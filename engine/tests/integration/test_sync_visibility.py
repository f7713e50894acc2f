"""Goal: a commit that is streamed before anybody can see it is in the rows of every client, once.

Method: `synchronous_standby_names` names a standby that does not exist, so that a COMMIT is in the
write-ahead log and its backend waits, for as long as the test likes. All other sessions do not wait
(`synchronous_commit = local`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg
import pytest

import tidewire
from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import Watched, compare, only_newest_own, script
from tidewire import Client, Engine
from tidewire.core.model.lsn import Lsn, format_lsn
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.splice import Snapshot
from tidewire.embedded import EmbeddedPostgres

pytestmark = pytest.mark.postgres

LOCAL = "?options=-c%20synchronous_commit%3Dlocal"
TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, n int)",
    "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
SEEN = {1: 10, 2: 2, -3: 3, 4: 4}


@contextlib.asynccontextmanager
async def half_committed(live: Live, engine: Engine) -> AsyncIterator[asyncio.Task[None]]:
    """Commit a transaction that is streamed and stays invisible until `let_go`."""
    local = Live(live.url + LOCAL)

    async def commit() -> None:
        async with await psycopg.AsyncConnection.connect(live.url) as connection:
            await connection.execute("INSERT INTO t VALUES (4, 4)")
            await connection.execute("UPDATE t SET n = 10 WHERE id = 1")
            await connection.execute("UPDATE t SET id = -3 WHERE id = 3")

    async with Client(engine.url) as client, asyncio.TaskGroup() as tasks:
        t = await client.subscribe("t")
        await script(local, "ALTER SYSTEM SET synchronous_standby_names = 'absent_standby'")
        await script(local, "SELECT pg_reload_conf()")
        async with asyncio.timeout(20):
            while await local.execute("SHOW synchronous_standby_names") != [("absent_standby",)]:
                pass
        committing = tasks.create_task(commit())
        await eventually(lambda: 4 in t.rows)  # the stream has it
        assert await local.execute(WAITING) == [(1,)]
        assert await local.execute("SELECT count(*) FROM t WHERE id = 4") == [(0,)]
        yield committing
        await let_go(local)
        await committing
        assert values(t) == {row[0]: row[1] for row in await local.execute("SELECT * FROM t")}


async def let_go(local: Live) -> None:
    await script(local, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")


def values(subscription: tidewire.Subscription) -> dict[int, int]:
    return {key: row["n"] for key, row in subscription.rows.items()}


@in_loop
async def test_a_commit_is_decoded_while_its_backend_still_waits_for_a_synchronous_standby(
    own_server: EmbeddedPostgres,
) -> None:
    live, local = Live(own_server.url), Live(own_server.url + LOCAL)
    await script(live, *TABLE)
    async with live.engine() as engine, contextlib.AsyncExitStack() as stack:
        async with half_committed(live, engine) as committing:
            first = await stack.enter_async_context(Watched(engine.url))
            t = await first.subscribe("t")
            assert values(t) == SEEN, "rows and the commit that the snapshot does not see"
            filtered = await first.subscribe("t", where="id > 0")
            assert values(filtered) == {1: 10, 2: 2, 4: 4}
            second = await stack.enter_async_context(Watched(engine.url))
            assert values(await second.subscribe("t")) == SEEN, "the same copy, read again"
            assert not committing.done()
            await script(local, "UPDATE t SET n = 20 WHERE id = 2")
            await eventually(lambda: values(t)[2] == 20)
            # A copy of its own, whose snapshot sees the later commit and not the earlier one.
            other = await second.subscribe("t", columns=["n"], where="id <> 1000")
            assert values(other) == SEEN | {2: 20}
        third = await stack.enter_async_context(Watched(engine.url))
        seen = await third.subscribe("t", where="id <> 1001")
        await script(local, "UPDATE t SET n = n + 1 WHERE id = 4", "DELETE FROM t WHERE id = 2")
        await compare(local, third, seen)
        await compare(local, first, t, filtered)
        await compare(local, second, other)
        assert values(seen) == {1: 10, -3: 3, 4: 5}
        assert "reset" not in first.kinds + second.kinds + third.kinds


@only_newest_own
@in_loop
async def test_a_commit_leaves_the_log_before_anybody_can_see_it(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, local = Live(own_server.url), Live(own_server.url + LOCAL)
    await script(live, *TABLE)
    async with (
        live.engine() as engine,
        Watched(engine.url) as client,
        asyncio.TaskGroup() as tasks,
    ):
        history, splice = engine.hub.history, engine.hub.splice
        spliced: list[bool] = []

        def note(copy: Copy, snapshot: Snapshot, until: Lsn) -> bool:
            spliced.append(splice(copy, snapshot, until))
            return spliced[-1]

        async with half_committed(live, engine):
            waiting = history.next
            history._bytes_max = 0
            monkeypatch.setattr(engine.hub, "splice", note)
            await script(local, *["UPDATE t SET n = n WHERE id = 2"] * 3)
            await eventually(lambda: history.first >= waiting)
            asking = tasks.create_task(client.subscribe("t", where="id <> 1000"))
            # Every snapshot misses it, and the log does not have it: there can be no copy now.
            await eventually(lambda: len(spliced) >= 3)
            assert not any(spliced)
            assert not asking.done()
            kept = "SELECT confirmed_flush_lsn < %s::pg_lsn FROM pg_replication_slots"
            assert await local.execute(kept, format_lsn(history.floor)) == [(True,)]
        t = await asking
        assert values(t) == SEEN
        await compare(local, client, t)


@only_newest_own
@in_loop
async def test_commits_do_not_wait_for_the_engine_of_an_ordinary_role(
    own_server: EmbeddedPostgres,
) -> None:
    """It is not told that it is a synchronous standby, and has to find out."""
    live, local = Live(own_server.url), Live(own_server.url + LOCAL)
    await script(live, *TABLE, "CREATE ROLE app LOGIN REPLICATION PASSWORD 'app'")
    await script(live, "GRANT CREATE ON DATABASE tidewire TO app", "ALTER TABLE t OWNER TO app")
    ordinary = Live(f"postgresql://app:app@127.0.0.1:{own_server.port}/tidewire")
    async with ordinary.engine() as engine, Client(engine.url) as first:
        await first.subscribe("t")  # so that nothing has to be published while all commits wait
    for names, is_awaited in (("'FIRST 1 (x, *)'", True), ("'\"TideWire\"'", True), ("''", False)):
        await script(local, f"ALTER SYSTEM SET synchronous_standby_names = {names}")
        await script(local, "SELECT pg_reload_conf()")
        async with ordinary.engine() as engine, Watched(engine.url) as client:
            t = await client.subscribe("t")
            assert engine.leader.replication is not None
            assert engine.leader.replication.is_trailing is not is_awaited
            async with asyncio.timeout(5):
                await script(live, "UPDATE t SET n = n + 1")
            await eventually(lambda: engine.hub.history.progress > 0)
            await compare(local, client, t)
