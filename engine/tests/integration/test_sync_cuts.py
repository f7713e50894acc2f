"""Goal: wherever a connection is cut, the client comes back and its rows are those of the table.

Method: a proxy counts the messages of the server. A session is recorded that has everything in it:
copies in chunks, commits and large commits for the stage and for what is live. Then the same is
played again and again, cut behind its first message, its second, and so on.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import (
    Cutter,
    Gate,
    Watched,
    compare,
    cutter,
    make_small,
    only_newest,
    script,
    together,
    wire,
)
from engine.tests.integration.test_sync_copies import TABLES, WHOLE, prepare, write
from tidewire import Shape, limits
from tidewire.core.protocol import frames
from tidewire.definitions import Definitions

pytestmark = [pytest.mark.postgres, only_newest]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(limits, "BACKOFF_LONGEST_S", 0.01)


SESSION = (
    ["INSERT INTO t VALUES (100, 'new')", "DELETE FROM u WHERE id = 1"],
    ["UPDATE t SET id = 101 WHERE id = 100", "UPDATE u SET body = 'x' WHERE id = 2"],
    # More than a part holds.
    [
        "INSERT INTO t SELECT n, repeat('p', 200) FROM generate_series(200, 230) n",
        "UPDATE u SET body = 'y'",
    ],
    ["UPDATE t SET id = -id WHERE id >= 200", "INSERT INTO u VALUES (1, 'back')"],
    ["DELETE FROM t WHERE id < 0 OR id = 101", "UPDATE u SET body = repeat('b', 40)"],
)


async def play(live: Live, proxy: Cutter) -> list[str]:
    """Play the session, which leaves the tables as they were; return what has come."""
    async with Watched(proxy.url) as client, asyncio.TaskGroup() as tasks:
        client.look = lambda: look(client)
        asking = tasks.create_task(client.subscribe_all(Shape("t"), Shape("u", where="id > 0")))
        await together(live, SESSION[0])
        both = await asking
        await compare(live, client, *both)
        for transaction in SESSION[1:]:
            await together(live, transaction)
        await compare(live, client, *both)
        assert sum(each.resets for each in both) == 0, "the log has all of it"
        return client.kinds


def look(client: Watched) -> None:
    t, u = client._following.subscriptions.values()
    assert t.is_live == u.is_live
    if t.is_live:
        bodies = {row["body"] for row in u.rows.values()}
        assert (100 in t.rows) <= (1 not in u.rows), "half a transaction"
        assert len(t.rows) in (20, 21, 52), "half a large transaction"
        assert ("y" in bodies) <= (len(t.rows) == 52), "half a large transaction"


@in_loop
async def test_a_connection_is_cut_behind_every_message_of_a_session(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    await script(live, "CREATE TABLE t (id int PRIMARY KEY, body text)")
    await script(live, "CREATE TABLE u (id int PRIMARY KEY, body text)")
    for table in ("t", "u"):
        fill = f"INSERT INTO {table} SELECT n, repeat('b', 40) FROM generate_series(1, 20) n"
        await script(live, fill)
    async with live.engine() as engine, cutter(engine.url) as proxy:
        kinds = await play(live, proxy)
        assert {"snapshot", "commit", "up_to_date"} <= set(kinds)
        assert kinds.count("commit") > 8, "parts"
        for count in range(1, len(kinds) + 1):
            proxy.budgets = iter([count])
            connections = len(proxy.passed)
            await play(live, proxy)
            assert proxy.passed[connections] == count
            assert len(proxy.passed) == connections + 2, "cut once"


@in_loop
async def test_every_connection_is_cut_while_others_write(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    await prepare(live)
    is_enough, done = asyncio.Event(), list[int]()
    async with live.engine() as engine, cutter(engine.url) as proxy, asyncio.TaskGroup() as tasks:
        writing = [
            tasks.create_task(write(live, random.Random(seed), is_enough, done)) for seed in (1, 2)
        ]
        # Ever longer, so that copies come to an end; then once more from what is live.
        proxy.budgets = budgets = iter([*range(1, 60), *range(5, 30)])
        async with Watched(proxy.url) as client:
            client.look = lambda: look_at_sum(client)
            rows = await client.subscribe_all(*(Shape(table) for table in TABLES), timeout_s=40)
            await used_up(budgets, client)
            is_enough.set()
            await asyncio.wait(writing)
            await compare(live, client, *rows)
            assert client.kinds.count("welcome") > 60


@in_loop
async def test_what_is_asked_for_anew_does_not_overtake_what_goes_on(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Method: the table of the subscription that goes on is looked up last.
    gate, resolve = Gate(), Definitions.resolve

    async def slowly(self: Definitions, request: frames.ShapeRequest) -> object:
        if not request.initial or request.start:
            await gate.enter(request.table)
        return await resolve(self, request)

    monkeypatch.setattr(Definitions, "resolve", slowly)
    await script(live, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    async with live.engine() as engine:
        async with wire(engine.url) as raw:
            await raw.subscribe(table="u", initial=True)
            told = (await raw.subscribe(id="2", table="t", initial=True))[-1]
        await script(live, "INSERT INTO t VALUES (1)")
        place = raw.place(engine.hub.epoch, told)
        async with wire(engine.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **place}])
            await raw.say("subscribe", shapes=[{"id": "2", "table": "u", "initial": False}])
            gate.open("u")
            await eventually(lambda: sorted(gate.arrived) == ["t", "u"])
            await script(live, "INSERT INTO u VALUES (2)")
            await eventually(lambda: engine.hub.history.newest > engine.hub.history.at(0).lsn)
            gate.open("t")
            (first, *_, commit) = await raw.until("commit")
            assert (first["id"], first["mode"]) == ("1", "catchup")
            assert commit["parts"][0]["changes"] == [["i", [1]]]


async def used_up(budgets: Iterator[int], client: Watched) -> None:
    async with asyncio.timeout(30):
        while True:
            client._moved.clear()
            await client._moved.wait()
            if (following := next(budgets, None)) is None:
                return
            budgets = itertools.chain([following], budgets)


def look_at_sum(client: Watched) -> None:
    rows: list[Any] = [*client._following.subscriptions.values()]
    if rows and all(each.is_live for each in rows):
        assert sum(row["amount"] for each in rows for row in each.rows.values()) == WHOLE
