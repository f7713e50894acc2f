"""How quickly do test agents meet, and what does each of them cost the coordinator?

The subjects are `/v2` and the protocol of old clients, which one `tidelab agents serve` serves; the
baseline is `native/meet.go`, the same for old clients in Go and without all else. They take turns.
The agents are `native/agents.c`: in Python they would take longer than the coordinator, and measure
themselves.

- `agents_old`, `agents_v2`: 100 agents pass 100 barriers in a row, each going on the moment it is
  released; in milliseconds for one barrier.
- `agents_old_spread_N`, `agents_v2_spread_N`: N agents meet again and again; milliseconds from the
  first agent that hears of a release to the last one, as the 99th percentile (and the 50th) of the
  rounds.
- `agents_old_memory`, `agents_v2_memory`: KiB of the server for each of 5 000 connected agents.
- `agents_http`: requests a second of `/v2` over 8 connections, half of them PUT and half GET, on a
  key; the baseline is the protocol of old clients.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import (
    BUILD,
    ROOT,
    Figure,
    Helper,
    conclude,
    native,
    options,
    percentile,
    rate,
    run,
    spread,
    take_turns,
    tell,
)

CROWDS = (100, 1_000, 5_000)
AGENTS, BARRIERS, LINES = 100, 100, 8
MEETINGS = 20  # for each repeat: a percentile wants many rounds
AUTHORIZATION = base64.b64encode(b":").decode()
OURS = ("old", "v2")
GO = "go"
Rounds = dict[str, list[float]]
"""Results by who has served: old, v2, and go where there is a compiler for it."""


def main() -> None:
    arguments = options(__doc__, seconds=2.0, repeat=5).parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures = []
    agents, baseline = native("agents.c"), native("meet.go")
    kinds = OURS if baseline is None else (*OURS, GO)
    if agents is not None:
        figures += measure_chains(agents, kinds, arguments.repeat)
        figures += measure_crowds(agents, kinds, arguments.repeat * MEETINGS)
    figures.append(measure_requests(arguments.seconds, arguments.repeat))
    conclude(figures)


def measure_chains(program: Path, kinds: Sequence[str], repeat: int) -> list[Figure]:
    """Let agents pass many barriers in a row."""
    rounds: Rounds = {kind: [] for kind in kinds}
    for turn in range(1, repeat + 1):
        for kind, found in rounds.items():
            with served(kind) as server, gathered(program, server, AGENTS) as agents:
                found.append(int(agents.ask(f"chain {BARRIERS}")) / 1e6 / BARRIERS)
        told = ", ".join(f"{kind} {found[-1]:.3g}" for kind, found in rounds.items())
        tell(f"agents: round {turn} of {repeat}: {told} ms for each barrier")
    return compared("", "ms/barrier", rounds, {"old": "<= 1.0"})


def measure_crowds(program: Path, kinds: Sequence[str], meetings: int) -> list[Figure]:
    """Let crowds meet at one barrier; the memory is that of the largest."""
    figures: list[Figure] = []
    memory: Rounds = {}
    for crowd in CROWDS:
        spreads: Rounds = {}
        for kind in kinds:
            with served(kind) as server:
                before = resident_kib(server.pid)
                with gathered(program, server, crowd) as agents:
                    memory[kind] = [(resident_kib(server.pid) - before) / crowd]
                    found = sorted(int(agents.ask("spread")) / 1e6 for _ in range(meetings))
            spreads[kind] = found
            middle, most = percentile(found, 0.5), percentile(found, 0.99)
            tell(f"agents: {crowd} hear of a release, {kind}: {middle:.3g} ms, p99 {most:.3g}")
        figures += percentiles(f"_spread_{crowd}", spreads)
    return [*figures, *compared("_memory", "KiB/agent", memory, dict.fromkeys(OURS, "<= 1.0"))]


def measure_requests(seconds: float, repeat: int) -> Figure:
    """Ask by HTTP as fast as the answers come."""

    def asked(ask: Ask) -> float:
        with served("v2") as server:
            return run(partial(requests_per_second, server, ask, seconds))

    new, old = take_turns(repeat, "agents_http", partial(asked, ask_v2), partial(asked, ask_old))
    return rate("agents_http", "requests/s", new, old, "printed")


def compared(name: str, unit: str, rounds: Rounds, goals: Mapping[str, str]) -> list[Figure]:
    """Hold the medians of ours against Go's."""
    go = rounds.get(GO)
    baseline = None if go is None else statistics.median(go)
    beside: dict[str, object] = {} if go is None else {"against": spread(go)}
    return [
        Figure(
            f"agents_{kind}{name}",
            statistics.median(rounds[kind]),
            unit,
            baseline,
            goals.get(kind, "printed"),
            {"subject": spread(rounds[kind]), **beside},
        )
        for kind in OURS
    ]


def percentiles(name: str, rounds: Rounds) -> list[Figure]:
    """Hold the 99th percentiles of ours against Go's."""
    p50, p99 = (
        {kind: percentile(found, share) for kind, found in rounds.items()} for share in (0.5, 0.99)
    )
    return [
        Figure(
            f"agents_{kind}{name}",
            p99[kind],
            "ms",
            p99.get(GO),
            "printed",
            {"p50": p50[kind], "against_p50": p50.get(GO), "rounds": len(rounds[kind])},
        )
        for kind in OURS
    ]


# --- the servers ---


class Server(NamedTuple):
    """A running coordinator."""

    pid: int
    port: int
    """Where agents come."""
    speaks: str


@contextmanager
def served(kind: str) -> Iterator[Server]:
    if kind == GO:
        with Helper([BUILD / "meet"]) as meet:
            yield Server(meet.pid, int(meet.read()), "old")
        return
    command = [sys.executable, "-m", "tidelab", "agents", "serve", "--json"]
    process = subprocess.Popen(
        [*command, "--http-port", "0", "--ws-port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        start = json.loads(process.stdout.readline())
        port = urlsplit(start["http_url" if kind == "v2" else "ws_url"]).port
        assert port is not None
        yield Server(process.pid, port, kind)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def resident_kib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


@contextmanager
def gathered(program: Path, server: Server, count: int) -> Iterator[Helper]:
    with Helper([program, str(server.port), str(count), server.speaks]) as agents:
        assert agents.read() == "ready"
        yield agents


# --- requests ---

Ask = Callable[[int], tuple[str, str]]


def ask_v2(number: int) -> tuple[str, str]:
    return ("PUT" if number % 2 else "GET"), f"/v2/runs/r/keys/k{number // 2 % 100}"


def ask_old(number: int) -> tuple[str, str]:
    return ("POST" if number % 2 else "GET"), f"/tests/{number // 2}"


async def requests_per_second(server: Server, ask: Ask, seconds: float) -> float:
    numbers = itertools.count()
    end = time.perf_counter() + seconds

    async def line() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        count = 0
        while time.perf_counter() < end:
            method, path = ask(next(numbers))
            body = "" if method == "GET" else '"some value"'
            writer.write(
                f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Basic {AUTHORIZATION}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(size)
            count += 1
        writer.close()
        return count

    async with asyncio.TaskGroup() as tasks:
        lines = [tasks.create_task(line()) for _ in range(LINES)]
    return sum(task.result() for task in lines) / seconds


if __name__ == "__main__":
    main()
