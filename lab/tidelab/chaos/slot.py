"""A thief: somebody else reads from the server's slot, or drops it.

The one rule: the server cannot be there while that happens, as in the world: a slot in use cannot
be read or dropped. So it is frozen or down, its walsender is ended, and then the thief has time.
"""

from __future__ import annotations

import asyncio
import signal
from random import Random

from tidelab import limits
from tidelab.chaos.database import Connection, connect
from tidelab.core.check.founded import STEAL, Theft
from tidelab.env.engine import EngineProcess
from tidelab.errors import DatabaseError
from tidelab.fleet.recorder import Recorder

SLOT_FAULTS = (STEAL,)

_SLOT = """
SELECT slot_name::text, active_pid FROM pg_replication_slots
WHERE NOT starts_with(slot_name::text, 'tidelab_')
"""
_PUBLICATION = "SELECT pubname::text FROM pg_publication WHERE NOT starts_with(pubname, 'tidelab_')"
_READ = """
SELECT count(*) FROM pg_logical_slot_get_binary_changes(
    %s, NULL, NULL, 'proto_version', '1', 'publication_names', %s)
"""


class Thief:
    """Take from the slot what the server has not read, or the slot itself."""

    def __init__(self, url: str, engine: EngineProcess, recorder: Recorder, *, seed: int) -> None:
        self._url, self._engine, self._recorder = url, engine, recorder
        self._random = Random(f"{seed} thief")  # noqa: S311 -- repeatable, not secret

    async def inflict(self, fault: str, down_s: float) -> None:
        """Steal once, what has been written meanwhile; it ends when the server has found out."""
        theft = self._random.choice(list(Theft))
        away_s = max(down_s, limits.HELD_AT_LEAST_S)
        async with await connect(self._url) as connection:
            with self._recorder.operation("chaos", fault, theft.value):
                if theft is Theft.READ_WHILE_DOWN:
                    await self._engine.end(signal.SIGKILL)
                    await asyncio.sleep(away_s)
                    await self._steal(connection, theft)
                    await self._engine.start()
                    return
                before = await self._engine.wait_status("epoch", bool)
                self._engine.send(signal.SIGSTOP)
                try:
                    await asyncio.sleep(away_s)
                    await self._steal(connection, theft)
                finally:
                    self._engine.send(signal.SIGCONT)
                await self._engine.wait_status("epoch", lambda now: now not in (None, before))
                await self._engine.wait_ready()

    async def _steal(self, connection: Connection, theft: Theft) -> None:
        # There is something to take, whoever writes beside us.
        await connection.execute("SELECT pg_logical_emit_message(true, 'thief', 'here')")
        async with asyncio.timeout(limits.BULK_TIMEOUT_S):
            slot = await self._free_slot(connection)
            if theft is Theft.DROP:
                await connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
                return
            cursor = await connection.execute(_PUBLICATION)
            row = await cursor.fetchone()
            assert row is not None, "a server that streams has a publication"
            await connection.execute(_READ, [slot, row[0]])

    async def _free_slot(self, connection: Connection) -> str:
        """Return the name of the server's slot once nobody uses it any more."""
        while True:
            cursor = await connection.execute(_SLOT)
            row = await cursor.fetchone()
            if row is None:
                raise DatabaseError("there is no slot to steal from")
            if row[1] is None:
                return str(row[0])
            await connection.execute("SELECT pg_terminate_backend(%s)", [row[1]])
            await asyncio.sleep(limits.ENGINE_POLL_S)
