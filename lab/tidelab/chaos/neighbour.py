"""A loud neighbour: much write-ahead log by tables that nobody follows, and by another database.

The one rule: it writes no more before the server has seen what it wrote, and has looked again. So
a machine that is slow is no reason to give the slot up, and a server that lets it grow to its bound
is at fault.
"""

from __future__ import annotations

import asyncio
import operator
from functools import partial
from random import Random

from psycopg import sql

from tidelab import limits
from tidelab.chaos.database import Connection, connect
from tidelab.chaos.lull import Lull
from tidelab.env.engine import EngineProcess
from tidelab.fleet.recorder import Recorder

NEIGHBOUR_FAULTS = ("neighbour",)
BOUNDED = "the log that a server makes PostgreSQL keep stays below its bound"

_SEGMENTS = (4, 10, 18)  # of 16 MiB: from well below half of the bound to more than all of it
_NAME = "neighbour"
_KEPT = """
SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)), 0)::bigint
FROM pg_replication_slots WHERE NOT starts_with(slot_name::text, 'tidelab_')
"""


class Neighbour:
    """Fill segments of log; switching to the next costs no time, and counts as if it were full."""

    def __init__(
        self, url: str, engine: EngineProcess, lull: Lull, recorder: Recorder, *, seed: int
    ) -> None:
        self._url, self._engine, self._lull, self._recorder = url, engine, lull, recorder
        self._random = Random(f"{seed} neighbour")  # noqa: S311 -- repeatable, not secret
        self._has_moved_in = False

    async def inflict(self, fault: str, down_s: float) -> None:
        """Write segment after segment, in one database and in the other."""
        clients_go, writers_go = self._random.random() < 0.4, self._random.random() < 0.4
        detail = f"for {down_s:g} s" + ", no clients" * clients_go + ", no writers" * writers_go
        async with await connect(self._url) as here, await self._move_in(here) as there:
            with self._recorder.operation("chaos", fault, detail):
                async with self._lull.without(clients=clients_go, writers=writers_go):
                    await self._fill(here, there, down_s)
                await self._engine.wait_ready()

    async def _move_in(self, here: Connection) -> Connection:
        if not self._has_moved_in:
            await here.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_NAME)))
            self._has_moved_in = True
        there = await connect(self._url.rpartition("/")[0] + "/" + _NAME)
        for connection in (here, there):
            await connection.execute("CREATE TABLE IF NOT EXISTS loud (n int)")
        return there

    async def _fill(self, here: Connection, there: Connection, down_s: float) -> None:
        count = self._random.choice(_SEGMENTS)
        most = 0
        for _ in range(count):
            connection = self._random.choice((here, there))
            await connection.execute("INSERT INTO loud VALUES (1)")
            await connection.execute("SELECT pg_switch_wal()")
            most = max(most, await _kept(here))
            await self._be_seen(connection)
            await self._be_seen(connection)
            await asyncio.sleep(down_s / count)
        detail = f"{most >> 20} MiB were kept"
        self._recorder.meet(BOUNDED, holds=most < limits.WAL_BYTES, detail=detail)

    async def _be_seen(self, connection: Connection) -> None:
        """Wait until the server has measured its log again, as it does all the time."""
        seen = await self._engine.wait_status("retained_bytes", bool)
        await connection.execute("INSERT INTO loud VALUES (2)")  # or there is nothing new to see
        await self._engine.wait_status("retained_bytes", partial(operator.ne, seen))


async def _kept(connection: Connection) -> int:
    """Return how much log the server's slot keeps."""
    cursor = await connection.execute(_KEPT)
    row = await cursor.fetchone()
    assert row is not None
    return int(str(row[0]))
