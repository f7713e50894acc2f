"""How much memory does a connection take that has one shape and nothing to say?

10 000 clients in C (`native/receiver.c`, in several processes) follow the same table, on which
nothing happens. Each is a WebSocket in plain text, without compression.

What is measured: the memory that the server's process shares with nobody (USS), after its garbage
collector has run, less what it was with one such client, for each of the others. The kernel's own
buffers of the sockets are not in it. The baseline is a bare server on the same event loop that
gives the same clients the same handshake, and remembers nothing (`processes/bare.py`).
"""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.measure import (
    Figure,
    Helper,
    conclude,
    has_uvloop,
    native,
    options,
    python,
    rounded,
    tell,
)
from benchmarks.proc import own_kib
from tidewire.embedded import EmbeddedPostgres

CONNECTIONS, PROCESSES = 10_000, 4
# What server and clients need beside their sockets.
SPARE_DESCRIPTORS = 100
TABLE, GOAL = "quiet", "<= 8 KiB"


def main() -> None:
    parser = options(__doc__, seconds=0, repeat=1)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="(no --seconds)")
    arguments = parser.parse_args()
    receiver = native("receiver.c")
    count = allowed(arguments.connections)
    if receiver is None:
        conclude([Figure("idle", None, "KiB", None, GOAL)])
        return
    with EmbeddedPostgres() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE TABLE {TABLE} (id int8 PRIMARY KEY)".encode())
        with python("engine", server.url) as engine:
            ours = measure(engine, receiver, count)
    with python("bare") as bare:
        floor = measure(bare, receiver, count)
    extra: dict[str, object] = {"connections": count, "uvloop": has_uvloop()}
    conclude([Figure("idle", rounded(ours), "KiB", rounded(floor), GOAL, extra)])


def allowed(wanted: int) -> int:
    """Raise the limit of descriptors, which processes inherit; return how many clients fit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    fit = wanted if most == resource.RLIM_INFINITY else min(wanted, most - SPARE_DESCRIPTORS)
    if fit < wanted:
        tell(f"idle: {fit} clients instead of {wanted}: ulimit -Hn allows {most} descriptors")
    return fit


def measure(server: Helper, receiver: Path, count: int) -> float | None:
    """Let all clients come; return the KiB that each of them takes."""
    port = server.read()
    with contextlib.ExitStack() as clients:

        def come(some: int) -> None:
            helper = clients.enter_context(Helper([receiver, port, str(some), TABLE]))
            helper.read()
            tell(f"idle: {some} more are there")

        come(1)
        before = collected_kib(server)
        for i in range(PROCESSES):
            come(count // PROCESSES + (i < count % PROCESSES))
        after = collected_kib(server)
    return None if before is None or after is None else (after - before) / count


def collected_kib(server: Helper) -> int | None:
    """Return the memory of the server alone, without garbage."""
    server.ask("collect")
    return own_kib(server.pid)


if __name__ == "__main__":
    main()
