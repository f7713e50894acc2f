"""Faults of processes: the server under test, and the embedded database.

The one rule: every fault comes with its end. What was taken down is brought up again before the
next one, so that at the end of a run everything runs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Protocol

from tidelab.env.engine import EngineProcess
from tidelab.env.truth import Truths
from tidelab.errors import EngineError
from tidelab.fleet.recorder import Recorder
from tidelab.limits import POSTGRES_STOP_S

PROCESS_FAULTS = ("kill", "stop", "freeze", "pg-kill", "pg-stop", "blackout")
FAST_STOP = "a fast stop of PostgreSQL with live clients ends in time"
CLEAN_STOP = "a server that is asked to stop ends with exit code 0"


class Postgres(Protocol):
    """What is needed of an embedded database."""

    @property
    def is_running(self) -> bool:
        """Tell whether it runs."""
        ...

    @property
    def pid(self) -> int:
        """Return the process id of the postmaster."""
        ...

    def start(self) -> None:
        """Start it on the same data and port."""
        ...

    def kill(self) -> None:
        """Kill it and all its children."""
        ...


class Processes:
    """Take the server and the database down, and bring them up again."""

    def __init__(
        self, engine: EngineProcess, postgres: Postgres, truths: Truths, recorder: Recorder
    ) -> None:
        self._engine = engine
        self._postgres = postgres
        self._truths = truths
        self._recorder = recorder

    async def inflict(self, fault: str, down_s: float) -> None:
        """Inflict one fault, wait, and heal it; raises EngineError if the server stays away."""
        with self._recorder.operation("chaos", fault, f"for {down_s:g} s"):
            match fault:
                case "kill":
                    await self._engine.end(signal.SIGKILL)
                    await asyncio.sleep(down_s)
                    await self._engine.start()
                case "stop":
                    await self._stop_engine()
                    await asyncio.sleep(down_s)
                    await self._engine.start()
                case "freeze":
                    await self._freeze(down_s)
                case "pg-kill" | "pg-stop":
                    await self._restart_postgres(down_s, is_fast=fault == "pg-stop")
                    await self._engine.wait_ready()
                case "blackout":
                    await self._engine.end(signal.SIGKILL)
                    await self._restart_postgres(down_s, is_fast=False)
                    await self._engine.start()
                case _:
                    raise AssertionError(f"unknown fault {fault}")

    async def _stop_engine(self) -> None:
        code = await self._engine.end(signal.SIGTERM)
        self._recorder.meet(CLEAN_STOP, holds=code == 0, detail=f"exit code {code}")

    async def _freeze(self, frozen_s: float) -> None:
        self._engine.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(frozen_s)
        finally:
            self._engine.send(signal.SIGCONT)
        await self._engine.wait_ready()

    async def _restart_postgres(self, down_s: float, *, is_fast: bool) -> None:
        async with self._truths.paused():
            if is_fast:
                took_s = await asyncio.to_thread(self._stop_postgres)
                in_time, detail = not self._postgres.is_running, f"after {took_s:.1f} s"
                self._recorder.meet(FAST_STOP, holds=in_time, detail=detail)
            await asyncio.to_thread(self._postgres.kill)
            await asyncio.sleep(down_s)
            await asyncio.to_thread(self._postgres.start)

    def _stop_postgres(self) -> float:
        """Ask for a fast stop, as `pg_ctl stop -m fast` does; who hangs is killed by the caller."""
        begin = time.monotonic()
        os.kill(self._postgres.pid, signal.SIGINT)
        while self._postgres.is_running and time.monotonic() - begin < POSTGRES_STOP_S:
            time.sleep(0.02)  # why: the poll of a condition, under a deadline, in a thread
        return time.monotonic() - begin

    async def heal(self) -> None:
        """Bring up whatever is down."""
        if not self._postgres.is_running:
            await asyncio.to_thread(self._postgres.start)
        if not self._engine.is_running:
            raise EngineError("the server ended by itself; its log is engine.log in the run folder")
        await self._engine.wait_ready()
