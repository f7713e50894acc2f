"""Goal: who has missed a commit is told so, whoever has read it from the slot instead.

Method: a server is stopped behind a quiet spell, and somebody else reads from its slot.
"""

from __future__ import annotations

import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import only_newest_own, script, wire
from tidewire import limits
from tidewire.embedded import EmbeddedPostgres
from tidewire.engine import Engine

pytestmark = [pytest.mark.postgres, only_newest_own]

STEAL = """
SELECT pg_replication_slot_advance(slot_name, pg_current_wal_insert_lsn())
FROM pg_replication_slots
"""


async def let_look(engine: Engine) -> None:
    """Wait until the guard has looked again."""
    seen = engine.guard.retained
    await eventually(lambda: engine.guard.retained is not seen)


@in_loop
async def test_a_slot_is_read_by_somebody_else_while_a_quiet_server_is_down(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GUARD_S", 0.1)
    monkeypatch.setattr(limits, "HEARTBEAT_BYTES", 1)
    monkeypatch.setattr(limits, "QUIET_BYTES", 1)
    live = Live(own_server.url)
    await script(live, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE other (id int)")
    async with live.engine() as engine, wire(engine.url) as raw:
        await raw.subscribe(table="t")
        await script(live, "INSERT INTO t VALUES (1)")
        await raw.changes()
        told = (await raw.until("up_to_date"))[-1]
        start = raw.place(engine.hub.epoch, told)
        # The slot moves past the last commit with rows, which is remembered.
        engine.hub.history._seconds_max = 0.1
        newest = engine.hub.history.newest
        while engine.leader.confirmed <= newest:
            await script(live, "INSERT INTO other VALUES (1)")
            await let_look(engine)
    await script(live, "INSERT INTO t VALUES (2)", STEAL)
    async with live.engine() as engine, wire(engine.url) as raw:
        await raw.say("subscribe", shapes=[{"id": "1", "table": "t", **start}])
        heard = await raw.until("up_to_date")
        assert ("reset", "lagged") in [(each["type"], each.get("reason")) for each in heard], heard
