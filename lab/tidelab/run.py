"""Run the system under test under load and faults, and judge what its clients were told.

The one rule: this is the composition root, the only place where fleet, chaos, load and truth meet.

::

    start     embedded PostgreSQL, tables, oracle, server, fleet
    load      writers write, clients come and go, processes die
    quiesce   writers end, faults end, everything runs; a fence; clients have a stated time for it
    judge     every checker, over the whole history
    end       clients, server, slot, PostgreSQL: in this order, whatever happened before
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

from tidelab.chaos.faults import enemies
from tidelab.chaos.nemesis import Nemesis
from tidelab.chaos.process import Processes
from tidelab.chaos.server import bounds_for, settings_for
from tidelab.core.check.checker import Report, examine
from tidelab.core.check.founded import unfounded
from tidelab.core.check.registry import checkers_for
from tidelab.core.history.event import Received, Settled
from tidelab.core.history.history import History, Journal
from tidelab.driver.tidewire import TidewireDriver
from tidelab.env import postgres
from tidelab.env.engine import EngineProcess
from tidelab.env.truth import ReturningReader, Truths
from tidelab.errors import DatabaseError, EngineError
from tidelab.fleet.client import ACCEPTED, WIRE
from tidelab.fleet.fleet import Fleet
from tidelab.fleet.recorder import Recorder
from tidelab.limits import (
    ENGINE_START_S,
    FENCE_TIMEOUT_S,
    LAST_WRITES_S,
    LOG_KEPT_S,
    SETTLE_TIMEOUT_S,
    WAL_BYTES_KEPT,
)
from tidelab.plan import Plan
from tidelab.store.run import RunFolder
from tidelab.workload.shapes import make_shape
from tidelab.workload.tables import KINDS
from tidelab.workload.writer import Writer, make_tables, push_fence

ENGINE_LOG = "engine.log"
SUMMARY = "summary.json"
STAYED_UP = "the server runs, and comes back when it is started"
CONTINUED = "who comes back goes on: nobody is reset while the log is kept"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found, and where it is written down."""

    plan: Plan
    folder: Path
    history: History
    report: Report
    seconds: float
    judging_s: float

    def document(self) -> dict[str, object]:
        """Return the summary as JSON has it."""
        return {
            "run": self.folder.name,
            "answer": self.report.answer,
            "plan": msgspec.to_builtins(self.plan),
            "again": self.plan.command(),
            "records": len(self.history.records),
            "commits_received": sum(1 for _ in self.history.events(Received)),
            "seconds": round(self.seconds, 2),
            "judging_s": round(self.judging_s, 2),
            "verdicts": {v.checker: v.answer for v in self.report.verdicts},
            "violations": [
                f"{verdict.checker}: {violation.text}"
                for verdict in self.report.verdicts
                for violation in verdict.violations[:2]
            ],
        }


@dataclass(slots=True)
class Parts:
    """Everything that a run has started."""

    url: str
    recorder: Recorder
    truths: Truths
    engine: EngineProcess
    processes: Processes
    fleet: Fleet
    writers: list[Writer]
    nemesis: Nemesis
    over: asyncio.Event


