"""Goal: agents meet and share data from Python, whatever happens to their connections.

Method: a real coordinator, in this loop or in a process that is killed.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from lab.tests.agent.kit import agent, play
from lab.tests.coordinator.kit import running
from tidelab.agent import (
    AgentEnded,
    BarrierBroken,
    Conflict,
    Denied,
    Entry,
    Event,
    SignalTimeout,
)
from tidelab.coordinator import Options
from tidelab.coordinator.v2.gate import Tokens
from tidelab.core.coord.answer import RunStory


def test_agents_meet_and_go_on_at_one_moment() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a, agent(url, "b") as b:
            for generation in (1, 2, 3):
                async with asyncio.TaskGroup() as tasks:
                    both = [
                        tasks.create_task(each.meet("m", target=2, lead_s=0.2)) for each in (a, b)
                    ]
                first, second = (task.result() for task in both)
                assert (first.generation, second.generation) == (generation, generation)
                assert (first.rank, second.rank, first.arrived) == (0, 1, 2)
                assert abs(first.start_at - second.start_at) <= first.error_s + second.error_s
                assert 0 <= time.time() - first.start_at < 0.2, "it waited for the start, no longer"

    play(scene())


def test_a_barrier_alone_does_not_wait_for_the_start() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a:
            start = await a.barrier("b", roster=["a"], lead_s=30)
            assert 29 < start.start_at - time.time() < 31

    play(scene())


def test_who_waits_in_vain_is_told_who_is_missing_and_what_it_does() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a:
            async with agent(url, "b") as b:
                await b.doing("loading page 3")
                with pytest.raises(BarrierBroken) as timeout:
                    await a.barrier("m", roster=["a", "b", "c"], timeout_s=0.1)
                assert timeout.value.code == "timeout"
                assert timeout.value.missing == ("b", "c")
                told = str(timeout.value).splitlines()
                assert told[0] == "barrier m, generation 1: timed out after 0.1 s"
                assert told[1] == "  arrived: 1 of 3 (a)"
                assert told[2].startswith("  missing: b (loading page 3 (")
                assert told[3] == "  missing: c (was never here)"
            with pytest.raises(BarrierBroken) as broken:
                await a.barrier("m", roster=["a", "b"])
            assert (broken.value.code, broken.value.dead) == ("broken", ("b",))

    play(scene())


def test_an_agent_that_fails_leaves_and_says_so() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a:
            waits = asyncio.Event()

            async def fail() -> None:
                async with agent(url, "b"):
                    await waits.wait()
                    raise ZeroDivisionError("a secret")

            async def wait() -> BarrierBroken:
                waits.set()
                with pytest.raises(BarrierBroken) as broken:
                    await a.barrier("m", roster=["a", "b"])
                return broken.value

            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(wait())
                with pytest.raises(ZeroDivisionError):
                    await fail()
            error = waiting.result()
            assert "ended with ZeroDivisionError" in str(error)
            assert "secret" not in str(error)

    play(scene())


def test_signals_count_and_can_be_waited_for() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a, agent(url, "b") as b:
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(a.wait_signal("ready", count=2))
                assert await b.raise_signal("ready") == 1
                assert await b.raise_signal("ready") == 2
            assert waiting.result() == 2
            with pytest.raises(SignalTimeout, match="raised 2 of 3 times"):
                await a.wait_signal("ready", count=3, timeout_s=0.05)

    play(scene())


def test_a_topic_is_followed_in_order_from_where_one_likes() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a, agent(url, "b") as b:
            for number in range(3):
                assert await b.publish("log", {"n": number}) == number + 1
            old, new = a.follow("log"), a.follow("log", offset=None)
            assert [await anext(old) for _ in range(3)] == [
                Event(number + 1, {"n": number}) for number in range(3)
            ]
            async with asyncio.TaskGroup() as tasks:
                first_new = tasks.create_task(_next(new))
                while "asked to read" not in _doing(await b.inspect(), "a"):
                    pass
                await b.publish("log", "last")
            assert (first_new.result(), await anext(old)) == (Event(4, "last"), Event(4, "last"))

    async def _next(events: Any) -> Event:
        return await anext(events)

    def _doing(story: RunStory, name: str) -> str:
        return next(line.doing for line in story.agents if line.agent == name)

    play(scene())


def test_events_that_are_no_longer_kept_are_counted() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a:
            for number in range(1_003):
                await a.publish("log", number)
            events = a.follow("log")
            assert [await anext(events), await anext(events)] == [
                Event(4, 3, missed=3),
                Event(5, 4),
            ]
            assert await anext(a.follow("log", offset=3)) == Event(4, 3, missed=1)

    play(scene())


def test_keys_have_versions_that_are_compared() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a:
            assert await a.get("k") == Entry(None, 0)
            version = await a.put("k", {"n": 1}, if_version=0)
            assert await a.get("k") == Entry({"n": 1}, version)
            with pytest.raises(Conflict) as conflict:
                await a.put("k", 2, if_version=0)
            assert conflict.value.version == version
            await a.put("k", None)
            assert (await a.get("k")).version > version, "null is a value"
            await a.delete("k")
            with pytest.raises(Denied, match="there is no key k"):
                await a.delete("k")

    play(scene())


def test_many_change_one_key_and_no_change_is_lost() -> None:
    async def scene() -> None:
        async with running() as url:

            async def count(name: str) -> None:
                async with agent(url, name) as each:
                    for _ in range(20):
                        await each.change("n", lambda value: (value or 0) + 1)

            async with asyncio.TaskGroup() as tasks:
                for number in range(5):
                    tasks.create_task(count(f"a{number}"))
            async with agent(url, "a") as a:
                assert (await a.get("n")).value == 100

    play(scene())


def test_what_json_has_no_number_for_is_refused_and_not_made_null() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a:
            for wrong in (float("nan"), {"x": [None, float("inf")]}):
                with pytest.raises(ValueError, match="not JSON compliant"):
                    await a.put("k", wrong)
                with pytest.raises(ValueError, match="not JSON compliant"):
                    await a.publish("t", wrong)
            assert await a.put("k", {"x": [None, 1.5]}) == 1
            assert (await a.get("k")).value == {"x": [None, 1.5]}

    play(scene())


def test_a_key_is_watched() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as a, agent(url, "b") as b:
            entries = a.watch("k")
            assert await anext(entries) == Entry(None, 0)
            version = await b.put("k", 1)
            assert await anext(entries) == Entry(1, version)
            for number in range(100):
                version = await b.put("k", number)
            # What comes in the end is the newest; what was in between may have been skipped.
            while (entry := await anext(entries)).version < version:
                pass
            assert entry == Entry(99, version)
            await b.delete("k")
            assert await anext(entries) == Entry(None, 0)

    play(scene())


def test_a_second_agent_of_one_name_ends_the_first() -> None:
    async def scene() -> None:
        async with running() as url, agent(url, "a") as first:
            waiting = first.barrier("m", target=2)
            async with asyncio.TaskGroup() as tasks:
                told = tasks.create_task(_error_of(waiting))
                while (await first.inspect()).barriers == ():
                    pass
                async with agent(url, "a"):
                    assert "give every process a name of its own" in str(await told)
            with pytest.raises(AgentEnded, match="another connection is a of run r now"):
                await first.get("k")

    async def _error_of(waiting: Any) -> AgentEnded:
        with pytest.raises(AgentEnded) as ended:
            await waiting
        return ended.value

    play(scene())


def test_without_a_coordinator_it_says_what_to_do() -> None:
    async def scene() -> None:
        with pytest.raises(
            AgentEnded, match=r"no coordinator at http://127.0.0.1:1 .*agents serve"
        ):
            async with agent("http://127.0.0.1:1", "a", open_timeout_s=0.2):
                pass

    play(scene())
    with pytest.raises(ValueError, match="is like http://"):
        agent("127.0.0.1:9104", "a")


def test_the_address_of_the_page_is_as_good() -> None:
    async def scene() -> None:
        async with running() as url, agent(f"{url}/v2/", "a") as a:
            assert (await a.inspect()).run == "r"

    play(scene())


def test_an_agent_is_open_once_and_before_that_it_says_so() -> None:
    async def scene() -> None:
        async with running() as url:
            with pytest.raises(AgentEnded, match="not open: use `async with Agent"):
                await agent(url, "a").get("k")
            with pytest.raises(AgentEnded, match="not open: use `async with Agent"):
                await anext(agent(url, "a").watch("k"))
            async with agent(url, "a") as a:
                pass
            with pytest.raises(AgentEnded, match="agent a was closed"):
                await a.get("k")
            with pytest.raises(AgentEnded, match="agent a was open before: make another"):
                async with a:
                    pass

    play(scene())


def test_who_may_not_come_in_is_told_why() -> None:
    async def scene() -> None:
        async with running(Options(http_port=0, tokens=Tokens(observer=("see",)))) as url:
            with pytest.raises(AgentEnded, match=r"it answers 401: a valid token is needed"):
                async with agent(url, "a"):
                    pass
            with pytest.raises(AgentEnded, match=r"a may not join run r: .*role agent is needed"):
                async with agent(url, "a", token="see"):
                    pass
            async with agent(url, "a", token="see", role="observer") as a:
                with pytest.raises(Denied) as denied:
                    await a.raise_signal("s")
                assert denied.value.code == "forbidden"

    play(scene())
