"""Goal: what may not be read is told to nobody, nobody goes on in error, few questions are asked.

Method: the engine's role owns its tables and nothing else; an administrator takes away what it may
do, and clients come and go meanwhile.
"""

from __future__ import annotations

import asyncio

import pytest

from engine.tests.integration.altering import POLL_S, scene
from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import as_role, only_newest, script, wire
from tidewire import Client, Shape, limits
from tidewire.core.shape.definition import Definition
from tidewire.postgres.catalog import Catalog

pytestmark = [pytest.mark.postgres, only_newest]
RIGHTS = {
    "row-level security is switched on": (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "unsupported_table: ALTER ROLE ... BYPASSRLS",
    ),
    "the table may not be read any more": ("REVOKE SELECT ON t FROM ROLE", "unknown_table"),
    "the schema may not be used any more": (
        "REVOKE USAGE ON SCHEMA public FROM public",
        "unknown_table",
    ),
}
TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, n int)",
    "INSERT INTO t SELECT n, n FROM generate_series(1, 20) n",
)
# What comes for a client that goes on from its cursor, each kind of message once.
BEGINS_ANEW = ["subscribed", "reset", "snapshot", "up_to_date"]
AWAY = {
    "values are rewritten": ("ALTER TABLE t ALTER n TYPE int USING -n", BEGINS_ANEW),
    "a column is made again": ("ALTER TABLE t DROP n, ADD n int DEFAULT 3", BEGINS_ANEW),
    "the rows are packed": ("VACUUM FULL t", ["subscribed", "up_to_date"]),
    "it leaves the publication and comes back": (
        "ALTER PUBLICATION tidewire_default DROP TABLE t",
        BEGINS_ANEW,
    ),
}


@pytest.mark.parametrize("event", RIGHTS)
@pytest.mark.usefixtures("quick_poll")
@in_loop
async def test_the_server_may_not_read_all_rows_any_more(live: Live, event: str) -> None:
    statement, told = RIGHTS[event]
    async with as_role(live, "GRANT CREATE ON SCHEMA public TO ROLE") as ordinary:
        role = ordinary.url.split("//")[1].split(":")[0]
        async with scene(ordinary, *TABLE) as made:
            await made.follow(whole=Shape("t"), some=Shape("t", where="id > 5"))
            u = made.shapes.pop("u")
            await script(live, statement.replace("ROLE", role))
            for subscription in (made.shapes["whole"], made.shapes["some"]):
                code, _, text = told.partition(": ")
                await eventually(lambda its=subscription: its.error)  # type: ignore[misc]
                assert f"{code}:" in str(subscription.error)
                assert text in str(subscription.error)
            if "SCHEMA" not in statement:
                assert u.is_live
                assert u.resets == 0


@pytest.mark.parametrize("others_stay", [True, False])
@pytest.mark.parametrize("event", AWAY)
@pytest.mark.usefixtures("quick_poll")
@in_loop
async def test_a_table_is_altered_while_a_client_is_away(
    live: Live, event: str, others_stay: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back with its cursor; without others the catalog was not read meanwhile."""
    statement, kinds = AWAY[event]
    monkeypatch.setattr(limits, "COPY_KEEP_S", 0)
    async with scene(live, *TABLE) as made:
        oid = (await live.execute("SELECT 't'::regclass::int"))[0][0]
        async with wire(made.client.url) as raw:
            told = (await raw.subscribe(table="t"))[-1]
        if others_stay:
            await eventually(lambda: oid not in made.engine.hub.index.tables)
        else:
            await made.client.unsubscribe(*made.shapes.values())
            await eventually(lambda: not made.engine._definitions._fresh)
        await script(live, statement)
        if others_stay:
            await made.look()
        place = raw.place(made.engine.hub.epoch, told)
        async with wire(made.client.url) as raw:
            await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **place}])
            found = await raw.until("up_to_date")
            while not found[-1].get("live") and "reset" in kinds:
                found += await raw.until("up_to_date")
        assert list(dict.fromkeys(message["type"] for message in found)) == kinds


def count_readings(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return a list that gets the tables of each reading of the catalog."""
    readings: list[list[int]] = []
    original = Catalog.definitions

    async def definitions(self: Catalog, oids: list[int]) -> dict[int, Definition]:
        readings.append(oids)
        return await original(self, oids)

    monkeypatch.setattr(Catalog, "definitions", definitions)
    return readings


@in_loop
async def test_many_come_to_a_table_together_and_share_a_look(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = count_readings(monkeypatch)
    monkeypatch.setattr(limits, "SCHEMA_POLL_S", 1_000)
    await script(live, *TABLE)
    async with live.engine() as engine, Client(engine.url) as client:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(client.subscribe("t"))
        # Who comes while the first one's table is looked up shares the next look, all of them.
        assert len(readings) <= 2


@in_loop
async def test_nobody_follows_a_table_and_the_catalog_is_left_alone(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = count_readings(monkeypatch)
    monkeypatch.setattr(limits, "SCHEMA_POLL_S", POLL_S)
    monkeypatch.setattr(limits, "COPY_KEEP_S", 0)
    await script(live, *TABLE)
    async with live.engine() as engine:
        async with Client(engine.url) as client:
            await client.subscribe("t")
            before = len(readings)
            await eventually(lambda: len(readings) > before + 2)
        await eventually(lambda: not engine.hub.index.tables)
        await asyncio.sleep(POLL_S)  # why: the reading that was under way ends
        before = len(readings)
        await asyncio.sleep(10 * POLL_S)  # why: nothing tells that nothing happens
        assert len(readings) == before
