"""Goal: whoever looks on sees a change at once, and a hundred of them are no burden.

Method: real sockets that keep one question open, as `tidelab agents watch` and the page do.
"""

from __future__ import annotations

import asyncio
import math
import time

from lab.tests.coordinator.kit import Agent, Json, http, running
from tidelab.limits import COORD_NEWS_S

OBSERVERS = 100


async def look(eye: Agent, seen: int) -> Json:
    return await eye.ok("inspect", run="r", after=seen, wait_s=30)


async def alarms(url: str) -> int:
    text = (await http(url, "GET", "/metrics"))[2].decode()
    return int(text.partition("\ntidelab_coordinator_alarms ")[2].partition("\n")[0])


def test_a_hundred_observers_see_a_change_at_once() -> None:
    async def scene() -> None:
        async with running() as url:
            a = await Agent.join(url, "a")
            eyes = [await Agent.open(url) for _ in range(OBSERVERS)]
            async with asyncio.TaskGroup() as tasks:
                seen = [(await look(eye, 0))["version"] for eye in eyes]
                looking = [
                    tasks.create_task(look(eye, version))
                    for eye, version in zip(eyes, seen, strict=True)
                ]
                while (await alarms(url)) < OBSERVERS:  # each question that waits has one
                    pass
                await a.ok("beat", doing="page 3")
                begin = time.monotonic()
                for each in looking:
                    assert (await each)["agents"][0]["did"] == "page 3"
            assert time.monotonic() - begin < 5, "nobody waited until its question was over"
            for agent in (a, *eyes):
                await agent.close()

    asyncio.run(scene())


def test_a_hundred_observers_of_a_run_that_never_rests_are_told_five_times_a_second() -> None:
    async def scene() -> None:
        async with running() as url:
            a = await Agent.join(url, "a")
            eyes = [await Agent.open(url) for _ in range(OBSERVERS)]
            told, last = [0] * OBSERVERS, [""] * OBSERVERS

            async def observe(number: int) -> None:
                seen = 0
                while last[number] != "over":
                    story = await look(eyes[number], seen)
                    seen, last[number] = story["version"], story["agents"][0]["did"]
                    told[number] += 1

            begin, changes = time.monotonic(), 0
            async with asyncio.TaskGroup() as tasks:
                for number in range(OBSERVERS):
                    tasks.create_task(observe(number))
                while time.monotonic() < begin + 1.5:
                    await a.ok("beat", doing=f"page {changes}")
                    changes += 1
                await a.ok("beat", doing="over")
            periods = math.ceil((time.monotonic() - begin) / COORD_NEWS_S)
            assert changes > 2 * periods, "it was busy"
            assert max(told) <= periods + 2, "the first one is told at once, and the last one"
            for agent in (a, *eyes):
                await agent.close()

    asyncio.run(scene())
