"""A fault of the server's disk: for a while its spool takes next to nothing.

The one rule: it is the kernel that refuses. A bound on the size of files (RLIMIT_FSIZE) does it to
one process, needs neither root nor a file system of its own, and ends a write as a full disk does.
"""

from __future__ import annotations

import asyncio
from random import Random

from tidelab.chaos.database import Database
from tidelab.env.engine import EngineProcess
from tidelab.fleet.fleet import Fleet
from tidelab.fleet.recorder import Recorder

DISK_FAULTS = ("spool-full",)

_ROOMS = (64 * 1024, 1024 * 1024)  # bytes of one file: the server's own log still fits
_ROWS, _ROW_BYTES = 6000, 1900  # more than the 8 MiB of a transaction that stays in memory


class Disk:
    """Fill the spool of the server while something comes that needs it."""

    def __init__(
        self,
        engine: EngineProcess,
        database: Database,
        fleet: Fleet,
        recorder: Recorder,
        *,
        seed: int,
    ) -> None:
        self._engine, self._database, self._fleet = engine, database, fleet
        self._recorder = recorder
        self._random = Random(f"{seed} disk")  # noqa: S311 -- repeatable, not secret

    async def inflict(self, fault: str, down_s: float) -> None:
        """Fill it, send a large transaction and ask for copies, wait, and make room again."""
        room = self._random.choice(_ROOMS)
        with self._recorder.operation("chaos", fault, f"for {down_s:g} s, files of {room} bytes"):
            self._engine.limit_files(room)
            try:
                self._fleet.stir()
                async with self._database.bulk(_ROWS, row_bytes=_ROW_BYTES):
                    await asyncio.sleep(down_s)
            finally:
                self._engine.limit_files(None)
            await self._engine.wait_ready()
