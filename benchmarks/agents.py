"""How quickly do test agents meet, and what does each of them cost the coordinator?

The subject is `/v2`, the baseline the protocol of old clients; one `tidelab agents serve` serves
both, and they take turns. The agents are bare sockets in this process.

- `agents`: 100 agents pass 100 barriers in a row, each going on the moment it is released; in
  milliseconds for one barrier. The mended original, written in Go, needs 0.94 to 1.26.
- `agents_spread_N`: N agents wait at one barrier; milliseconds from the first agent that hears of
  the release to the last one.
- `agents_memory`: KiB of the server for each connected agent (the original: 15).
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
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import ROOT, Figure, conclude, options, run, spread, tell

CROWDS = (100, 1_000, 5_000)
AGENTS, BARRIERS, LINES = 100, 100, 8
OPENING = 100  # at the same time
AUTHORIZATION = base64.b64encode(b":").decode()
_names = itertools.count()


def main() -> None:
    parser = options(__doc__, seconds=2.0, repeat=5)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures = run(lambda: measure(arguments.seconds, arguments.repeat))
    conclude(figures)


async def measure(seconds: float, repeat: int) -> list[Figure]:
    chains: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeat):
        for kind, found in zip(KINDS, chains, strict=True):
            with served() as server:
                agents = await gather(kind, server, AGENTS)
                found.append(await consecutive(agents))
                leave(agents)
    figures = [figure("agents", "ms/barrier", chains, "value <= 1.26")]
    tell(f"agents: {figures[0].value:.3g} against {figures[0].baseline:.3g} ms for each barrier")
    memory: tuple[list[float], list[float]] = ([], [])
    for crowd in CROWDS:
        spreads: tuple[list[float], list[float]] = ([], [])
        for kind, found, bytes_each in zip(KINDS, spreads, memory, strict=True):
            with served() as server:
                before = resident_kib(server.pid)
                agents = await gather(kind, server, crowd)
                bytes_each.append((resident_kib(server.pid) - before) / crowd)
                for _ in range(repeat * 2):
                    found.append(await once(agents))
                leave(agents)
        figures.append(figure(f"agents_spread_{crowd}", "ms", spreads, "printed"))
        tell(f"agents: {crowd} hear within {figures[-1].value:.3g} ms")
    largest = (memory[0][-1:], memory[1][-1:])
    figures.append(figure("agents_memory", "KiB/agent", largest, "value <= 15"))
    requests: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeat):
        for ask, found in zip((ask_v2, ask_old), requests, strict=True):
            with served() as server:
                found.append(await requests_per_second(server, ask, seconds))
    figures.append(figure("agents_http", "requests/s", requests, "printed"))
    return figures


def figure(name: str, unit: str, found: tuple[list[float], list[float]], goal: str) -> Figure:
    new, old = found
    detail: dict[str, object] = {"subject": spread(new), "against": spread(old)}
    return Figure(name, statistics.median(new), unit, statistics.median(old), goal, detail)


# --- the server ---


class Server:
    """A running `tidelab agents serve`."""

    def __init__(self, pid: int, http_url: str, ws_url: str) -> None:
        self.pid, self.http_url, self.ws_url = pid, http_url, ws_url


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


class Agent(asyncio.Protocol):
    """One bare WebSocket; frames are counted, and looked at by their first bytes only."""

    def __init__(self, request: str, greeting: bytes, released: bytes) -> None:
        self._request, self._greeting, self.released = request, greeting, released
        self._buffer = b""
        self._is_open = False
        self.ready = asyncio.get_running_loop().create_future()
        self.on_release: Callable[[Agent], None] = lambda _: None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request.encode())

    def data_received(self, data: bytes) -> None:
        """Note what came."""
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._is_open, self._buffer = True, rest
            self.send(self._greeting)
        while (frame := self._frame()) is not None:
            if self.released in frame:
                self.on_release(self)
            elif not self.ready.done() and frame[:1] == b"{":
                self.ready.set_result(None)

    def send(self, payload: bytes) -> None:
        """Send a frame; a mask of zeros is one, too."""
        size = len(payload)
        head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2)
        self.transport.write(head + bytes(4) + payload)

    def _frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, begin = buffer[1] & 0x7F, 2
        if size == 126:
            size, begin = int.from_bytes(buffer[2:4]), 4
        if len(buffer) < begin + size:
            return None
        self._buffer = buffer[begin + size :]
        return buffer[begin : begin + size]


class Kind(NamedTuple):
    """How agents of one protocol speak."""

    path: str
    released: bytes
    """What only the answer to a wait has in it."""
    greeting: Callable[[], bytes]
    wait: Callable[[str, int], bytes]


def _join() -> bytes:
    return json.dumps({"do": "join", "run": "r", "agent": f"a{next(_names)}"}).encode()


def _wait(barrier: str, target: int) -> bytes:
    return json.dumps({"do": "wait", "barrier": barrier, "target": target}).encode()


def _count() -> bytes:
    return b'{"command":"get_connection_count"}'


def _wait_checkpoint(name: str, target: int) -> bytes:
    content = {"identifier": name, "target_count": target}
    return json.dumps({"command": "wait_checkpoint", "content": content}).encode()


NEW = Kind("/v2/connect", b'"start_at_ms"', _join, _wait)
OLD = Kind("/register/1", b'"finished":true', _count, _wait_checkpoint)
KINDS = (NEW, OLD)


class Crowd(list[Agent]):
    """Agents of one kind."""

    kind: Kind


async def gather(kind: Kind, server: Server, count: int) -> Crowd:
    port = urlsplit(server.http_url if kind is NEW else server.ws_url).port or 0
    request = (
        f"GET {kind.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    crowd, loop = Crowd(), asyncio.get_running_loop()
    crowd.kind = kind
    for first in range(0, count, OPENING):
        async with asyncio.TaskGroup() as tasks:
            coming = [
                tasks.create_task(
                    loop.create_connection(
                        lambda: Agent(request, kind.greeting(), kind.released),
                        "127.0.0.1",
                        port,
                    )
                )
                for _ in range(min(OPENING, count - first))
            ]
        agents = [task.result()[1] for task in coming]
        for agent in agents:
            await agent.ready
        crowd += agents
    return crowd


def leave(agents: Crowd) -> None:
    for agent in agents:
        agent.transport.abort()


async def consecutive(agents: Crowd) -> float:
    """Return the milliseconds for one of many barriers in a row."""
    done, left = asyncio.Event(), len(agents)
    passed = dict.fromkeys(agents, 0)
    waits = [agents.kind.wait(f"b{number}", len(agents)) for number in range(BARRIERS)]

    def go_on(agent: Agent) -> None:
        nonlocal left
        passed[agent] += 1
        if passed[agent] < BARRIERS:
            agent.send(waits[passed[agent]])
        else:
            left -= 1
            if not left:
                done.set()

    begin = time.perf_counter()
    for agent in agents:
        agent.on_release = go_on
        agent.send(waits[0])
    await done.wait()
    return (time.perf_counter() - begin) * 1000 / BARRIERS


async def once(agents: Crowd) -> float:
    """Return the milliseconds between the first and the last agent that hears of a release."""
    heard: list[float] = []
    done = asyncio.Event()

    def hear(_: Agent) -> None:
        heard.append(time.perf_counter())
        if len(heard) == len(agents):
            done.set()

    wait = agents.kind.wait(f"once{next(_names)}", len(agents))
    for agent in agents:
        agent.on_release = hear
        agent.send(wait)
    await done.wait()
    return (heard[-1] - heard[0]) * 1000


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
