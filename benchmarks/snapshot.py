"""How many rows a second come to a client that wants a whole table, against psql's `\\copy`?

A table of a million rows of about 120 bytes. The subject is the whole engine: it takes a snapshot,
PostgreSQL writes the rows as JSON, they go to the spool and over a WebSocket to one client in C
(`native/copier.c`) that acknowledges at half a window. The baseline is the same database giving the
same columns to `psql`, as text, which throws them away.

What is timed: from `subscribe` to `up_to_date` with `live`, against psql's own `\\timing` of the
command. Each round has an engine of its own, because an engine keeps a copy for the next client.
`again` tells what that brings: a second client at once, which is served from the spool alone.

`snapshot_memory` is by how much the engine's resident memory grows while it copies (the kernel's
own peak less what it had before), against the size of the copy.
"""

from __future__ import annotations

import functools
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.measure import (
    Figure,
    conclude,
    has_uvloop,
    native,
    options,
    python,
    rate,
    rounded,
    spread,
    take_turns,
    tell,
)
from benchmarks.proc import MIB, cpu_s, memory_kib, start_peak
from tidewire.embedded import EmbeddedPostgres
from tidewire.postgres.binaries import find_binaries

ROWS, TABLE = 1_000_000, "parcels"
GOAL, GOAL_MEMORY = ">= 0.25", "<= 100 MiB"
COLUMNS = "id, sender, address, weight, sent_at"
CREATE = f"CREATE TABLE {TABLE} (id int8 PRIMARY KEY, sender text, address text, weight int,"
CREATE += " sent_at timestamptz)"
LOAD = f"""
INSERT INTO {TABLE}
SELECT n, 'customer ' || n %% 9973 || ' of the northern office', n || ' Harbour Road, North Pier',
       n %% 50000, timestamptz '2026-01-01 00:00Z' + n * interval '1.000001 second'
FROM generate_series(1, %s) AS n
"""
TIMING = re.compile(r"Time: ([0-9.]+) ms")


@dataclass
class Notes:
    """What was seen beside the time, round by round."""

    rows: int
    grown_mib: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    copy_mib: float = 0.0


def main() -> None:
    parser = options(__doc__, seconds=0, repeat=5)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (no --seconds)")
    arguments = parser.parse_args()
    copier, notes = native("copier.c"), Notes(arguments.rows)
    if copier is None:
        conclude([Figure("snapshot", None, "rows/s", None, GOAL)])
        return
    with EmbeddedPostgres(settings={"max_wal_size": "4GB"}) as server:
        prepare(server.url, arguments.rows)
        subjects, baselines = take_turns(
            arguments.repeat,
            "snapshot",
            functools.partial(our_rate, server.url, copier, notes),
            functools.partial(psql_rate, server.url, arguments.rows),
        )
    figure = rate("snapshot", "rows/s", subjects, baselines, GOAL)
    figure.extra.update(
        rows=notes.rows,
        bytes_per_row=rounded(notes.copy_mib * MIB / notes.rows),
        cpu_us_per_row=rounded(min(notes.cpu_s) * 1e6 / notes.rows),
        again=rounded(statistics.median(notes.again)),
        uvloop=has_uvloop(),
    )
    conclude([figure, memory(notes)])


def prepare(url: str, rows: int) -> None:
    """Make the table, and leave nothing for its first reader to tidy up."""
    tell(f"snapshot: writing {rows} rows")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(CREATE)
        connection.execute(LOAD, [rows])
        connection.execute(f"VACUUM (FREEZE, ANALYZE) {TABLE}")
        connection.execute("CHECKPOINT")


def memory(notes: Notes) -> Figure:
    """Tell how much memory it took."""
    grown = statistics.median(notes.grown_mib) if notes.grown_mib else None
    extra: dict[str, object] = {}
    if notes.grown_mib:
        extra["subject"] = spread(notes.grown_mib)
    return Figure("snapshot_memory", grown, "MiB", notes.copy_mib, GOAL_MEMORY, extra)


# --- ours ---


def our_rate(url: str, copier: Path, notes: Notes) -> float:
    """Let a fresh engine serve one client, and then another."""
    with python("engine", url) as engine:
        port = engine.read()
        before, cpu_before = start_peak(engine.pid), cpu_s(engine.pid)
        found = copy(copier, port, notes)
        notes.cpu_s.append(cpu_s(engine.pid) - cpu_before)
        if before is not None:
            notes.grown_mib.append((memory_kib(engine.pid, "VmHWM") - before) / 1024)
        notes.again.append(copy(copier, port, notes))
    return found


def copy(copier: Path, port: str, notes: Notes) -> float:
    """Run one client; return its rows per second."""
    done = subprocess.run([copier, port, TABLE], stdout=subprocess.PIPE, text=True, check=True)
    nanoseconds, rows, size, _ = map(int, done.stdout.split())
    if rows != notes.rows:
        raise RuntimeError(f"{notes.rows} rows expected, {rows} came")
    notes.copy_mib = size / MIB
    return rows / nanoseconds * 1e9


# --- psql ---


def psql_rate(url: str, rows: int) -> float:
    """Let psql throw the rows away; return how many a second it got."""
    program = find_binaries().directory / "psql"
    statement = f"\\copy (SELECT {COLUMNS} FROM {TABLE}) TO /dev/null"
    command = [str(program), "-X", "-d", url, "-c", "\\timing on", "-c", statement]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    timing = TIMING.search(done.stdout)
    if f"COPY {rows}\n" not in done.stdout or timing is None:
        raise RuntimeError(f"psql said: {done.stdout!r}")
    return rows / float(timing[1]) * 1e3


if __name__ == "__main__":
    main()
