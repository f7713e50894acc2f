"""Goal: whoever calls does not notice that a connection broke, or that the coordinator was killed.

Method: SIGKILL in the middle of whatever is going on, the same file and port, the same agents.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from pathlib import Path

import pytest

from lab.tests.agent.kit import agent, play
from lab.tests.coordinator.kit import Process, call, process, running
from tidelab.agent import Agent, AgentEnded, BarrierBroken, Entry, RunForgotten

ROUNDS = 40


def test_a_coordinator_that_is_killed_again_and_again_is_not_noticed(tmp_path: Path) -> None:
    numbers: list[int] = []

    async def work(each: Agent) -> None:
        for number in range(1, ROUNDS + 1):
            start = await each.barrier("m", target=2, lead_s=0)
            assert (start.generation, start.arrived) == (number, 2)
            numbers.append(await each.raise_signal("s"))
            await each.change("n", lambda value: (value or 0) + 1)
            await each.publish("t", [each.name, number])

    async def scene() -> None:
        server = await Process.start(str(tmp_path / "c.db"))
        port, kills = server.port, 0
        try:
            async with agent(server.url, "a") as a, agent(server.url, "b") as b:
                async with asyncio.TaskGroup() as tasks:
                    working = [tasks.create_task(work(each)) for each in (a, b)]
                    while not all(task.done() for task in working):
                        if len(numbers) < kills * 20:
                            await asyncio.sleep(0.01)  # why: the kill comes wherever the work is
                            continue
                        await server.end(signal.SIGKILL)
                        server = await Process.start(str(tmp_path / "c.db"), port)
                        kills += 1
                assert kills >= 2, "it was over before it was killed"
                assert sorted(numbers) == list(range(1, 2 * ROUNDS + 1)), "each was given once"
                assert (await a.get("n")).value == 2 * ROUNDS
                events = a.follow("t")
                told = [(await anext(events)).data for _ in range(2 * ROUNDS)]
                for name in ("a", "b"):
                    assert [n for who, n in told if who == name] == list(range(1, ROUNDS + 1))
        finally:
            await server.end(signal.SIGKILL)

    play(scene())


def test_who_waits_while_the_coordinator_is_away_goes_on_waiting(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            process(str(tmp_path / "c.db")) as server,
            agent(server.url, "a") as a,
            asyncio.TaskGroup() as tasks,
        ):
            entries, events = a.watch("k"), a.follow("t")
            assert await anext(entries) == Entry(None, 0)
            met = tasks.create_task(a.barrier("m", roster=["a", "b"]))
            signalled = tasks.create_task(a.wait_signal("s"))

            async def first_event() -> object:
                return (await anext(events)).data

            event = tasks.create_task(first_event())
            while not (await a.inspect()).barriers:
                pass
            await server.end(signal.SIGKILL)
            again = await Process.start(str(tmp_path / "c.db"), server.port)
            try:
                async with agent(again.url, "b") as b:
                    await b.raise_signal("s")
                    await b.publish("t", 1)
                    await b.put("k", 2)
                    assert (await b.barrier("m", roster=["a", "b"])).arrived == 2
                    assert (await met).generation == 1
                    assert await signalled == 1
                    assert await event == 1
                    assert (await anext(entries)).value == 2
            finally:
                await again.end(signal.SIGKILL)

    play(scene())


def test_a_coordinator_that_kept_the_run_in_memory_is_not_mistaken_for_the_same() -> None:
    """Others may be past the barrier at which this agent waits: it must not go on waiting."""

    async def scene() -> None:
        async with (
            process() as server,
            agent(server.url, "a") as a,
            asyncio.TaskGroup() as tasks,
        ):
            events = a.follow("t")
            waiting = [
                tasks.create_task(_forgotten(a.barrier("m", target=2))),
                tasks.create_task(_forgotten(a.wait_signal("s"))),
                tasks.create_task(_forgotten(anext(events))),
            ]
            while not (await a.inspect()).barriers:
                pass
            await server.end(signal.SIGKILL)
            again = await Process.start("", server.port)
            try:
                async with agent(again.url, "b") as b:
                    for each in waiting:
                        assert "has forgotten the run r that a was in" in await each
                    await _forgotten(a.put("k", 1))
                    assert [line.agent for line in (await b.inspect()).agents] == ["b"]
            finally:
                await again.end(signal.SIGKILL)

    async def _forgotten(call: Awaitable[object]) -> str:
        with pytest.raises(RunForgotten) as forgotten:
            await call
        return str(forgotten.value)

    play(scene())


def test_beyond_its_lease_an_agent_ends_and_says_why() -> None:
    async def scene() -> None:
        async with process() as server, agent(server.url, "a", lease_s=0.5) as a:
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(_ended(a))
                while not (await a.inspect()).barriers:
                    pass
                await server.end(signal.SIGKILL)
            told = r"was away for longer than the lease of 0\.5 s: .*nobody answers there"
            with pytest.raises(AgentEnded, match=told):
                await a.get("k")
            assert "longer than the lease" in waiting.result()

    async def _ended(a: Agent) -> str:
        with pytest.raises(AgentEnded) as ended:
            await a.barrier("m", target=2)
        return str(ended.value)

    play(scene())


def test_an_agent_waits_for_a_coordinator_that_is_just_starting() -> None:
    async def scene() -> None:
        first = await Process.start()
        await first.end(signal.SIGKILL)
        async with asyncio.TaskGroup() as tasks:
            joining = tasks.create_task(_join(first.url))
            again = await Process.start("", first.port)
            try:
                assert await joining == 1
            finally:
                await again.end(signal.SIGKILL)

    async def _join(url: str) -> int:
        async with agent(url, "a") as a:
            return await a.raise_signal("s")

    play(scene())


def test_a_wait_that_is_cancelled_gives_up_its_place() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a, agent(url, "b") as b:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await a.barrier("m", target=2)
            with pytest.raises(BarrierBroken) as alone:
                await b.barrier("m", target=2, timeout_s=0.1)
            assert alone.value.arrived == ("b",)
            assert alone.value.missing == ("a",)

    play(scene())


def test_who_leaves_is_gone_at_once() -> None:
    async def scene() -> None:
        async with running() as url:
            async with agent(url, "a"):
                pass
            story = (await call(url, "GET", "/v2/runs/r"))["ok"]
            assert [line["state"] for line in story["agents"]] == ["left"]

    play(scene())
