"""How long until a server that sleeps, with a full window of 256 MiB, tells the first commit?

The whole engine on an embedded PostgreSQL falls asleep when it is left alone for a second. A commit
is made, a client comes back to the position that it knew, and two things are timed from the moment
at which it connects:

- `wake_welcome`: milliseconds until it is welcome;
- `wake_commit`: milliseconds until it has the commit.

Both stand against those of the same server with a window of a few commits.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
import websockets
from psycopg.rows import TupleRow
from websockets.typing import Subprotocol

from benchmarks.measure import (
    Figure,
    conclude,
    has_uvloop,
    native,
    options,
    python,
    run,
    spread,
    tell,
)
from benchmarks.proc import MIB
from benchmarks.restart import WINDOW_MIB, fill_log, get
from benchmarks.wal import create_orders
from tidewire.embedded import EmbeddedPostgres

GOALS = {"wake_welcome": "<= 100 ms", "wake_commit": "<= 1000 ms"}
ASLEEP_DEADLINE_S = 60
Cursor = dict[str, object]


def main() -> None:
    parser = options(__doc__, seconds=0, repeat=5)
    parser.add_argument("--mib", type=int, default=WINDOW_MIB, help="to fill (no --seconds)")
    arguments = parser.parse_args()
    receiver = native("receiver.c")
    if receiver is None:
        conclude([Figure(name, None, "ms", None, goal) for name, goal in GOALS.items()])
        return
    settings = {"fsync": "off", "max_wal_size": "4GB"}
    with (
        EmbeddedPostgres(settings=settings) as server,
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        create_orders(connection)
        with python("engine", server.url, "default", "1") as engine:
            port = engine.read()
            short = rounds(port, connection, arguments.repeat)
            tell(f"wake: filling a window of {arguments.mib} MiB")
            status = fill_log(port, receiver, connection, arguments.mib * MIB)
            tell(f"wake: {status['log_commits']} commits in the log")
            full = rounds(port, connection, arguments.repeat)
    conclude([describe(name, n, full, short) for n, name in enumerate(GOALS)])


def rounds(
    port: str, connection: psycopg.Connection[TupleRow], repeat: int
) -> list[tuple[float, float]]:
    """Wake a server up some times."""
    cursor = run(lambda: follow(port))
    found = []
    for turn in range(1, repeat + 1):
        fall_asleep(port)
        connection.execute("CALL load(%s, 1, 1)", [-1 - time.time_ns() % 2**31])
        welcome_ms, commit_ms, cursor = run(lambda known=cursor: come_back(port, known))  # type: ignore[misc]
        found.append((welcome_ms, commit_ms))
        tell(f"wake: round {turn}: welcome after {welcome_ms:.1f} ms, commit after {commit_ms:.0f}")
    return found


def fall_asleep(port: str) -> None:
    """Wait until the server sleeps; to ask for its status wakes nobody."""
    deadline = time.monotonic() + ASLEEP_DEADLINE_S
    while time.monotonic() < deadline:
        status = json.loads(get(f"http://127.0.0.1:{port}", "/v1/status"))
        if status["state"] == "asleep":
            return
        time.sleep(0.05)  # nobody is told
    raise RuntimeError("the server does not sleep")


async def follow(port: str) -> Cursor:
    """Follow the table, and return where the log is."""
    return (await come_back(port, None))[2]


async def come_back(port: str, cursor: Cursor | None) -> tuple[float, float, Cursor]:
    """Connect and go on; return when we were welcome, when a commit came, and where it was."""
    shape: Cursor = {"id": "a", "table": "orders", "initial": False}
    if cursor is not None:
        shape.update(cursor)
    begun = time.perf_counter()
    async with websockets.connect(
        f"ws://127.0.0.1:{port}/v1/sync", subprotocols=[Subprotocol("tidewire.v1")], max_size=None
    ) as socket:
        await socket.send('{"type":"hello","client":"bench"}')
        welcome = json.loads(await socket.recv())
        welcome_ms = (time.perf_counter() - begun) * 1000
        await socket.send(json.dumps({"type": "subscribe", "shapes": [shape]}))
        async with asyncio.timeout(ASLEEP_DEADLINE_S):
            accepted = message = json.loads(await socket.recv())
            while message["type"] != ("up_to_date" if cursor is None else "commit"):
                message = json.loads(await socket.recv())
        commit_ms = (time.perf_counter() - begun) * 1000
    start = {"epoch": welcome["epoch"], "lsn": message["lsn"], "tag": message["tag"]}
    return welcome_ms, commit_ms, {"from": start, "fingerprint": accepted["fingerprint"]}


def describe(
    name: str, place: int, full: list[tuple[float, float]], short: list[tuple[float, float]]
) -> Figure:
    """Make a figure of the medians."""
    ours, others = [times[place] for times in full], [times[place] for times in short]
    extra: dict[str, object] = {"subject": spread(ours), "against": spread(others)}
    extra["uvloop"] = has_uvloop()
    return Figure(
        name, statistics.median(ours), "ms", statistics.median(others), GOALS[name], extra
    )


if __name__ == "__main__":
    main()
