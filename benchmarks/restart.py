"""How long until a server that was killed has its log again, with a full window of 256 MiB?

The whole engine on an embedded PostgreSQL. Small commits have filled the window; then the server is
killed (SIGKILL) and started anew, in each round again. It reads the window again from the
write-ahead log that its slot has kept:

- `restart`: rows read for each second from the first accepted connection until `/ready` says yes,
  against `pg_recvlogical -f /dev/null`, which reads the same through a copy of the slot;
- `restart_accepts`: seconds from the start of the process until `/health` answers;
- `restart_ready`: seconds from the start of the process until `/ready` says yes.

Both times stand against those of the same server with an empty window.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
from psycopg.rows import TupleRow

from benchmarks.measure import (
    Figure,
    Helper,
    conclude,
    has_uvloop,
    native,
    options,
    python,
    rate,
    rounded,
    spread,
    tell,
)
from benchmarks.proc import MIB, cpu_s, memory_kib
from benchmarks.wal import ROWS_PER_COMMIT, create_orders, recvlogical_seconds
from tidewire.core.model.lsn import Lsn, parse_lsn
from tidewire.embedded import EmbeddedPostgres

COMMITS_AT_ONCE = 5_000
WINDOW_MIB, DEADLINE_S = 256, 120


@dataclass(frozen=True, slots=True)
class Start:
    """How one start went."""

    accepts_s: float
    ready_s: float
    """From the start of the process, too."""
    rows: int
    memory_mib: float
    cpu_s: float

    @property
    def rows_per_s(self) -> float:
        """Rows read for each second of catching up."""
        return self.rows / (self.ready_s - self.accepts_s)

    def __str__(self) -> str:
        return f"accepts after {self.accepts_s:.2f} s, ready after {self.ready_s:.2f} s"


def main() -> None:
    parser = options(__doc__, seconds=0, repeat=5)
    parser.add_argument("--mib", type=int, default=WINDOW_MIB, help="to fill (no --seconds)")
    arguments = parser.parse_args()
    receiver = native("receiver.c")
    if receiver is None:
        conclude([Figure("restart", None, "rows/s", None, "-")])
        return
    settings = {"fsync": "off", "max_wal_size": "4GB"}
    with EmbeddedPostgres(settings=settings) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            create_orders(connection)
            empty = [start(server.url) for _ in range(arguments.repeat + 1)][1:]
            slot, end = fill(server.url, receiver, connection, arguments.mib * MIB)
        starts, yardstick = [], []
        for turn in range(1, arguments.repeat + 1):
            seconds = recvlogical_seconds(server.url, slot, slot, end)
            starts.append(start(server.url))
            yardstick.append(starts[-1].rows / seconds)
            tell(f"restart: round {turn}: {starts[-1]}; pg_recvlogical took {seconds:.2f} s")
    conclude(describe(starts, empty, yardstick))


def start(url: str) -> Start:
    """Start a server, wait until it has its log, and kill it."""
    begun = time.perf_counter()
    with python("engine", url) as engine:
        address = f"http://127.0.0.1:{engine.read()}"
        wait_for(address, "/health")
        accepted = time.perf_counter()
        wait_for(address, "/ready")
        ready = time.perf_counter()
        metrics = get(address, "/metrics").splitlines()
        rows = next(line.split()[1] for line in metrics if line.startswith("tidewire_rows_total "))
        memory, spent = memory_kib(engine.pid, "VmRSS") / 1024, cpu_s(engine.pid)
        engine.kill()
    return Start(accepted - begun, ready - begun, int(float(rows)), memory, spent)


def fill(
    url: str, receiver: Path, connection: psycopg.Connection[TupleRow], size: int
) -> tuple[str, Lsn]:
    """Let commits fill the window and kill the server; return its slot and where the log ends."""
    tell(f"restart: filling a window of {size // MIB} MiB")
    with python("engine", url) as engine:
        status = fill_log(engine.read(), receiver, connection, size)
        engine.kill()
    tell(f"restart: {status['log_commits']} commits in the log")
    return str(status["slot"]), parse_lsn(str(status["progress"]))


def fill_log(
    port: str, receiver: Path, connection: psycopg.Connection[TupleRow], size: int
) -> dict[str, object]:
    """Let commits of a followed table fill the log of a server; return its status then."""
    connection.execute("SET synchronous_commit = off")
    status: dict[str, object] = {"log_bytes": 0}
    with Helper([receiver, port, "1", "orders"]) as client:
        client.read()
        first = 0
        while int(str(status["log_bytes"])) < size - MIB:
            written = load(connection, first)
            first += COMMITS_AT_ONCE
            while parse_lsn(str(status.get("progress", "0/0"))) < written:
                status = json.loads(get(f"http://127.0.0.1:{port}", "/v1/status"))
                time.sleep(0.05)  # it has to read what was written, and tells nobody
    return status


def load(connection: psycopg.Connection[TupleRow], first: int) -> Lsn:
    """Write some commits, the first with this number; return where the last one ends."""
    connection.execute("CALL load(%s, %s, %s)", [first, COMMITS_AT_ONCE, ROWS_PER_COMMIT])
    # Asynchronous commits reach the disk a moment later, and only then the walsender.
    connection.execute("CHECKPOINT")
    found = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert found is not None
    return parse_lsn(str(found[0]))


def wait_for(address: str, path: str) -> None:
    """Ask again and again until the answer is yes."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            get(address, path)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)  # it does not call back, and is slowed down by who asks
        else:
            return
    raise RuntimeError(f"{path} did not say yes within {DEADLINE_S} s")


def get(address: str, path: str) -> str:
    """Return the body of an answer."""
    with urllib.request.urlopen(address + path, timeout=DEADLINE_S) as answer:
        body: bytes = answer.read()
    return body.decode()


def describe(starts: list[Start], empty: list[Start], yardstick: list[float]) -> list[Figure]:
    """Make the figures."""
    figure = rate("restart", "rows/s", [each.rows_per_s for each in starts], yardstick, "-")
    of_start = statistics.median(each.cpu_s for each in empty)
    figure.extra.update(
        rows=starts[-1].rows,
        cpu_us_per_row=rounded(min((each.cpu_s - of_start) * 1e6 / each.rows for each in starts)),
        memory_mib=rounded(statistics.median(each.memory_mib for each in starts)),
        uvloop=has_uvloop(),
    )
    times = [("restart_accepts", "accepts_s"), ("restart_ready", "ready_s")]
    return [figure, *(time_figure(name, field, starts, empty) for name, field in times)]


def time_figure(name: str, field: str, starts: list[Start], empty: list[Start]) -> Figure:
    """Compare a time with that of an empty window."""
    full = [float(getattr(each, field)) for each in starts]
    others = [float(getattr(each, field)) for each in empty]
    extra: dict[str, object] = {"subject": spread(full), "against": spread(others)}
    return Figure(name, statistics.median(full), "s", statistics.median(others), "-", extra)


if __name__ == "__main__":
    main()
