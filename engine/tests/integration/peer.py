"""A client on a bare socket that may do everything wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, cast

from tidewire import limits

PATH = "/v1/sync"
PROTOCOL = "tidewire.v1"
Message = dict[str, Any]

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_MASK = b"\x11\x22\x33\x44"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    is_masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Write a frame as a client does, sound or not; `length` may lie."""
    size = len(payload) if length is None else length
    first = fin << 7 | reserved << 4 | opcode
    mask_bit = is_masked << 7
    if size < 126:
        head = struct.pack(">BB", first, mask_bit | size)
    elif size < 65536:
        head = struct.pack(">BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack(">BBQ", first, mask_bit | 127, size)
    if not is_masked:
        return head + payload
    repeated = int.from_bytes(_MASK * (len(payload) // 4 + 1))
    repeated >>= 8 * (4 - len(payload) % 4)
    masked = int.from_bytes(payload) ^ repeated
    return head + _MASK + masked.to_bytes(len(payload))


def text(message: object) -> bytes:
    """Write a message in one text frame."""
    return frame(TEXT, json.dumps(message).encode())


class Answer(NamedTuple):
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Peer:
    """A client on a bare socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.counted = 0
        """Commits that came; what an ack says."""

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the kernel takes more."""
        await self._writer.drain()

    def send(self, *messages: object) -> None:
        """Send messages, all in one segment."""
        self.write(b"".join(text(message) for message in messages))

    def pause(self) -> None:
        """Read nothing from now on."""
        cast("asyncio.Transport", self._writer.transport).pause_reading()

    def resume(self) -> None:
        """Read again."""
        cast("asyncio.Transport", self._writer.transport).resume_reading()

    def ask(
        self, path: str = PATH, *lines: str, method: str = "GET", host: str | None = "localhost"
    ) -> None:
        """Send the head of a request."""
        hosts = [] if host is None else [f"Host: {host}"]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *hosts, *lines, "", ""])
        self.write(head.encode("latin-1"))

    async def line(self) -> bytes:
        """Read one line, or what there is before the end."""
        return await self._reader.readline()

    async def answer(self, *, is_head: bool = False) -> Answer:
        """Read one HTTP answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = 0 if is_head else int(headers.get("content-length", 0))
        body = await self._reader.readexactly(length)
        return Answer(int(status_line.split()[1]), headers, body)

    async def shake_hands(
        self, *lines: str, path: str = PATH, host: str | None = "localhost", base: str = "full"
    ) -> Answer:
        """Ask for a WebSocket; `lines` are further headers."""
        self.ask(path, *HANDSHAKES[base], *lines, host=host)
        return await self.answer()

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame: its first byte without the FIN bit, and its payload."""
        first, size = await self._reader.readexactly(2)
        assert first & 0x80, "the server does not cut frames"
        if size == 126:
            (size,) = struct.unpack(">H", await self._reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self._reader.readexactly(8))
        return first & 0x7F, await self._reader.readexactly(size)

    async def message(self) -> Message:
        """Read one message; a ping before it is answered."""
        while True:
            opcode, payload = await self.frame()
            if opcode == PING:
                self.write(frame(PONG, payload))
                continue
            assert opcode == TEXT, f"opcode {opcode}: {payload!r}"
            message: Message = json.loads(payload)
            self.counted += message["type"] == "commit"
            return message

    async def messages_until(self, kind: str) -> list[Message]:
        """Read up to a message of a type, and return them all."""
        found = [await self.message()]
        while found[-1]["type"] != kind:
            found.append(await self.message())
        return found

    async def error(self) -> str:
        """Read messages up to an error and return its code."""
        code: str = (await self.messages_until("error"))[-1]["code"]
        return code

    async def follow(self, *ids: str, token: str | None = None) -> None:
        """Say hello, subscribe, and wait until all is live."""
        self.send({"type": "hello", "client": "peer", "token": token})
        shapes = [{"id": id, "table": "words", "initial": False} for id in ids or ("1",)]
        self.send({"type": "subscribe", "shapes": shapes})
        await self.messages_until("up_to_date")

    async def words(self, count: int) -> list[str]:
        """Read that many words out of commits, acknowledging each."""
        found: list[str] = []
        while len(found) < count:
            message = await self.message()
            found += words_of(message)
            if message["type"] == "commit":
                self.send({"type": "ack", "n": self.counted})
        return found

    async def close_code(self) -> int:
        """Read up to the close frame, check it and the end of the stream, return its code."""
        opcode, payload = await self.frame()
        while opcode != CLOSE:
            opcode, payload = await self.frame()
        self.reason = payload[2:].decode()
        assert len(payload) <= limits.CLOSE_REASON_BYTES + 2
        if not self._writer.is_closing():
            self.write(frame(CLOSE, payload[:2]))
        await self.end()
        return int.from_bytes(payload[:2])

    async def end(self) -> bytes:
        """Read to the end of the stream; how it ends is the server's choice."""
        with contextlib.suppress(ConnectionError):
            return await self._reader.read()
        return b""


_UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
_VERSION = "Sec-WebSocket-Version: 13"
_OFFER = f"Sec-WebSocket-Protocol: {PROTOCOL}"
HANDSHAKES = {
    "full": (*_UPGRADE, _KEY, _VERSION, _OFFER),
    "no key": (*_UPGRADE, _VERSION, _OFFER),
    "bad key": (*_UPGRADE, "Sec-WebSocket-Key: short", _VERSION, _OFFER),
    "no version": (*_UPGRADE, _KEY, _OFFER),
    "version 8": (*_UPGRADE, _KEY, "Sec-WebSocket-Version: 8", _OFFER),
    "no subprotocol": (*_UPGRADE, _KEY, _VERSION),
    "other subprotocol": (*_UPGRADE, _KEY, _VERSION, "Sec-WebSocket-Protocol: tidewire.v0"),
}


def words_of(message: Message) -> list[str]:
    """Return the words that a commit inserts; none for other messages."""
    parts = message.get("parts", [])
    return [row[1] for part in parts for kind, row in part["changes"] if kind == "i"]


@contextlib.asynccontextmanager
async def peer(
    port: int, *, tls: ssl.SSLContext | None = None, receive_buffer_bytes: int | None = None
) -> AsyncIterator[Peer]:
    """Connect a peer; it is cut at the end of the block."""
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if receive_buffer_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    client.setblocking(False)
    name = "localhost" if tls else None
    with contextlib.ExitStack() as failing:
        failing.callback(client.close)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=client, ssl=tls, server_hostname=name)
        failing.pop_all()
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