def run(plan: Plan, runs: Path, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Run a plan from beginning to end; `tell` hears how far it is.

    Raises LabError if the run could not be carried out: then nothing was judged.
    """
    run_id = f"s{plan.seed}_{secrets.token_hex(3)}"
    journal_begin = time.monotonic()
    with RunFolder(runs, run_id) as folder:
        journal = Journal([folder.write])
        asyncio.run(_run(plan, run_id, folder.path, Recorder(journal), tell))
        ran_s = time.monotonic() - journal_begin
        tell("judging")
        history = journal.history
        report = examine(history, checkers_for(history))
        judged_s = time.monotonic() - journal_begin - ran_s
        outcome = Outcome(plan, folder.path, history, report, ran_s, judged_s)
        summary = msgspec.json.format(msgspec.json.encode(outcome.document()), indent=2)
        (folder.path / SUMMARY).write_bytes(summary + b"\n")
        return outcome


async def _run(
    plan: Plan, run_id: str, folder: Path, recorder: Recorder, tell: Callable[[str], None]
) -> None:
    for name in (WIRE, ACCEPTED, STAYED_UP, *([CONTINUED] if _fits_the_log(plan) else [])):
        recorder.declare_always(name)
    tell("starting PostgreSQL and the server")
    async with _started(plan, run_id, folder, recorder) as parts, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(work)
            for work in (parts.fleet.run(), parts.truths.follow(), _tell_progress(parts, tell))
        ]
        try:
            await _load(plan, parts)
            tasks.pop().cancel()
            tell("settling")
            await _quiesce(parts, settle_s=SETTLE_TIMEOUT_S + plan.patience_s)
        except EngineError as error:
            # That is a verdict and no trouble of the lab: what was recorded is judged.
            recorder.meet(STAYED_UP, holds=False, detail=str(error))
            with contextlib.suppress(DatabaseError):
                # Without it clients would seem to be told of rows that never were.
                await parts.truths.fence(await parts.truths.position())
        for task in tasks:
            task.cancel()
    if _fits_the_log(plan):
        _judge_resets(plan, recorder)


def _fits_the_log(plan: Plan) -> bool:
    """Tell whether all of a run lies within the log that the server promises to keep."""
    return plan.seconds <= LOG_KEPT_S


def _judge_resets(plan: Plan, recorder: Recorder) -> None:
    """Ask whether every reset had a reason."""
    kept_bytes = WAL_BYTES_KEPT if settings_for(plan.faults) else None
    resets = unfounded(recorder.journal.history, kept_bytes=kept_bytes)
    told = [f"#{record.seq} {record.process}: {reset.reason}" for record, reset in resets]
    recorder.meet(CONTINUED, holds=not told, detail="; ".join(told[:5]))


@asynccontextmanager
async def _started(
    plan: Plan, run_id: str, folder: Path, recorder: Recorder
) -> AsyncIterator[Parts]:
    """Start everything; end it in the opposite order."""
    async with AsyncExitStack() as stack:
        server = postgres.embedded(_settings(plan))
        stack.callback(server.stop)
        await asyncio.to_thread(server.start)
        await make_tables(server.url)
        reader = ReturningReader(server.url, run_id, [kind.name for kind in KINDS])
        truths = Truths(
            reader,
            lambda truth: recorder.record("oracle", truth),
            fence_s=FENCE_TIMEOUT_S + plan.patience_s,
        )
        baseline = await truths.open()
        stack.push_async_callback(truths.close)
        engine = _engine(plan, server.url, folder)
        stack.push_async_callback(engine.close)
        await engine.start()
        tables = {each.table.name: each.table for each in baseline.tables}
        fleet = Fleet(
            TidewireDriver(engine.authority),
            tables,
            recorder,
            make_shape,
            seed=plan.seed,
            count=plan.clients,
            faults=plan.faults,
        )
        processes = Processes(engine, server, truths, recorder)
        over, writing = asyncio.Event(), asyncio.Event()
        writing.set()
        writers = _writers(plan, server.url, recorder, over, writing)
        faults = enemies(
            plan.faults,
            server.url,
            engine,
            processes,
            fleet,
            writing,
            recorder,
            seed=plan.seed,
            big_rows=plan.big_rows,
        )
        nemesis = Nemesis(faults, seed=plan.seed)
        yield Parts(server.url, recorder, truths, engine, processes, fleet, writers, nemesis, over)


def _engine(plan: Plan, url: str, folder: Path) -> EngineProcess:
    return EngineProcess(
        url,
        folder / ENGINE_LOG,
        settings=settings_for(plan.faults),
        bounds=bounds_for(plan.faults),
        start_s=ENGINE_START_S + plan.patience_s,
    )


def _writers(
    plan: Plan, url: str, recorder: Recorder, over: asyncio.Event, writing: asyncio.Event
) -> list[Writer]:
    return [
        Writer(
            number,
            url,
            recorder,
            seed=plan.seed,
            may_go_on=lambda: not over.is_set(),
            writing=writing,
        )
        for number in range(1, plan.writers + 1)
    ]


def _settings(plan: Plan) -> dict[str, str]:
    """Draw how commits get to the disk.

    Without fsync they are quick, and durable enough against the death of processes. With a delay a
    commit is written and not yet visible for a long time: there snapshots and stream meet.
    """
    if Random(f"{plan.seed} settings").random() < 0.4:  # noqa: S311 -- repeatable, not secret
        return {"fsync": "off"}
    return {"commit_delay": "10000", "commit_siblings": "0"}


async def _load(plan: Plan, parts: Parts) -> None:
    """Write and break things until the plan's end; what is written last, is written in peace.

    Raises EngineError if the server does not come back.
    """
    peace, failures = asyncio.Event(), list[EngineError]()

    async def inflict() -> None:
        try:
            await parts.nemesis.run(peace)
        except EngineError as error:
            failures.append(error)
            peace.set()

    async with asyncio.TaskGroup() as group:
        for writer in parts.writers:
            group.create_task(writer.run(), name=writer.name)
        chaos = group.create_task(inflict())
        await _extent(plan, parts, peace)
        peace.set()
        await asyncio.wait([chaos])
        if parts.nemesis.inflicted:
            await asyncio.sleep(LAST_WRITES_S)
        parts.over.set()
    if failures:
        raise failures[0]


async def _extent(plan: Plan, parts: Parts, peace: asyncio.Event) -> None:
    """Return when the plan's time is over, its transactions are written, or peace has come."""
    end = asyncio.get_running_loop().time() + plan.seconds
    while asyncio.get_running_loop().time() < end and not peace.is_set():
        written = sum(writer.written for writer in parts.writers)
        if plan.transactions is not None and written >= plan.transactions:
            return
        await asyncio.sleep(0.05)


async def _quiesce(parts: Parts, *, settle_s: float) -> None:
    """Heal, fence, and give every client its time to get there."""
    with parts.recorder.operation("run", "quiesce", f"deadline {settle_s:g} s") as operation:
        await parts.processes.heal()
        parts.recorder.meet(STAYED_UP)
        goal = await parts.truths.position()
        await push_fence(parts.url)
        await parts.truths.fence(goal)
        late = await parts.fleet.settle(goal, timeout_s=settle_s)
        operation.succeed(goal)
    reasons = "; ".join(f"{client.name}: {client.explain()}" for client in late)
    parts.recorder.meet(ACCEPTED, holds=not late, detail=reasons)
    parts.recorder.meet(WIRE)
    parts.recorder.record("run", Settled(goal))
    # Clients were told of positions beyond the goal, too: the oracle has to know them.
    last = await parts.truths.position()
    await push_fence(parts.url)
    await parts.truths.fence(last)


async def _tell_progress(parts: Parts, tell: Callable[[str], None]) -> None:
    while True:
        written = sum(writer.written for writer in parts.writers)
        commits = sum(client.commits for client in parts.fleet.clients)
        connected = sum(client.is_connected for client in parts.fleet.clients)
        tell(
            f"{written} transactions, {commits} commits received, {connected} clients connected, "
            f"{parts.nemesis.inflicted} faults inflicted"
        )
        await asyncio.sleep(0.25)
