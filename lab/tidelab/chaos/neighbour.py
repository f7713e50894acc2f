"""A loud neighbour: much write-ahead log by tables that nobody follows, and by another database.

The one rule: the neighbour is quick, and still waits for the server to let go of its log. So the
slot is never dropped for a reason that a slow machine gives, and a server that does not let go is
told apart from one that has no time to.
"""

from __future__ import annotations

import asyncio
from random import Random

from psycopg import sql

from tidelab import limits
from tidelab.chaos.database import Connection, connect
from tidelab.chaos.lull import Lull
from tidelab.fleet.recorder import Recorder

NEIGHBOUR_FAULTS = ("neighbour",)
LETS_GO = "the log that others write is let go of"

_SEGMENTS = (4, 12, 24)  # of 16 MiB: from well below half of the bound to more than all of it
_NAME = "neighbour"
_KEPT = """
SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)), 0)::bigint
FROM pg_replication_slots WHERE NOT starts_with(slot_name::text, 'tidelab_')
"""


class Neighbour:
    """Fill segments of log; switching to the next costs no time, and counts as if it were full."""

    def __init__(self, url: str, lull: Lull, recorder: Recorder, *, seed: int) -> None:
        self._url, self._lull, self._recorder = url, lull, recorder
        self._random = Random(f"{seed} neighbour")  # noqa: S311 -- repeatable, not secret
        self._has_moved_in = False

    async def inflict(self, fault: str, down_s: float) -> None:
        """Write segment after segment, in one database and in the other."""
        clients_go, writers_go = self._random.random() < 0.4, self._random.random() < 0.4
        detail = f"for {down_s:g} s" + ", no clients" * clients_go + ", no writers" * writers_go
        async with await connect(self._url) as here, await self._move_in(here) as there:
            with self._recorder.operation("chaos", fault, detail):
                async with self._lull.without(clients=clients_go, writers=writers_go):
                    await self._fill([here, there], down_s)
                lets_go = await self._has_room(here, limits.WAL_BYTES // 2)
                self._recorder.meet(LETS_GO, holds=lets_go, detail="half of the bound, at the end")

    async def _move_in(self, here: Connection) -> Connection:
        if not self._has_moved_in:
            await here.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_NAME)))
            self._has_moved_in = True
        there = await connect(self._url.rpartition("/")[0] + "/" + _NAME)
        for connection in (here, there):
            await connection.execute("CREATE TABLE IF NOT EXISTS loud (n int)")
        return there

    async def _fill(self, connections: list[Connection], down_s: float) -> None:
        count = self._random.choice(_SEGMENTS)
        for number in range(1, count + 1):
            connection = self._random.choice(connections)
            await connection.execute("INSERT INTO loud VALUES (1)")
            await connection.execute("SELECT pg_switch_wal()")
            if not await self._has_room(connections[0], limits.WAL_BYTES * 3 // 4):
                self._recorder.meet(LETS_GO, holds=False, detail=f"after {number} segments")
                return
            await asyncio.sleep(down_s / count)

    async def _has_room(self, connection: Connection, bytes_max: int) -> bool:
        """Wait until no more log than that is kept; tell whether that came about in time."""
        try:
            async with asyncio.timeout(limits.LET_GO_S):
                while True:
                    if await _kept(connection) < bytes_max:
                        return True
                    await asyncio.sleep(limits.ENGINE_POLL_S)
        except TimeoutError:
            return False


async def _kept(connection: Connection) -> int:
    """Return how much log the server's slot keeps."""
    cursor = await connection.execute(_KEPT)
    row = await cursor.fetchone()
    assert row is not None
    return int(str(row[0]))
