"""A coordinator in this process or in one of its own, and agents that speak to it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket as sockets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tidelab.coordinator import Address, Options, serve

DEADLINE_S = 30.0
Json = dict[str, Any]


@asynccontextmanager
async def serving(options: Options) -> AsyncIterator[Address]:
    """Serve in this loop; yield where."""
    stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(options, stop, ready=address.set_result))
        async with asyncio.timeout(DEADLINE_S):
            found: Address = await address
        try:
            yield found
        finally:
            stop.set()


@asynccontextmanager
async def running(options: Options | None = None) -> AsyncIterator[str]:
    """Serve `/v2` in this loop; yield the URL."""
    async with serving(options or Options(http_port=0)) as address:
        yield address.url


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of this machine, and its key."""
    certificate, key = folder / "c.pem", folder / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


class Process:
    """A coordinator that can be killed."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url = url
        self._process = process

    @classmethod
    async def start(cls, storage: str = "", port: int = 0) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lab.tests.coordinator.process", storage, str(port),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            url = (await process.stdout.readline()).decode().strip()
        assert url, "it ended before it listened"
        return cls(process, url)

    async def again(self, storage: str) -> None:
        """Start another at the same address, in place of one that has ended."""
        self._process = (await self.start(storage, self.port))._process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self._process.returncode is None:
            self._process.send_signal(how)
        async with asyncio.timeout(DEADLINE_S):
            return await self._process.wait()


@asynccontextmanager
async def process(storage: str = "") -> AsyncIterator[Process]:
    started = await Process.start(storage)
    try:
        yield started
    finally:
        await started.end(signal.SIGKILL)


class Agent:
    """One socket; answers by their id, pushes in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.pushes: list[Json] = []
        self._ids = itertools.count(1)
        self._early: dict[int, Json] = {}

    @classmethod
    async def open(cls, url: str, **headers: str) -> Agent:
        return cls(
            await connect(
                f"ws{url.removeprefix('http')}/v2/connect",
                additional_headers=headers,
                compression=None,
                max_size=None,
                ping_interval=None,
                close_timeout=DEADLINE_S,
                open_timeout=DEADLINE_S * 4,
                proxy=None,
            )
        )

    @classmethod
    async def join(cls, url: str, name: str, run: str = "r", **more: object) -> Agent:
        agent = await cls.open(url)
        await agent.ok("join", run=run, agent=name, **more)
        return agent

    async def send(self, do: str, **fields: object) -> int:
        id = next(self._ids)
        await self.socket.send(json.dumps({"id": id, "do": do, **fields}))
        return id

    async def receive(self) -> Json:
        async with asyncio.timeout(DEADLINE_S * 4):
            frame: Json = json.loads(await self.socket.recv())
        return frame

    async def answer(self, id: int) -> Json:
        while id not in self._early:
            frame = await self.receive()
            if "event" in frame:
                self.pushes.append(frame)
            else:
                self._early[frame["id"]] = frame
        return self._early.pop(id)

    async def ask(self, do: str, **fields: object) -> Json:
        return await self.answer(await self.send(do, **fields))

    async def ok(self, do: str, **fields: object) -> Json:
        answer = await self.ask(do, **fields)
        assert "ok" in answer, answer
        found: Json = answer["ok"]
        return found

    async def push(self) -> Json:
        while not self.pushes:
            frame = await self.receive()
            assert "event" in frame, frame
            self.pushes.append(frame)
        return self.pushes.pop(0)

    async def close(self) -> None:
        await self.socket.close()


async def connect_raw(url: str, receive_bytes: int) -> sockets.socket:
    """Open a socket on which nothing is read but by hand."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_bytes)
    raw.setblocking(False)
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    await asyncio.get_running_loop().sock_connect(raw, address)
    return raw


async def connect_slowly(url: str, receive_bytes: int = 4096) -> sockets.socket:
    """Open a WebSocket by hand: it neither reads nor answers pings by itself."""
    raw, loop = await connect_raw(url, receive_bytes), asyncio.get_running_loop()
    head = "GET /v2/connect HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    head += "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    head += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    await loop.sock_sendall(raw, head.encode())
    assert (await loop.sock_recv(raw, 4096)).startswith(b"HTTP/1.1 101")
    return raw


def masked(frame: Json) -> bytes:
    """Write a short command as the frame of a client, under a mask that changes nothing."""
    payload = json.dumps(frame).encode()
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def http(
    url: str, method: str, path: str, payload: bytes = b"", /, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Make one request on a connection of its own."""
    port = int(url.rpartition(":")[2])
    head = {"Host": f"127.0.0.1:{port}", "Connection": "close", "Content-Length": str(len(payload))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in {**head, **headers}.items())]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + payload)
        async with asyncio.timeout(DEADLINE_S * 2):
            answer = await reader.read()
    finally:
        writer.close()
    top, _, content = answer.partition(b"\r\n\r\n")
    first, *rest = top.decode("latin-1").split("\r\n")
    fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}
    return int(first.split(" ")[1]), fields, content


async def call(url: str, method: str, path: str, body: object = None, **headers: str) -> Json:
    """Make one request whose answer is JSON; the status is in it."""
    payload = b"" if body is None else json.dumps(body).encode()
    status, _, content = await http(url, method, path, payload, **headers)
    return {"status": status, **json.loads(content)}
