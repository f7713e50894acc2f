"""A connection that says nothing takes little memory, so that a node can hold ten thousand.

Method: what Python allocates is counted while bare sockets connect, follow the table and say no
more; the test's own ends take next to nothing. `benchmarks/idle.py` measures a whole process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import tracemalloc

from engine.tests.integration.loop import on_loop
from engine.tests.integration.node import Node, running
from engine.tests.integration.peer import HANDSHAKES, PATH, text

CONNECTIONS = 200
# A browser sends so many bytes of headers: nothing of them may stay.
COOKIE = "Cookie: " + "c" * 4000
# It is about 6 600: a little more, and somebody has begun to keep something.
BYTES_EACH = 7_000


async def follow(node: Node, stack: contextlib.ExitStack) -> None:
    """Connect a socket that follows the table and has read all that it was sent."""
    loop = asyncio.get_running_loop()
    client = stack.enter_context(socket.socket())
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", node.port))
    head = [f"GET {PATH} HTTP/1.1", "Host: localhost", *HANDSHAKES["full"], COOKIE, "", ""]
    shape = {"id": "1", "table": "words", "initial": False}
    frames = text({"type": "hello", "client": "c"}), text({"type": "subscribe", "shapes": [shape]})
    await loop.sock_sendall(client, "\r\n".join(head).encode())
    received = await loop.sock_recv(client, 4096)
    await loop.sock_sendall(client, b"".join(frames))
    while b"up_to_date" not in received:
        received += await loop.sock_recv(client, 4096)


@on_loop
async def test_a_connection_that_says_nothing_takes_little_memory() -> None:
    async with running() as node:
        with contextlib.ExitStack() as stack:
            await follow(node, stack)  # what comes with the first one is for all
            tracemalloc.start()
            stack.callback(tracemalloc.stop)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(CONNECTIONS):
                await follow(node, stack)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        assert (after - before) / CONNECTIONS < BYTES_EACH
