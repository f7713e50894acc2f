"""Goal: agents meet, whatever each of them does, and nobody pays for another's trouble.

Method: real sockets to a server in this loop; agents that act at once, come late, ask twice, die,
talk nonsense, or do not read.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.testsync.wire import (
    CLOSE,
    COUNT,
    READ,
    Addresses,
    agent,
    ask,
    basic,
    closing,
    count_is,
    counted,
    frame,
    raw,
    receive,
    request,
    server,
    shake_hands,
    wait,
)
from tidelab.coordinator.testsync.desk import now_ms
from tidelab.coordinator.testsync.storage import MemoryStorage
from tidelab.core.coord.testsync import meetings
from tidelab.core.coord.testsync.limits import START_DELAY_MS


async def told(client: ClientConnection) -> dict[str, Any]:
    """Return the content of the next text frame."""
    content = json.loads(await receive(client))["content"]
    assert isinstance(content, dict)
    return content


async def enter(stack: AsyncExitStack, at: Addresses, count: int, test_id: int = 1) -> list[Any]:
    return [await stack.enter_async_context(agent(at, test_id)) for _ in range(count)]


# --- meeting ---


@pytest.mark.parametrize(("agents", "rounds"), [(2, 1000), (50, 20), (500, 1)])
@on_loop
async def test_agents_meet_and_act_at_once(agents: int, rounds: int) -> None:
    """The original died of this: who is released asks at once, and goes on to the next place."""

    async def take_part(client: ClientConnection, starts: list[set[int]]) -> None:
        for number in range(rounds):
            before_ms = now_ms()
            await client.send(wait(f"round {number}", agents))
            content = await told(client)
            assert content["identifier"] == f"round {number}"
            starts[number].add(content["start_at"])
            assert before_ms + START_DELAY_MS <= content["start_at"] <= now_ms() + START_DELAY_MS
            assert await ask(client, COUNT) == counted(agents)

    starts: list[set[int]] = [set() for _ in range(rounds)]
    async with server() as at, AsyncExitStack() as stack:
        clients = await enter(stack, at, agents)
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(take_part(client, starts))
    assert [len(start) for start in starts] == [1] * rounds


@on_loop
async def test_who_comes_late_learns_when_the_others_started() -> None:
    async with server() as at, AsyncExitStack() as stack:
        first, second = await enter(stack, at, 2)
        await first.send(wait("x", 2))
        start_at = json.loads(await ask(second, wait("x", 2)))["content"]["start_at"]
        await first.close()
        await second.close()
        (late,) = await enter(stack, at, 1)
        await late.send(wait("x", 2))
        assert (await told(late))["start_at"] == start_at
        assert start_at <= now_ms() + START_DELAY_MS


@on_loop
async def test_an_agent_that_asks_twice_counts_once_and_is_told_once() -> None:
    async with server() as at, AsyncExitStack() as stack:
        eager, other = await enter(stack, at, 2)
        await eager.send(wait("x", 2))
        await eager.send(wait("x", 2))
        assert await ask(eager, COUNT) == counted(2)
        await other.send(wait("x", 2))
        assert (await told(eager))["start_at"] == (await told(other))["start_at"]
        assert await ask(eager, COUNT) == counted(2)


@pytest.mark.parametrize("way", ["abort", "close", "command"])
@on_loop
async def test_an_agent_that_is_gone_counts_nowhere(way: str) -> None:
    async with server() as at, AsyncExitStack() as stack:
        gone, first, second = await enter(stack, at, 3)
        await gone.send(wait("x", 2))
        assert await ask(gone, COUNT) == counted(3)
        match way:
            case "abort":
                gone.transport.abort()
            case "close":
                await gone.close()
            case "command":
                await gone.send(CLOSE)
                await gone.wait_closed()
        await count_is(first, 2)
        await first.send(wait("x", 2))
        assert await ask(first, COUNT) == counted(2)
        await second.send(wait("x", 2))
        assert (await told(first))["start_at"] == (await told(second))["start_at"]


# --- data ---


@on_loop
async def test_an_agent_registers_first_and_data_are_posted_afterwards() -> None:
    async with server() as at, agent(at, 7) as client:
        assert await ask(client, READ) == b""
        header = {"Authorization": basic()}
        missing = await request(at.http_url, "GET", "/tests/7", header)
        assert missing.status == 404
        posted = await request(at.http_url, "POST", "/tests/7", header, b"late")
        assert (posted.status, posted.body) == (200, b"late")
        assert await ask(client, READ) == b"late"
        again = await request(at.http_url, "POST", "/tests/7", header, b"later")
        assert again.status == 409


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@on_loop
async def test_an_update_may_be_larger_than_a_post(kind: str, tmp_path: Path) -> None:
    """The original took 12 MiB, byte for byte; then they are in the way of a post."""
    data = b'"' + b"a" * (12 * 1024 * 1024) + b'"'
    header = {"Authorization": basic()}
    async with server(tmp_path / "t.db" if kind == "sqlite" else None) as at:
        async with agent(at, 7) as client:
            await client.send(b'{"command":"update_data","content":%b}' % data, text=True)
            assert await ask(client, READ) == data
        assert (await request(at.http_url, "GET", "/tests/7", header)).body == data
        posted = await request(at.http_url, "POST", "/tests/7", header, b"x")
        assert posted.body == b'{"code":409,"error":"Provided test already has set data"}\n'


@on_loop
async def test_an_update_is_kept_though_its_agent_is_gone_at_once() -> None:
    async with server() as at, agent(at, 7) as reader:
        async with raw(at.ws_url) as (answers, writer):
            await shake_hands(answers, writer, 7)
            updates = [f'{{"command":"update_data","content":"{word}"}}' for word in ("my", "mine")]
            messages = b"".join(map(frame, [*updates, wait("x", 1)]))
            writer.write(messages + closing(b""))
            async with asyncio.timeout(10):
                assert (await answers.read()).endswith(b"\x88\x00")
        async with asyncio.timeout(10):
            while await ask(reader, READ) != b'"mine"':
                pass


# --- the server itself ---


@on_loop
async def test_a_bug_in_one_conversation_ends_that_one_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_self: MemoryStorage, _test_id: int) -> bytes:
        raise LookupError("a bug of ours")

    monkeypatch.setattr(MemoryStorage, "read", broken)
    async with server() as at, agent(at, 1) as other, agent(at, 1) as client:
        with pytest.raises(ConnectionClosed) as closed:
            await ask(client, READ)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        await count_is(other, 1)
    assert "a bug of ours" in caplog.text


@on_loop
async def test_old_data_are_forgotten_unless_somebody_uses_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meetings, "RETENTION_S", 0.1)
    async with server() as at, agent(at, 2) as client:
        header = {"Authorization": basic()}
        for path in ("/tests/1", "/tests/2"):
            assert (await request(at.http_url, "POST", path, header, b"x")).status == 200
        async with asyncio.timeout(10):
            while (await request(at.http_url, "GET", "/tests/1", header)).status == 200:
                pass
        assert await ask(client, READ) == b"x"
