"""An application with a mounted engine: `application URL DEPLOYMENT fast|fall-back`.

stdout: the port, when it is ready; it ends when stdin is closed. The paths are those of an engine
with its own port, so that the same clients can be used.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from typing import Any, cast

import uvicorn

from benchmarks.measure import run
from tidewire.asgi import FastPath, Tidewire
from tidewire.config import Config

WAYS: dict[str, Any] = {"fast": FastPath, "fall-back": "websockets-sansio"}


class Server(uvicorn.Server):
    """A server that tells its port."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # as the engine with its own port has it
        print(sockets[0].getsockname()[1] if sockets else None, flush=True)


async def main() -> None:
    url, deployment, way = sys.argv[1:]
    app = Tidewire(Config(database_url=url, deployment=deployment, dev=True))
    settings = uvicorn.Config(
        cast("Any", app), ws=WAYS[way], log_level="warning", ws_per_message_deflate=False
    )
    server = Server(settings)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop, server)
    await server.serve(sockets=[socket.create_server(("127.0.0.1", 0), backlog=2048)])


def stop(server: uvicorn.Server) -> None:
    server.should_exit = True
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    run(main)
