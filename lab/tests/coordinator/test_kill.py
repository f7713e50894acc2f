"""Goal: what was answered is there after a kill; a request whose answer was lost can be repeated.

Method: SIGKILL between any two answers, the same file, the same agents.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from lab.tests.coordinator.kit import Agent, Json, Process, call, process


def test_everything_that_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    async def scene() -> None:
        path = str(tmp_path / "c.db")
        async with process(path) as server:
            agent, told = await Agent.join(server.url, "a"), Json()
            for number in range(20):
                await agent.ok("put", key=f"k{number}", value={"n": number})
                await agent.ok("raise", signal="s")
                await agent.ok("publish", topic="t", data=number)
                told = await agent.ok("wait", barrier="b", target=1, once=f"w{number}")
            await server.end(signal.SIGKILL)
        async with process(path) as server:
            agent = await Agent.join(server.url, "a")
            story = (await call(server.url, "GET", "/v2/runs/r"))["ok"]
            assert (story["counts"]["keys"], story["signals"]) == (20, {"s": 20})
            assert (await agent.ok("get", key="k19"))["value"] == {"n": 19}
            events = (await agent.ok("read", topic="t"))["events"]
            assert [event["data"] for event in events] == list(range(20))
            again = await agent.ok("wait", barrier="b", target=1, once="w19")
            del again["start_in_ms"], told["start_in_ms"]
            assert again == told
            assert (await agent.ok("wait", barrier="b", target=1))["generation"] == 21
            assert await server.end() == 0

    asyncio.run(scene())


def test_nothing_is_lost_or_done_twice_over_many_kills(tmp_path: Path) -> None:
    async def scene() -> None:
        server = await Process.start(str(tmp_path / "c.db"))
        port, raised = server.port, set[int]()
        try:
            async with asyncio.TaskGroup() as tasks:
                done = [tasks.create_task(work(port, name, raised)) for name in ("a", "b")]
                kills = 0
                while not all(task.done() for task in done):
                    await asyncio.sleep(0.2)  # why: work goes on until the kill, wherever that is
                    await server.end(signal.SIGKILL)
                    server = await Process.start(str(tmp_path / "c.db"), port)
                    kills += 1
            assert kills >= 2, "it was over before it was killed"
            url = server.url
            story = (await call(url, "GET", "/v2/runs/r"))["ok"]
            assert story["signals"] == {"s": 2 * ROUNDS}
            assert raised == set(range(1, 2 * ROUNDS + 1)), "each number was given out once"
        finally:
            await server.end(signal.SIGKILL)

    asyncio.run(scene())


ROUNDS = 200


async def work(port: int, name: str, raised: set[int]) -> None:
    """Meet and count, and ask again under the same name whenever the answer is lost."""
    agent: Agent | None = None
    for number in range(1, ROUNDS + 1):
        for do, fields in (
            ("wait", {"barrier": "b", "target": 2, "lead_ms": 0}),
            ("raise", {"signal": "s"}),
        ):
            answer: Json = {}
            while not answer:
                try:
                    if agent is None:
                        agent = await Agent.join(f"http://127.0.0.1:{port}", name)
                    answer = await agent.ok(do, once=f"{name}.{number}", **fields)
                except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                    agent = None
                    await asyncio.sleep(0.05)  # why: the server is starting again
            if do == "wait":
                assert answer["generation"] == number
            else:
                raised.add(answer["sequence"])
