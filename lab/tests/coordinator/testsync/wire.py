"""A TestSync server in this loop, and clients that see every byte of what it answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode

from lab.tests.coordinator.kit import serving
from tidelab.coordinator import OldClients, Options
from tidelab.core.coord.testsync.credentials import Credentials

NAME, PASSWORD = "someName", "somePassWord"
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
COUNT = '{"command":"get_connection_count","content":{}}'
READ = '{"command":"read_data"}'
CLOSE = '{"command":"close"}'
PATIENCE_S = 20.0  # for what comes at once on a machine that is not busy


def basic(name: str = NAME, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the two ports are."""

    http_url: str
    ws_url: str


@contextlib.asynccontextmanager
async def server(
    sqlite_path: Path | None = None,
    *,
    credentials: tuple[str, str] = (NAME, PASSWORD),
    **settings: Any,
) -> AsyncIterator[Addresses]:
    """Serve on free ports of the loopback interface."""
    old = OldClients(ws_port=0, credentials=Credentials(*credentials), storage=sqlite_path)
    async with serving(Options(http_port=0, old_clients=old, **settings)) as address:
        assert address.ws_url is not None
        yield Addresses(address.url, address.ws_url)


@dataclass(frozen=True, slots=True)
class Answered:
    """An HTTP answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def request(
    url: str,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    in_chunks: bool = False,
) -> Answered:
    """Send one request on a connection of its own; nothing is added but what HTTP demands."""
    fields = {"Host": "tests", "Connection": "close", **(headers or {})}
    if in_chunks:
        fields["Transfer-Encoding"] = "chunked"
        body = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    elif body or method == "POST":
        fields["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return await send_raw(url, f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)


async def send_raw(url: str, data: bytes) -> Answered:
    """Send bytes and read one answer."""
    async with asyncio.timeout(PATIENCE_S), raw(url) as (reader, writer):
        writer.write(data)
        with contextlib.suppress(ConnectionError):  # the answer may have come before
            await writer.drain()
        return await read_answer(reader)


@contextlib.asynccontextmanager
async def raw(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a TCP connection, and abort it at the end."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader) -> Answered:
    """Read head and body of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in filter(None, head[1:]):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    status = int(head[0].split()[1])
    if status == 101:
        return Answered(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        return Answered(status, headers, await _read_chunks(reader))
    length = headers.get("content-length")
    body = await reader.readexactly(int(length)) if length else await reader.read()
    return Answered(status, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    with contextlib.suppress(asyncio.IncompleteReadError):  # to HEAD comes no body
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
    return body


def agent(addresses: Addresses, test_id: int, **options: Any) -> connect:
    """Connect an agent as a usual client library does."""
    options.setdefault("additional_headers", {"Authorization": basic()})
    options.setdefault("max_size", None)
    options.setdefault("proxy", None)
    return connect(f"{addresses.ws_url}/register/{test_id}", **options)


async def ask(connection: ClientConnection, message: str | bytes) -> str | bytes:
    """Send a message and return the next one that comes."""
    await connection.send(message)
    return await receive(connection)


async def receive(connection: ClientConnection) -> str | bytes:
    """Return the next message."""
    async with asyncio.timeout(PATIENCE_S):
        return await connection.recv()


def wait(identifier: str, target_count: int) -> str:
    content = {"identifier": identifier, "target_count": target_count}
    return json.dumps({"command": "wait_checkpoint", "content": content})


def counted(count: int) -> str:
    return f'{{"command":"get_connection_count","content":{{"count":{count}}}}}'


async def count_is(client: ClientConnection, count: int) -> None:
    """Wait until a test has so many agents: who is cut is noticed by the loop, a moment later."""
    async with asyncio.timeout(10):
        while await ask(client, COUNT) != counted(count):
            pass


async def shake_hands(
    answers: asyncio.StreamReader, writer: asyncio.StreamWriter, test_id: int = 1
) -> None:
    fields = {"Host": "x", "Authorization": basic(), **HANDSHAKE}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"GET /register/{test_id} HTTP/1.1\r\n{head}\r\n".encode())
    assert (await read_answer(answers)).status == 101


def frame(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)


def closing(payload: bytes) -> bytes:
    return Frame(Opcode.CLOSE, payload).serialize(mask=True)
