"""What does a live commit to 100 clients cost in an application, against a port of our own?

Three engines follow one table of an embedded PostgreSQL, each with 100 light WebSocket clients: one
with its own port (the baseline), one mounted in an application with `FastPath`, one mounted without
(the fall-back). They take turns: while one is measured the others' clients are gone.

What is timed: the CPU time that the engine's process took for one commit, as /proc tells it, with
100 commits a second; `value` is the median of the rounds, in microseconds; less is better. What it
takes to read the log is a part of it. The latency from before COMMIT to the client (p50, in ms)
stands beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.latency import CLIENTS, SETTLED_S, collect, judge
from benchmarks.measure import Figure, Helper, conclude, options, python, rounded, tell
from tidewire.embedded import EmbeddedPostgres

PER_S = 100
TABLE = "shared"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
GOALS = {"mount_fast": "<= 1.1", "mount_fall_back": "<= 2.5"}


@dataclass
class Way:
    """One engine, its clients, and what its rounds were."""

    engine: Helper
    listeners: Helper
    cpu_us: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)

    def measure(self, writer: Helper, seconds: float) -> None:
        """Commit for the length of a round while its clients listen."""
        self.listeners.ask(f"join {TABLE} 1")
        time.sleep(SETTLED_S)
        before = cpu_s(self.engine.pid)
        stamps = json.loads(writer.ask(f"{TABLE} 1 {PER_S} {seconds}"))
        time.sleep(SETTLED_S)
        self.cpu_us.append((cpu_s(self.engine.pid) - before) / len(stamps) * 1e6)
        arrivals = collect(self.listeners, len(stamps) * CLIENTS)
        self.p50_ms.append(judge(stamps, arrivals).p50)
        self.listeners.ask("leave")


def main() -> None:
    arguments = options(__doc__, seconds=4, repeat=5).parse_args()
    with EmbeddedPostgres() as server, contextlib.ExitStack() as stack:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(
                f"CREATE TABLE {TABLE}_0 (id bigint PRIMARY KEY, body text)".encode()
            )
        commands = {
            "own_port": ("engine", server.url, "own"),
            "mount_fast": ("application", server.url, "fast", "fast"),
            "mount_fall_back": ("application", server.url, "fall_back", "fall-back"),
        }
        ways: dict[str, Way] = {}
        for name, command in commands.items():
            engine = stack.enter_context(python(*command))
            clients = stack.enter_context(python("listeners", engine.read(), str(CLIENTS)))
            ways[name] = Way(engine, clients)
        writer = stack.enter_context(python("writer", server.url))
        for turn in range(arguments.repeat + 1):
            for name, way in ways.items():
                way.measure(writer, arguments.seconds)
                tell(f"{name}: round {turn} of {arguments.repeat}: {way.cpu_us[-1]:.0f} us")
    conclude([figure(name, ways[name], ways["own_port"]) for name in GOALS])


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def figure(name: str, way: Way, own: Way) -> Figure:
    """Compare all rounds but the first, which warms up."""
    cpu, base = way.cpu_us[1:], own.cpu_us[1:]
    return Figure(
        name,
        statistics.median(cpu),
        "us/commit",
        statistics.median(base),
        GOALS[name],
        {
            "clients": CLIENTS,
            "p50": rounded(statistics.median(way.p50_ms[1:])),
            "p50_own_port": rounded(statistics.median(own.p50_ms[1:])),
            "rounds": [rounded(each) for each in cpu],
            "against": [rounded(each) for each in base],
        },
    )


if __name__ == "__main__":
    main()
