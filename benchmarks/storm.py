"""How long do 2 000 clients need that lost their connection and all come back at once?

Each shows the same cursor and has missed 100 commits of one row. The subject is the whole engine.
The clients are one program in C (`native/receiver.c`) that opens all its sockets in one moment.
What is timed is from its start until each has been told `up_to_date`. The baseline is a bare epoll
server in C (`native/sender.c`) that has as many bytes ready and sends them to whoever shakes hands.

While they come back somebody holds the table in ACCESS EXCLUSIVE mode: a server that read one row
of it, for one client, would wait for ever.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from benchmarks.measure import (
    Figure,
    Helper,
    conclude,
    has_uvloop,
    native,
    options,
    python,
    rounded,
    spread,
    take_turns,
)
from benchmarks.proc import cpu_s
from tidewire.embedded import EmbeddedPostgres

CLIENTS, MISSED, EVENT_BYTES = 2_000, 100, 200
TABLE, GOAL, DEADLINE_S = "ticks", "<= 5 s", 60


@dataclass
class Stage:
    """What the rounds share."""

    url: str
    engine: Helper
    port: str
    receiver: Path
    clients: int
    written: int = 0
    cpu_s: list[float] = field(default_factory=list)
    bytes_each: float = 0.0


def main() -> None:
    parser = options(__doc__, seconds=0, repeat=5)
    parser.add_argument("--clients", type=int, default=CLIENTS, help="(no --seconds)")
    arguments = parser.parse_args()
    sender, receiver = native("sender.c"), native("receiver.c")
    if sender is None or receiver is None:
        conclude([Figure("storm", None, "s", None, GOAL)])
        return
    with EmbeddedPostgres(settings={"fsync": "off"}) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE TABLE {TABLE} (id int8 PRIMARY KEY, note text)".encode())
        with python("engine", server.url) as engine:
            stage = Stage(server.url, engine, engine.read(), receiver, arguments.clients)
            subjects, baselines = take_turns(
                arguments.repeat,
                "storm",
                functools.partial(our_storm, stage),
                functools.partial(bare_storm, sender, receiver, arguments.clients),
            )
    figure = Figure(
        "storm",
        statistics.median(subjects),
        "s",
        statistics.median(baselines),
        GOAL,
        {
            "subject": spread(subjects),
            "against": spread(baselines),
            "clients": arguments.clients,
            "missed": MISSED,
            "cpu_s": rounded(statistics.median(stage.cpu_s)),
            "bytes_each": rounded(stage.bytes_each),
            "uvloop": has_uvloop(),
        },
    )
    conclude([figure])


def our_storm(stage: Stage) -> float:
    """Let all come back to the engine; return the seconds until the last one is up to date."""
    cursor = newest(stage.port)
    with psycopg.connect(stage.url, autocommit=True) as connection:
        for _ in range(MISSED):
            stage.written += 1
            note = "x" * (EVENT_BYTES // 2)
            connection.execute(f"INSERT INTO {TABLE} VALUES ({stage.written}, '{note}')".encode())
    newest(stage.port)  # so the log has all of it
    before = cpu_s(stage.engine.pid)
    with psycopg.connect(stage.url) as lock:
        lock.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE".encode())
        seconds, found = storm(stage.receiver, stage.port, stage.clients, cursor)
    stage.cpu_s.append(cpu_s(stage.engine.pid) - before)
    stage.bytes_each = found / stage.clients
    return seconds


def bare_storm(sender: Path, receiver: Path, clients: int) -> float:
    """Let all come back to a server that has nothing to do but send."""
    with Helper([sender, str(EVENT_BYTES), str(MISSED)]) as server:
        seconds, _ = storm(receiver, server.read(), clients, ("", "0/0", "", ""))
    return seconds


def storm(
    receiver: Path, port: str, clients: int, cursor: tuple[str, str, str, str]
) -> tuple[float, int]:
    """Start all clients; return the seconds until they are up to date, and the bytes they got."""
    begun = time.perf_counter()
    with Helper([receiver, port, str(clients), TABLE, *cursor]) as storming:
        storming.read()
        seconds = time.perf_counter() - begun
        _, _, size, least, _ = map(int, storming.ask("look").split())
    if least != MISSED:
        raise RuntimeError(f"{MISSED} commits were missed, and somebody has got {least}")
    return seconds, size


def newest(port: str) -> tuple[str, str, str, str]:
    """Return the cursor of a client that has just become live."""
    url = f"ws://127.0.0.1:{port}/v1/sync"
    with connect(url, subprotocols=[Subprotocol("tidewire.v1")]) as client:
        client.send(json.dumps({"type": "hello", "client": "scout"}))
        shape = {"id": "a", "table": TABLE, "initial": False}
        client.send(json.dumps({"type": "subscribe", "shapes": [shape]}))
        epoch = fingerprint = ""
        while True:
            message = json.loads(client.recv(timeout=DEADLINE_S))
            epoch = message.get("epoch", epoch)
            fingerprint = message.get("fingerprint", fingerprint)
            if message["type"] == "up_to_date":
                return epoch, message["lsn"], message["tag"], fingerprint


if __name__ == "__main__":
    main()
