"""How quickly do test agents meet, and what does each of them cost the coordinator?

The subject is `/v2`, the baseline the protocol of old clients; one `tidelab agents serve` serves
both, and they take turns. The agents are `native/agents.c`: in Python they would take longer than
the coordinator, and measure themselves.

- `agents`: 100 agents pass 100 barriers in a row, each going on the moment it is released; in
  milliseconds for one barrier. The mended original, written in Go, needs 0.94 to 1.26.
- `agents_spread_N`: N agents meet again and again; milliseconds from the first agent that hears of
  a release to the last one, as the 99th percentile (and the 50th) of the rounds. The original needs
  17.7 for a whole barrier of 1 000.
- `agents_memory`: KiB of the server for each of 5 000 connected agents (the original: 15).
- `agents_http`: requests a second over 8 connections, half of them PUT and half GET, on a key.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import (
    ROOT,
    Figure,
    Helper,
    conclude,
    native,
    options,
    percentile,
    run,
    spread,
    tell,
)

CROWDS = (100, 1_000, 5_000)
AGENTS, BARRIERS, LINES = 100, 100, 8
MEETINGS = 20  # for each repeat: a percentile wants many rounds
AUTHORIZATION = base64.b64encode(b":").decode()
Pair = tuple[list[float], list[float]]


def main() -> None:
    arguments = options(__doc__, seconds=2.0, repeat=5).parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures = []
    program = native("agents")
    if program is not None:
        figures += [measure_chains(program, arguments.repeat)]
        figures += measure_crowds(program, arguments.repeat * MEETINGS)
    figures.append(measure_requests(arguments.seconds, arguments.repeat))
    conclude(figures)


def measure_chains(program: Path, repeat: int) -> Figure:
    """Let agents pass many barriers in a row."""
    chains: Pair = ([], [])
    for _ in range(repeat):
        for kind, found in zip(KINDS, chains, strict=True):
            with served() as server, gathered(program, server, kind, AGENTS) as agents:
                found.append(int(agents.ask(f"chain {BARRIERS}")) / 1e6 / BARRIERS)
    figure = median("agents", "ms/barrier", chains, "value <= 1.26")
    tell(f"agents: {figure.value:.3g} against {figure.baseline:.3g} ms for each barrier")
    return figure


def measure_crowds(program: Path, meetings: int) -> list[Figure]:
    """Let crowds meet at one barrier; the memory is that of the largest."""
    figures: list[Figure] = []
    memory: Pair = ([], [])
    for crowd in CROWDS:
        spreads: Pair = ([], [])
        for kind, found, bytes_each in zip(KINDS, spreads, memory, strict=True):
            with served() as server:
                before = resident_kib(server.pid)
                with gathered(program, server, kind, crowd) as agents:
                    bytes_each.append((resident_kib(server.pid) - before) / crowd)
                    found += sorted(int(agents.ask("spread")) / 1e6 for _ in range(meetings))
        figures.append(percentiles(f"agents_spread_{crowd}", spreads))
    largest = (memory[0][-1:], memory[1][-1:])
    return [*figures, median("agents_memory", "KiB/agent", largest, "value <= 15")]


def measure_requests(seconds: float, repeat: int) -> Figure:
    """Ask by HTTP as fast as the answers come."""
    requests: Pair = ([], [])
    for _ in range(repeat):
        for ask, found in zip((ask_v2, ask_old), requests, strict=True):
            with served() as server:
                found.append(run(partial(requests_per_second, server, ask, seconds)))
    return median("agents_http", "requests/s", requests, "printed")


def median(name: str, unit: str, found: Pair, goal: str) -> Figure:
    new, old = found
    detail: dict[str, object] = {"subject": spread(new), "against": spread(old)}
    return Figure(name, statistics.median(new), unit, statistics.median(old), goal, detail)


def percentiles(name: str, found: Pair) -> Figure:
    new, old = ({share: percentile(rounds, share) for share in (0.5, 0.99)} for rounds in found)
    told, beside = (f"{each[0.5]:.3g} ms, p99 {each[0.99]:.3g}" for each in (new, old))
    tell(f"{name}: {told}; against {beside}")
    detail: dict[str, object] = {"p50": new[0.5], "against_p50": old[0.5], "rounds": len(found[0])}
    return Figure(name, new[0.99], "ms", old[0.99], "printed", detail)


# --- the server ---


class Server(NamedTuple):
    """A running `tidelab agents serve`."""

    pid: int
    http_url: str
    ws_url: str


@contextmanager
def served() -> Iterator[Server]:
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
        yield Server(process.pid, start["http_url"], start["ws_url"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def resident_kib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


# --- agents ---

KINDS = ("v2", "old")


@contextmanager
def gathered(program: Path, server: Server, kind: str, count: int) -> Iterator[Helper]:
    url = server.http_url if kind == "v2" else server.ws_url
    with Helper([program, str(urlsplit(url).port), str(count), kind]) as agents:
        assert agents.read() == "ready"
        yield agents


# --- requests ---

Ask = Callable[[int], tuple[str, str]]


def ask_v2(number: int) -> tuple[str, str]:
    return ("PUT" if number % 2 else "GET"), f"/v2/runs/r/keys/k{number // 2 % 100}"


def ask_old(number: int) -> tuple[str, str]:
    return ("POST" if number % 2 else "GET"), f"/tests/{number // 2}"


async def requests_per_second(server: Server, ask: Ask, seconds: float) -> float:
    parts, numbers = urlsplit(server.http_url), itertools.count()
    end = time.perf_counter() + seconds

    async def line() -> int:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
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
