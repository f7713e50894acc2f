"""How long from COMMIT to the client among 10 000 shapes, against one shape?

Two engines at once on one embedded PostgreSQL, each with a table of its own that has a tenant in
each row (REPLICA IDENTITY FULL). One engine has a single shape, `tenant = 0`. The other has 10 000,
from `tenant = 0` to `tenant = 9999`, in 100 connections with 100 each. Every commit is one row, and
so is for exactly one shape; with many shapes the tenants come in an order that no cache foresees.

What is timed, by CLOCK_MONOTONIC: from just before COMMIT is sent to the return of the recv() that
brings the end of the row. `value` is the median of the p50 of all rounds, in ms; less is better.
`fsync` is off, because the disk's time is the same for both and would bring the ratio nearer to 1.

`first_ms` and `last_ms` tell what it took to subscribe one of the 100 shapes of a connection, in
the first and in the last tenth of the connections.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.latency import SETTLED_S, Round, collect, judge, summary
from benchmarks.measure import (
    Figure,
    Helper,
    conclude,
    has_uvloop,
    options,
    python,
    rounded,
    take_turns,
    tell,
)
from tidewire.embedded import EmbeddedPostgres

CONNECTIONS, SHAPES_EACH = 100, 100
PER_S = 200
GOAL = "<= 1.2"


def main() -> None:
    parser = options(__doc__, seconds=1, repeat=15)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="100 shapes each")
    arguments = parser.parse_args()
    connections: int = arguments.connections
    with EmbeddedPostgres(settings={"fsync": "off"}) as server:
        prepare(server.url)
        with (
            python("engine", server.url, "one") as one_engine,
            python("engine", server.url, "many") as many_engine,
            python("tenants", one_engine.read(), "1") as one,
            python("tenants", many_engine.read(), str(connections)) as many,
            python("writer", server.url) as writer,
        ):
            tell(f"shapes: {connections} connections subscribe {SHAPES_EACH} shapes each")
            many.ask(f"join many_0 {SHAPES_EACH}")
            one.ask("join one_0 1")  # last: it would be cut while it says nothing for so long
            seconds = arguments.seconds
            subject = functools.partial(
                measure, writer, many, "many", connections * SHAPES_EACH, seconds
            )
            baseline = functools.partial(measure, writer, one, "one", 1, seconds)
            for warm_up in (baseline, subject):
                warm_up()
            subjects, baselines = take_turns(arguments.repeat, "shapes", subject, baseline)
            times: list[float] = json.loads(many.ask("times"))
    conclude([figure(subjects, baselines, times)])


def prepare(url: str) -> None:
    """Make a table for each engine."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("one_0", "many_0"):
            columns = "id bigint PRIMARY KEY, body text, tenant int"
            connection.execute(f"CREATE TABLE {name} ({columns})".encode())
            connection.execute(f"ALTER TABLE {name} REPLICA IDENTITY FULL".encode())


def measure(writer: Helper, clients: Helper, table: str, tenants: int, seconds: float) -> Round:
    """Commit for the length of a round, for one side."""
    clients.ask("report")
    stamps: list[list[int]] = json.loads(writer.ask(f"{table} 1 {PER_S} {seconds} {tenants}"))
    time.sleep(SETTLED_S)
    return judge(stamps, collect(clients, len(stamps)))


def figure(subjects: Sequence[Round], baselines: Sequence[Round], times: Sequence[float]) -> Figure:
    many, one = summary(subjects), summary(baselines)
    tenth = max(1, len(times) // 10)
    first, last = (statistics.median(part) for part in (times[:tenth], times[-tenth:]))
    return Figure(
        "shapes",
        many["p50"],
        "ms",
        one["p50"],
        GOAL,
        {
            "ratio_p99": rounded(many["p99"] / one["p99"]),
            "added_p50": rounded(many["p50"] - one["p50"]),
            "subject": {key: rounded(number) for key, number in many.items()},
            "against": {key: rounded(number) for key, number in one.items()},
            "rounds": [str(each) for each in subjects],
            "shapes": len(times) * SHAPES_EACH,
            "first_ms": rounded(first / SHAPES_EACH * 1e3),
            "last_ms": rounded(last / SHAPES_EACH * 1e3),
            "uvloop": has_uvloop(),
        },
    )


if __name__ == "__main__":
    main()
