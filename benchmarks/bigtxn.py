"""How much memory does one transaction of a million rows take, with 1 and with 10 subscribers?

The whole engine on an embedded PostgreSQL. The clients (`native/receiver.c`) follow the table and
acknowledge at half a window. Each round has an engine of its own.

What is measured: by how much the engine's resident memory grows (the kernel's own peak less what it
had before), until all clients were told that they have the whole transaction. The baseline is the
size of what one of them was sent.

`bigtxn_time` is the time from COMMIT to there, in seconds, against the time for which PostgreSQL
worked on the statement.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.measure import (
    Figure,
    Helper,
    conclude,
    has_uvloop,
    native,
    options,
    python,
    rounded,
    spread,
    tell,
)
from benchmarks.proc import MIB, cpu_s, memory_kib, start_peak
from tidewire.core.model.lsn import parse_lsn
from tidewire.embedded import EmbeddedPostgres

ROWS, SUBSCRIBERS = 1_000_000, (1, 10)
TABLE, GOAL, DEADLINE_S = "parcels", "<= 150 MiB", 300
CREATE = f"CREATE TABLE {TABLE} (id int8 PRIMARY KEY, address text, weight int)"
WRITE = f"""
INSERT INTO {TABLE} SELECT n, n || ' Harbour Road, North Pier', n %% 50000
FROM generate_series(1, %s) AS n
"""


@dataclass(frozen=True, slots=True)
class Round:
    """What one transaction did to one engine."""

    grown_mib: float | None
    sent_mib: float
    """To each client."""
    seconds: float
    statement_s: float
    cpu_s: float

    def __str__(self) -> str:
        grown = "?" if self.grown_mib is None else f"{self.grown_mib:.0f}"
        return f"{grown} MiB and {self.seconds:.1f} s for {self.sent_mib:.0f} MiB"


def main() -> None:
    parser = options(__doc__, seconds=0, repeat=3)
    parser.add_argument("--rows", type=int, default=ROWS, help="of the transaction (no --seconds)")
    arguments = parser.parse_args()
    receiver = native("receiver.c")
    if receiver is None:
        conclude([Figure("bigtxn", None, "MiB", None, GOAL)])
        return
    figures = []
    with EmbeddedPostgres(settings={"fsync": "off", "max_wal_size": "4GB"}) as server:
        for subscribers in SUBSCRIBERS:
            rounds = []
            for turn in range(1, arguments.repeat + 1):
                rounds.append(measure(server.url, receiver, subscribers, arguments.rows))
                tell(f"bigtxn: {subscribers} clients, round {turn}: {rounds[-1]}")
            figures += describe(rounds, subscribers, arguments.rows)
    conclude(figures)


def measure(url: str, receiver: Path, subscribers: int, rows: int) -> Round:
    """Commit one transaction beside a fresh engine and see what becomes of it."""
    with psycopg.connect(url, autocommit=True) as connection:
        # What the engine of the round before has left, or this one would read it again.
        connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        connection.execute(f"DROP TABLE IF EXISTS {TABLE}".encode())
        connection.execute(CREATE.encode())
        with (
            python("engine", url) as engine,
            Helper([receiver, engine.read(), str(subscribers), TABLE]) as clients,
        ):
            clients.read()
            engine.ask("collect")
            before, cpu_before = start_peak(engine.pid), cpu_s(engine.pid)
            begun = time.perf_counter()
            connection.execute(WRITE.encode(), [rows])
            committed = time.perf_counter()
            found = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
            assert found is not None
            size = wait_for(clients, parse_lsn(found[0]))
            seconds = time.perf_counter() - committed
            peak = memory_kib(engine.pid, "VmHWM") if before is not None else 0
            spent = cpu_s(engine.pid) - cpu_before
    grown = None if before is None else (peak - before) / 1024
    return Round(grown, size / subscribers / MIB, seconds, committed - begun, spent)


def wait_for(clients: Helper, position: int) -> int:
    """Wait until all clients are up to date with a position; return the bytes that they got."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        *_, size, _, least = map(int, clients.ask("look").split())
        if least >= position:
            return size
        time.sleep(0.02)  # the server says by itself when they are, and they only take notes
    raise RuntimeError(f"not all clients have the transaction after {DEADLINE_S} s")


def describe(rounds: list[Round], subscribers: int, rows: int) -> list[Figure]:
    """Make the figures of one number of subscribers."""
    grown = [each.grown_mib for each in rounds if each.grown_mib is not None]
    seconds = [each.seconds for each in rounds]
    extra = {"rows": rows, "subscribers": subscribers, "uvloop": has_uvloop()}
    return [
        Figure(
            f"bigtxn_{subscribers}",
            statistics.median(grown) if grown else None,
            "MiB",
            statistics.median(each.sent_mib for each in rounds),
            GOAL,
            {**extra, **({"subject": spread(grown)} if grown else {})},
        ),
        Figure(
            f"bigtxn_time_{subscribers}",
            statistics.median(seconds),
            "s",
            statistics.median(each.statement_s for each in rounds),
            "-",
            {
                **extra,
                "subject": spread(seconds),
                "cpu_s": rounded(statistics.median(each.cpu_s for each in rounds)),
            },
        ),
    ]


if __name__ == "__main__":
    main()
