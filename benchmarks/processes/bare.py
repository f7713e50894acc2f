"""The baseline: what sockets take on our event loop when nothing is remembered of them.

It shakes hands with whatever asks, says `up_to_date` and then nothing more.

stdout: the port. stdin: any line is answered with "collected" once the garbage collector has run;
it ends when stdin is closed.
"""

from __future__ import annotations

import asyncio
from typing import cast

from benchmarks.measure import run
from benchmarks.processes.engine import until_closed
from tidewire.core.model.lsn import LSN_ZERO
from tidewire.core.protocol.codec import encode_up_to_date

HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"Sec-WebSocket-Protocol: tidewire.v1\r\n\r\n"
)
READY = encode_up_to_date(LSN_ZERO, "")


class Bare(asyncio.Protocol):
    """One socket."""

    __slots__ = ("_transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what can write."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the handshake; what comes after it says nothing new."""
        if data.startswith(b"GET "):
            self._transport.write(HEAD + READY)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await until_closed()


if __name__ == "__main__":
    run(main)
