"""How long from COMMIT to the client, against a bare reader of the replication stream?

The whole engine on an embedded PostgreSQL and 100 light WebSocket clients, in two cases:

- `latency_all`: 100 commits a second, each goes to all 100 clients (one table);
- `latency_one`: 1 000 commits a second, each goes to one of them (a table for each client).

The baseline is a blocking CopyBoth loop around libpq with a slot of its own, which notes when the
Commit message comes. Both take turns on tables that only they follow, so neither has the other's
work to do; server, writer, clients and reader are processes of their own.

What is timed, by CLOCK_MONOTONIC: from just before COMMIT is sent to the return of the recv() that
brings the end of the row. `value` is the median of the p50 of all rounds, in ms; less is better.
`synchronous_commit` is on, so a commit is shipped when the disk has its WAL. That time is the same
for both sides and brings their ratio nearer to 1: `added_p50` and `added_p99` (ours less the
baseline's, in ms) do not depend on it, and `--no-fsync` takes it away.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.measure import (
    Figure,
    Helper,
    conclude,
    has_uvloop,
    options,
    percentile,
    python,
    rounded,
    take_turns,
    tell,
)
from tidewire.embedded import EmbeddedPostgres

CLIENTS = 100
SLOT = PUBLICATION = "bare"
SETTLED_S = 0.2


@dataclass(frozen=True, slots=True)
class Case:
    """Who gets what, and how often."""

    name: str
    table: str
    tables: int
    per_s: int
    deliveries: int
    """Of each commit."""


CASES = (
    Case("latency_all", "shared", 1, 100, CLIENTS),
    Case("latency_one", "own", CLIENTS, 1_000, 1),
)


@dataclass(frozen=True, slots=True)
class Round:
    """Percentiles of one round, in ms: from before COMMIT, and from its return.

    `first` and `last` are the medians of the first and the last client that a commit reaches.
    """

    p50: float
    p99: float
    first: float
    last: float
    returned_p50: float
    returned_p99: float
    per_s: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f} p99 {self.p99:.2f} ms"


@dataclass(frozen=True, slots=True)
class Stage:
    """The processes that play together."""

    writer: Helper
    reader: Helper
    listeners: Helper
    seconds: float

    def write(self, table: str, tables: int, per_s: int) -> list[list[int]]:
        """Commit for the length of a round."""
        self.reader.ask("report")
        self.listeners.ask("report")
        answer = self.writer.ask(f"{table} {tables} {per_s} {self.seconds}")
        time.sleep(SETTLED_S)
        stamps: list[list[int]] = json.loads(answer)
        return stamps


def main() -> None:
    parser = options(__doc__, seconds=2.5, repeat=3)
    parser.add_argument("--no-fsync", action="store_true", help="do not wait for the disk")
    arguments = parser.parse_args()
    settings = {"fsync": "off" if arguments.no_fsync else "on", "synchronous_commit": "on"}
    with EmbeddedPostgres(settings=settings) as server:
        prepare(server.url)
        with (
            python("engine", server.url) as engine,
            python("writer", server.url) as writer,
            python("reader", server.url, SLOT, PUBLICATION) as reader,
            python("listeners", engine.read(), str(CLIENTS)) as listeners,
        ):
            reader.read()
            stage = Stage(writer, reader, listeners, arguments.seconds)
            figures = [measure(stage, case, arguments.repeat) for case in CASES]
    for figure in figures:
        figure.extra["fsync"] = settings["fsync"]
    conclude(figures)


def prepare(url: str) -> None:
    """Make the tables of all cases, and publication and slot of the baseline."""
    with psycopg.connect(url, autocommit=True) as connection:
        names = [f"{prefix}_{i}" for prefix in ("own", "bare") for i in range(CLIENTS)]
        for name in ["shared_0", *names]:
            connection.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, body text)".encode())
        bare = ", ".join(name for name in names if name.startswith("bare"))
        connection.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE {bare}".encode())
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [SLOT])


def measure(stage: Stage, case: Case, repeat: int) -> Figure:
    tell(f"{case.name}: {CLIENTS} clients subscribe, {case.per_s} commits/s")
    stage.listeners.ask(f"join {case.table} {case.tables}")
    subject = functools.partial(our_round, stage, case)
    baseline = functools.partial(bare_round, stage, case)
    for warm_up in (baseline, subject):
        warm_up()
    subjects, baselines = take_turns(repeat, case.name, subject, baseline)
    stage.listeners.ask("leave")
    ours, bare = summary(subjects), summary(baselines)
    return Figure(
        case.name,
        ours["p50"],
        "ms",
        bare["p50"],
        "<= 3",
        {
            "p50": rounded(ours["p50"]),
            "p99": rounded(ours["p99"]),
            "ratio_p99": rounded(ours["p99"] / bare["p99"]),
            "added_p50": rounded(ours["p50"] - bare["p50"]),
            "added_p99": rounded(ours["p99"] - bare["p99"]),
            "subject": {key: rounded(number) for key, number in ours.items()},
            "against": {key: rounded(number) for key, number in bare.items()},
            "rounds": [str(each) for each in subjects],
            "clients": CLIENTS,
            "uvloop": has_uvloop(),
        },
    )


def our_round(stage: Stage, case: Case) -> Round:
    stamps = stage.write(case.table, case.tables, case.per_s)
    arrivals = collect(stage.listeners, len(stamps) * case.deliveries)
    return judge(stamps, arrivals)


def bare_round(stage: Stage, case: Case) -> Round:
    stamps = stage.write("bare", case.tables, case.per_s)
    return judge(stamps, collect(stage.reader, len(stamps)))


def collect(helper: Helper, expected: int) -> list[list[int]]:
    """Fetch all arrivals of a round; a late one is waited for, up to 10 s."""
    arrivals: list[list[int]] = json.loads(helper.ask("report"))
    for _ in range(50):
        if len(arrivals) >= expected:
            break
        time.sleep(SETTLED_S)
        arrivals += json.loads(helper.ask("report"))
    if len(arrivals) != expected:
        raise RuntimeError(f"{expected} deliveries expected, {len(arrivals)} came")
    return arrivals


def judge(stamps: Sequence[Sequence[int]], arrivals: Sequence[Sequence[int]]) -> Round:
    sent = {number: before for number, before, _ in stamps}
    returned = {number: after for number, _, after in stamps}
    from_sent = sorted((at - sent[number]) / 1e6 for number, at in arrivals)
    from_returned = sorted((at - returned[number]) / 1e6 for number, at in arrivals)
    reached: dict[int, list[int]] = {}
    for number, at in arrivals:
        reached.setdefault(number, []).append(at)
    seconds = (stamps[-1][1] - stamps[0][1]) / 1e9
    return Round(
        percentile(from_sent, 0.5),
        percentile(from_sent, 0.99),
        statistics.median((min(ats) - sent[n]) / 1e6 for n, ats in reached.items()),
        statistics.median((max(ats) - sent[n]) / 1e6 for n, ats in reached.items()),
        percentile(from_returned, 0.5),
        percentile(from_returned, 0.99),
        (len(stamps) - 1) / seconds,
    )


def summary(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the median of each percentile over the rounds."""
    pick: dict[str, Callable[[Round], float]] = {
        "p50": lambda each: each.p50,
        "p99": lambda each: each.p99,
        "first_p50": lambda each: each.first,
        "last_p50": lambda each: each.last,
        "returned_p50": lambda each: each.returned_p50,
        "returned_p99": lambda each: each.returned_p99,
        "commits_per_s": lambda each: each.per_s,
    }
    return {name: statistics.median(map(choose, rounds)) for name, choose in pick.items()}


if __name__ == "__main__":
    main()
