"""Goal: code that blocks, in any number of threads, gets what the asynchronous agent gets.

Method: a coordinator in a process of its own. What has to do with signals is a program of its own.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.tests.coordinator.kit import DEADLINE_S, Process
from tidelab.agent import AgentEnded, BarrierBroken, BlockingAgent, Conflict, Entry, Event


@pytest.fixture
def url() -> Iterator[str]:
    async def start() -> Process:
        return await Process.start()

    with asyncio.Runner() as runner:
        server = runner.run(start())
        yield server.url
        runner.run(server.end(signal.SIGKILL))


def agent(url: str, name: str, **more: Any) -> BlockingAgent:
    return BlockingAgent(url, run="r", name=name, **more)


def test_everything_that_the_asynchronous_agent_does(url: str) -> None:
    with agent(url, "a") as a, agent(url, "b") as b, ThreadPoolExecutor() as pool:
        other = pool.submit(b.meet, "m", target=2, lead_s=0.1)
        start = a.meet("m", target=2, lead_s=0.1)
        assert other.result(DEADLINE_S).generation == start.generation == 1
        assert start.start_at <= time.time()
        waiting = pool.submit(a.wait_signal, "s", count=2)
        assert (b.raise_signal("s"), b.raise_signal("s"), waiting.result(DEADLINE_S)) == (1, 2, 2)
        assert (a.publish("t", "x"), a.publish("t", "y")) == (1, 2)
        events = b.follow("t")
        assert [next(events), next(events)] == [Event(1, "x"), Event(2, "y")]
        entries = b.watch("k")
        assert next(entries) == Entry(None, 0)
        version = a.put("k", 1, if_version=0)
        assert next(entries) == a.get("k") == Entry(1, version)
        with pytest.raises(Conflict):
            a.put("k", 2, if_version=0)
        assert a.change("k", lambda value: value + 1).value == 2
        a.delete("k")
        a.doing("cancelling")
        told = pool.submit(pytest.raises, BarrierBroken, b.barrier, "m", target=3)
        while not any(line.roll for line in a.inspect().barriers):
            pass
        a.cancel("m", "enough")
        assert "cancelled by a: enough" in str(told.result(DEADLINE_S).value)


def test_a_barrier_that_names_nobody_is_for_the_roster(url: str) -> None:
    with agent(url, "a", roster=["a"]) as a:
        assert a.barrier("m").arrived == 1


def test_threads_share_one_agent(url: str) -> None:
    with agent(url, "a", is_concurrent=True) as a, ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: a.raise_signal("s"), range(200)))
    assert sorted(numbers) == list(range(1, 201))


def test_whoever_waits_in_another_thread_is_let_go(url: str) -> None:
    with ThreadPoolExecutor() as pool:
        with agent(url, "a") as a:
            waiting = pool.submit(a.barrier, "m", target=2)
            while not a.inspect().barriers:
                pass
        with pytest.raises(AgentEnded, match="agent a was closed"):
            waiting.result(DEADLINE_S)
        with pytest.raises(AgentEnded, match="agent a was closed"):
            a.get("k")


def test_a_function_that_asks_its_own_agent_is_told_instead_of_waiting_for_itself(
    url: str,
) -> None:
    with (
        agent(url, "a") as a,
        pytest.raises(RuntimeError, match="may not ask its own agent"),
    ):
        a.change("n", lambda _: a.raise_signal("s"))


def test_an_agent_that_is_not_open_says_so(url: str) -> None:
    a = agent(url, "a")
    with pytest.raises(AgentEnded, match="use `with BlockingAgent"):
        a.get("k")
    with a:
        pass
    with pytest.raises(AgentEnded, match="was open before: make another"), a:
        pass


def test_without_a_coordinator_it_raises_where_the_block_begins() -> None:
    with (
        pytest.raises(AgentEnded, match="no coordinator at"),
        agent("http://127.0.0.1:1", "a", open_timeout_s=0.1),
    ):
        pass
    assert "agent a" not in {thread.name for thread in threading.enumerate()}


def test_an_error_of_the_block_goes_its_way_and_the_others_are_told(url: str) -> None:
    with agent(url, "a") as a:
        with pytest.raises(ZeroDivisionError), agent(url, "b"):
            raise ZeroDivisionError
        with pytest.raises(BarrierBroken, match="ended with ZeroDivisionError"):
            a.barrier("m", roster=["a", "b"])


PROGRAM = """\
import sys
from tidelab.agent import BlockingAgent

with BlockingAgent(sys.argv[1], run="r", name="b") as agent:
    print("here", flush=True)
    agent.barrier("m", target=2)
"""


def test_ctrl_c_ends_a_program_that_waits_and_the_others_are_told(url: str) -> None:
    with (
        agent(url, "a") as a,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as program,
    ):
        while not a.inspect().barriers:
            assert program.poll() is None
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=DEADLINE_S)
        assert program.returncode == -signal.SIGINT
        assert b"KeyboardInterrupt" in err
        with pytest.raises(BarrierBroken, match="ended with KeyboardInterrupt"):
            a.barrier("m", roster=["a", "b"])
