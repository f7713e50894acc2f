"""Goal: `/metrics` counts both halves of the server. Method: do each thing that is counted once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

from lab.tests.coordinator.kit import Agent, call, http
from lab.tests.coordinator.testsync.wire import COUNT, Addresses, agent, ask, basic, request, server
from lab.tests.coordinator.testsync.wire import wait as checkpoint

OURS = {"Authorization": basic()}


async def metrics(at: Addresses) -> str:
    _, head, body = await http(at.http_url, "GET", "/metrics")
    assert head["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


def assert_counted(text: str, prefix: str, lines: Iterable[str]) -> None:
    for line in lines:
        assert f"\n{prefix}_{line}\n" in text, (line, text)


def test_what_v2_does_is_counted() -> None:
    async def scene() -> None:
        async with server() as at:
            a = await Agent.join(at.http_url, "a")
            assert_counted(
                await metrics(at), "tidelab_coordinator", ["agents 1", "messages_total 1"]
            )
            await a.ok("wait", barrier="b", target=1)
            await a.ask("wait", barrier="b", target=2, timeout_s=0.01)
            await a.ask("wait", barrier="b", target=0)
            await a.send("wait", barrier="b", target=2)
            await a.ok("beat")
            assert (await call(at.http_url, "GET", "/v2/nothing"))["status"] == 404
            assert_counted(await metrics(at), "tidelab_coordinator", (
                "runs 1", "barriers_waiting 1", 'meetings_ended_total{how="released"} 1',
                'meetings_ended_total{how="timeout"} 1', 'refused_total{code="bad_request"} 1',
                'refused_total{code="not_found"} 1', 'refused_total{code="timeout"} 1',
                "messages_total 5",
            ))  # fmt: skip
            await a.close()

    asyncio.run(scene())


def test_what_old_clients_do_is_counted() -> None:
    async def scene() -> None:
        async with server() as at, agent(at, 1) as one, agent(at, 2) as two:
            for status in (200, 409):
                posted = await request(at.http_url, "POST", "/tests/1", OURS, b"x")
                assert posted.status == status
            await two.send('{"command":"update_data","content":1}')
            await ask(two, checkpoint("x", 1))
            await ask(one, "nonsense")
            await one.send(checkpoint("x", 2))
            await ask(one, COUNT)
            assert (await request(at.http_url, "GET", "/tests/1")).status == 401
            assert (await request(at.ws_url, "GET", "/register/1")).status == 401
            assert (await request(at.ws_url, "GET", "/nope")).status == 404
            assert_counted(await metrics(at), "tidelab_testsync", (
                "agents 2", "tests 2", "checkpoints 2", "data_writes_total 2",
                'refused_total{code="400"} 1', 'refused_total{code="401"} 2',
                'refused_total{code="404"} 1', 'refused_total{code="409"} 1',
            ))  # fmt: skip
            await one.close()
            async with asyncio.timeout(10):
                while "\ntidelab_testsync_agents 1\n" not in await metrics(at):
                    pass

    asyncio.run(scene())


def test_each_number_stands_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "coordination.md").read_text()

    async def scene() -> None:
        async with server() as at:
            names = re.findall(r"# TYPE tidelab_[a-z0-9]+_(\w+) ", await metrics(at))
            assert len(names) == 18
            assert [name for name in names if not re.search(rf"`{name}(`|\{{)", page)] == []

    asyncio.run(scene())
