"""Goal: whatever agents share, every promise holds over many kills; nobody has to know of them.

Method: agents do everything at once while the coordinator is killed, or stopped, at random moments;
what each of them was told is compared in the end. Chance has a seed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from lab.tests.agent.kit import agent
from lab.tests.coordinator.kit import Process, process
from tidelab.agent import Agent, Start

EFFORT = int(os.environ.get("TIDEWIRE_EFFORT", "1"))
NAMES = ("a", "b", "c", "d")
ROUNDS = min(1_000, 25 * EFFORT)


class Told:
    """What all agents were told."""

    def __init__(self) -> None:
        self.starts: dict[int, list[Start]] = defaultdict(list)
        self.sequences: list[int] = []
        self.offsets: dict[int, tuple[str, int]] = {}
        self.read: dict[str, list[tuple[int, tuple[str, int]]]] = defaultdict(list)
        self.written: list[int] = []
        self.watched: dict[str, list[int]] = defaultdict(list)


async def share(each: Agent, told: Told) -> None:
    for number in range(1, ROUNDS + 1):
        told.sequences.append(await each.raise_signal("s"))
        offset = await each.publish("t", [each.name, number])
        assert offset not in told.offsets, "an offset is of one event"
        told.offsets[offset] = (each.name, number)
        told.written.append((await each.change("n", lambda value: (value or 0) + 1)).version)


async def meet(each: Agent, told: Told) -> None:
    for number in range(1, ROUNDS + 1):
        start = await each.barrier("m", target=len(NAMES), lead_s=0)
        assert start.generation == number
        told.starts[number].append(start)


async def follow(each: Agent, told: Told) -> None:
    async for event in each.follow("t"):
        assert event.missed == 0
        told.read[each.name].append((event.offset, tuple(event.data)))
        if len(told.read[each.name]) == ROUNDS * len(NAMES):
            return


async def watch(each: Agent, told: Told) -> None:
    async for entry in each.watch("n"):
        told.watched[each.name].append(entry.version)
        if entry.value == ROUNDS * len(NAMES):
            return


def judge(told: Told) -> None:
    everything = ROUNDS * len(NAMES)
    for starts in told.starts.values():
        assert sorted(str(start.rank) for start in starts) == list("0123"), "a rank each"
        moments = [start.start_at for start in starts]
        assert max(moments) - min(moments) < 1.0, "one moment, as far as clocks were compared"
    assert sorted(told.sequences) == list(range(1, everything + 1)), "each number once"
    assert sorted(told.offsets) == list(range(1, everything + 1)), "each event once"
    for name in NAMES:
        assert told.read[name] == sorted(told.offsets.items()), f"{name} read another story"
        assert told.watched[name] == sorted(set(told.watched[name])), "versions only grow"
    assert len(set(told.written)) == everything, "each change has a version of its own"


async def killing(server: Process, storage: str, told: Told, random: Random) -> int:
    """Kill or stop the coordinator after every few numbers that it gave out; return how often."""
    kills = 0
    while len(told.sequences) < ROUNDS * len(NAMES):
        enough = len(told.sequences) + random.randint(1, 40)
        while len(told.sequences) < min(enough, ROUNDS * len(NAMES)):
            await asyncio.sleep(random.uniform(0, 0.02))  # why: the kill comes at any moment
        await server.end(random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
        await server.again(storage)
        kills += 1
    return kills


@pytest.mark.soak
@pytest.mark.timeout(900)  # why: thousands of rounds, each of which may meet a kill
def test_every_promise_holds_over_many_kills(tmp_path: Path) -> None:
    told, storage = Told(), str(tmp_path / "c.db")

    async def scene() -> int:
        async with process(storage) as server, AsyncExitStack() as held:
            each = [agent(server.url, name, is_concurrent=True) for name in NAMES]
            for one in each:
                await held.enter_async_context(one)
            async with asyncio.TaskGroup() as tasks:
                kills = tasks.create_task(killing(server, storage, told, Random(7)))
                for one in each:
                    for work in (share, meet, follow, watch):
                        tasks.create_task(work(one, told))
            return kills.result()

    kills = asyncio.run(scene())
    assert kills >= 3, "it was over before it was killed"
    judge(told)
