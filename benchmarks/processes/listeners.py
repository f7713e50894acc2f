"""Many light WebSocket clients in one epoll loop: `listeners PORT CLIENTS`.

They note when bytes came and keep them; what the bytes say is looked at when the round is over, and
acknowledged then, so one round must fit the window (1 MiB for each client).

stdin: "join TABLE TABLES" connects client `i` to table `i % TABLES`, answered "ready" when all are
live; "leave" closes all; "report" is answered with a JSON list of [n, nanoseconds], one for each
delivery since the last time; "times" with a JSON list of the seconds from `subscribe` to live.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

UPGRADE = (
    "GET /v1/sync HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: tidewire.v1\r\n\r\n"
)
# The first column is the number of the commit; an int8 is text on the wire.
ROW = re.compile(rb'\{"type":"commit".*?\["i",\["?(\d+)"?,')
READ_BYTES = 16 * 1024


@dataclass
class Client:
    """One socket and what came over it."""

    socket: socket.socket
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    counted: int = 0

    def send(self, document: dict[str, object]) -> None:
        """Send a text frame, masked with zeros."""
        payload = json.dumps(document).encode()
        length = len(payload)
        size = bytes((0x80 | length,)) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
        self.socket.sendall(b"\x81" + size + bytes(4) + payload)

    def take(self) -> list[tuple[int, int]]:
        """Read what came: a frame that spans two chunks has come with the second."""
        found, rest = [], b""
        for at, chunk in self.chunks:
            data, end = rest + chunk, 0
            for match in ROW.finditer(data):
                found.append((int(match[1]), at))
                end = match.end()
            rest = data[end:]
        self.chunks.clear()
        self.counted += len(found)
        return found


Shapes = Callable[[int, str, int], list[dict[str, object]]]
"""Shapes of client `i`, from the two words behind "join"."""


def whole_table(i: int, table: str, tables: int) -> list[dict[str, object]]:
    return [{"id": "a", "table": f"{table}_{i % tables}", "initial": False}]


class Listeners:
    """All clients of one round."""

    def __init__(self, port: int, count: int, shapes: Shapes = whole_table) -> None:
        self._port = port
        self._count = count
        self._shapes = shapes
        self._poll = select.epoll()
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._clients: dict[int, Client] = {}
        self._times: list[float] = []
        """Seconds from `subscribe` to live, of each client."""

    def join(self, table: str, number: int) -> None:
        """Connect all, one after another, and wait until they are live."""
        self._times.clear()
        for i in range(self._count):
            client = Client(socket.create_connection(("127.0.0.1", self._port)))
            client.socket.sendall(UPGRADE.encode())
            wait_for(client, b"\r\n\r\n")
            client.send({"type": "hello", "client": f"client-{i}"})
            begun = time.monotonic()
            client.send({"type": "subscribe", "shapes": self._shapes(i, table, number)})
            wait_for(client, b'"type":"up_to_date"')
            self._times.append(time.monotonic() - begun)
            client.socket.setblocking(False)
            self._clients[client.socket.fileno()] = client
            self._poll.register(client.socket.fileno(), select.EPOLLIN)
            self.report()  # whoever says nothing for long is cut, and many shapes take long

    def leave(self) -> None:
        """Close all."""
        for descriptor, client in self._clients.items():
            self._poll.unregister(descriptor)
            client.socket.close()
        self._clients.clear()

    def report(self) -> list[tuple[int, int]]:
        """Hand over all deliveries, and acknowledge them."""
        found = []
        for client in self._clients.values():
            found += client.take()
            client.send({"type": "ack", "n": client.counted})
        return found

    def run(self) -> None:
        """Note what comes, until stdin is closed."""
        stdin, clock = sys.stdin.fileno(), time.monotonic_ns
        while True:
            for descriptor, _ in self._poll.poll():
                client = self._clients.get(descriptor)
                if client is not None:
                    data = client.socket.recv(READ_BYTES)
                    client.chunks.append((clock(), data))
                    if not data:
                        raise RuntimeError("the server has closed a connection")
                elif descriptor == stdin and not self._obey(sys.stdin.readline()):
                    return

    def _obey(self, line: str) -> bool:
        match line.split():
            case ["join", table, number]:
                self.join(table, int(number))
                print("ready", flush=True)
            case ["leave"]:
                self.leave()
                print("gone", flush=True)
            case ["report"]:
                print(json.dumps(self.report()), flush=True)
            case ["times"]:
                print(json.dumps(self._times), flush=True)
            case _:
                return False
        return True


def wait_for(client: Client, text: bytes) -> None:
    data = b""
    while text not in data:
        chunk = client.socket.recv(READ_BYTES)
        data += chunk
        if not chunk or b'{"type":"error"' in data:
            raise RuntimeError(f"the server refused: {data!r}")


if __name__ == "__main__":
    gc.disable()
    Listeners(int(sys.argv[1]), int(sys.argv[2])).run()
