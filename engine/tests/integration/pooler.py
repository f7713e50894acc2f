"""What connection poolers do to us, as a proxy: ids of their own, lost settings, no replication.

Method: the startup message and the answers up to the first ReadyForQuery are read and rewritten
(manual, 54.7); from then on bytes are passed on as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

_ENCRYPTION = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_REFUSAL = b"SFATAL\0C08P01\0Munsupported startup parameter: replication\0\0"


class Pooler:
    """A pooler in front of one server; `url` is what to use instead of the server's."""

    def __init__(self, url: str, *, takes_replication: bool, keeps_options: bool) -> None:
        self._server = urlsplit(url)
        self._takes_replication = takes_replication
        self._keeps_options = keeps_options
        self.url = ""

    def stand_at(self, port: int) -> None:
        """Name the port at which clients come."""
        login = self._server.netloc.rpartition("@")[0]
        self.url = self._server._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            parameters = await _startup(reader, writer)
            if "replication" in parameters and not self._takes_replication:
                writer.write(b"E" + struct.pack(">I", len(_REFUSAL) + 4) + _REFUSAL)
                await writer.drain()
            else:
                if not self._keeps_options:
                    parameters.pop("options", None)
                await self._pass_on(parameters, reader, writer)
        writer.close()

    async def _pass_on(
        self,
        parameters: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        from_server, to_server = await asyncio.open_connection(
            self._server.hostname, self._server.port
        )
        pairs = [text.encode() + b"\0" for pair in parameters.items() for text in pair]
        body = struct.pack(">I", 3 << 16) + b"".join(pairs) + b"\0"
        to_server.write(struct.pack(">I", len(body) + 4) + body)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(reader, to_server))
            await _begin(from_server, writer)
            await _copy(from_server, writer)


@contextlib.asynccontextmanager
async def pooler(
    url: str, *, takes_replication: bool = True, keeps_options: bool = True
) -> AsyncIterator[str]:
    """Stand in front of a server until the block is left; yield the URL to use instead."""
    between = Pooler(url, takes_replication=takes_replication, keeps_options=keeps_options)
    async with await asyncio.start_server(between.serve, "127.0.0.1", 0) as listening:
        between.stand_at(listening.sockets[0].getsockname()[1])
        yield between.url


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, str]:
    while True:
        [length] = struct.unpack(">I", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        if struct.unpack_from(">I", body)[0] not in _ENCRYPTION:
            texts = body[4:].decode().split("\0")
            return dict(zip(texts[:-2:2], texts[1:-2:2], strict=True))
        writer.write(b"N")


async def _begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on the answers until queries may come, with a process id of our own."""
    kind = b""
    while kind != b"Z":
        kind = await reader.readexactly(1)
        [length] = struct.unpack(">I", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        if kind == b"K":
            body = struct.pack(">I", 1) + body[4:]
        writer.write(kind + struct.pack(">I", length) + body)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
