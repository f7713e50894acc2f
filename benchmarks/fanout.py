"""How many deliveries a second of one event to 1 000 sockets, against a bare epoll server in C?

The event is a commit of about 200 bytes. The subject is our real path in a process of its own
(`processes/node.py`): assembler, hub, uvicorn's transport, WebSocket. The baseline
(`native/sender.c`) does nothing but send() the same number of bytes. Both are received by the same
C program with the same handshake and acknowledgements (`native/receiver.c`).

`fanout` is one event in each call and each write; `fanout_coalesced` is 64 transactions in one call
of `Hub.deliver`, as one drain of a busy replication socket brings them, against 64 frames in one
send().

What is timed: deliveries that the receiver has counted between two looks at its counter, after a
warm-up; the kernel schedules both sides alike. Servers and sockets live through all rounds.
"""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import (
    Figure,
    Helper,
    conclude,
    has_uvloop,
    native,
    options,
    python,
    rate,
    rounded,
    take_turns,
    tell,
)
from benchmarks.proc import cpu_s

CONNECTIONS, COALESCED = 1_000, 64
WARM_UP_S = 0.3
GOALS = {"fanout": (1, ">= 0.75"), "fanout_coalesced": (COALESCED, ">= 0.7")}


@dataclass
class Side:
    """A server, the receiver that listens to it, and what was noted about its rounds."""

    server: Helper
    receiver: Helper
    stalls: int = 0
    cpu_us: list[float] = field(default_factory=list)


def main() -> None:
    parser = options(__doc__, seconds=1.5, repeat=6)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    arguments = parser.parse_args()
    sender, receiver = native("sender.c"), native("receiver.c")
    if sender is None or receiver is None:
        conclude(
            [Figure(name, None, "deliveries/s", None, goal) for name, (_, goal) in GOALS.items()]
        )
        return
    with python("node") as node:
        port, payload_bytes = node.read().split()
        with Helper([sender, payload_bytes]) as bare:
            count = str(arguments.connections)
            tell(f"fanout: twice {count} connections, events of {payload_bytes} bytes")
            with (
                Helper([receiver, bare.read(), count, "ticks"]) as bare_receiver,
                Helper([receiver, port, count, "ticks"]) as our_receiver,
            ):
                baseline, subject = Side(bare, bare_receiver), Side(node, our_receiver)
                for side in (baseline, subject):
                    side.receiver.read()
                figures = measure(subject, baseline, arguments.seconds, arguments.repeat)
    for figure in figures:
        figure.extra.update(connections=arguments.connections, uvloop=has_uvloop())
        figure.extra.update(payload_bytes=int(payload_bytes))
    conclude(figures)


def measure(subject: Side, baseline: Side, seconds: float, repeat: int) -> list[Figure]:
    """Answer both questions on the same sockets."""
    figures = []
    for name, (batch, goal) in GOALS.items():
        subject.cpu_us.clear()
        subject.stalls = 0
        subjects, baselines = take_turns(
            repeat,
            name,
            functools.partial(our_deliveries, subject, batch, seconds),
            functools.partial(deliveries, baseline, batch, seconds),
        )
        figure = rate(name, "deliveries/s", subjects, baselines, goal)
        figure.extra.update(
            fell_behind=subject.stalls, cpu_us_per_delivery=rounded(min(subject.cpu_us))
        )
        figures.append(figure)
    return figures


def our_deliveries(side: Side, batch: int, seconds: float) -> float:
    """Measure our side, and what the server's process spent on it."""
    before = cpu_s(side.server.pid)
    count_before = looked_at(side.receiver)[1]
    found = deliveries(side, batch, seconds)
    spent = cpu_s(side.server.pid) - before
    side.cpu_us.append(spent * 1e6 / (looked_at(side.receiver)[1] - count_before))
    return found


def deliveries(side: Side, batch: int, seconds: float) -> float:
    """Let one side run; return what its receiver counted in a second."""
    side.server.ask(f"go {batch}")
    time.sleep(WARM_UP_S)
    at, count, _ = looked_at(side.receiver)
    time.sleep(seconds)
    until, more, _ = looked_at(side.receiver)
    events, *stalls = side.server.ask("stop").split()
    if stalls:
        side.stalls = int(stalls[0])
    while looked_at(side.receiver)[2] < int(events):
        time.sleep(0.01)  # the sockets still hold some; the next round begins with empty ones
    return (more - count) / (until - at) * 1e9


def looked_at(receiver: Helper) -> tuple[int, int, int]:
    """Return time in ns, deliveries so far, and those of the connection that has the fewest."""
    at, count, _, least, _ = map(int, receiver.ask("look").split())
    return at, count, least


if __name__ == "__main__":
    main()
