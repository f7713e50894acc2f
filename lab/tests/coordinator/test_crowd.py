"""Goal: however many meet, all are released once, at one moment, and all still answer afterwards.

Method: the coordinator is a process of its own; agents are real sockets.
"""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from lab.tests.coordinator.descriptors import raise_descriptors
from lab.tests.coordinator.kit import Agent, Json, process

EFFORT = int(os.environ.get("TIDEWIRE_EFFORT", "1"))
OPENING = 100  # sockets that are opened at the same time: a crowd comes in through a door


async def gathered(url: str, count: int) -> list[Agent]:
    agents: list[Agent] = []
    for first in range(0, count, OPENING):
        async with asyncio.TaskGroup() as tasks:
            joining = [
                tasks.create_task(Agent.join(url, f"a{n}"))
                for n in range(first, min(first + OPENING, count))
            ]
        agents += [each.result() for each in joining]
    return agents


async def meet(agents: list[Agent], barrier: str, lead_ms: int) -> None:
    """Let all wait at a barrier, and hold what they are told against what must be so."""
    count = len(agents)
    asked = [
        await agent.send("wait", barrier=barrier, target=count, lead_ms=lead_ms) for agent in agents
    ]
    begin_ms = time.time() * 1000
    told: list[Json] = []
    for agent, id in zip(agents, asked, strict=True):
        told.append((await agent.answer(id))["ok"])
    starts = {each["start_at_ms"] for each in told}
    assert len(starts) == 1, "all start at one moment"
    assert {each["rank"] for each in told} == set(range(count)), "all are released once"
    assert starts.pop() >= begin_ms + lead_ms - 5_000, "the clocks of one machine agree"
    assert len({each["generation"] for each in told}) == 1


async def all_answer(agents: list[Agent]) -> None:
    sequences = {(await agent.ok("raise", signal="alive"))["sequence"] for agent in agents}
    assert sequences == set(range(1, len(agents) + 1))
    for agent in agents:
        assert not agent.pushes


@pytest.mark.soak
@pytest.mark.timeout(900)  # why: fifty thousand releases on a busy machine, none of which hangs
def test_five_hundred_agents_meet_again_and_again() -> None:
    async def scene() -> None:
        async with process() as server:
            agents = await gathered(server.url, 500)
            for _ in range(min(100, 10 * EFFORT)):
                await meet(agents, "round", 500)
            await all_answer(agents)

    asyncio.run(scene())


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_five_thousand_agents_meet_in_one_barrier() -> None:
    async def scene() -> None:
        async with process() as server:
            agents = await gathered(server.url, min(5_000, 500 * EFFORT))
            await meet(agents, "all", 500)
            await all_answer(agents)

    assert raise_descriptors() > 12_000, "two ends of five thousand sockets need descriptors"
    asyncio.run(scene())


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_agents_that_act_the_moment_they_are_released() -> None:
    async def scene() -> None:
        async with process() as server:
            agents, rounds = await gathered(server.url, 8), min(1_000, 100 * EFFORT)
            async with asyncio.TaskGroup() as tasks:
                for agent in agents:
                    tasks.create_task(act(agent, len(agents), rounds))
            told = await agents[0].ok("await", signal="acted", count=rounds * len(agents))
            assert told["count"] == rounds * len(agents)

    asyncio.run(scene())


async def act(agent: Agent, count: int, rounds: int) -> None:
    for generation in range(1, rounds + 1):
        released = await agent.ok("wait", barrier="b", target=count, lead_ms=0)
        assert released["generation"] == generation
        await agent.ok("raise", signal="acted")
