"""Goal: agents meet, whatever each of them does, and nobody pays for another's trouble.

Method: real sockets to a server in this loop; agents that act at once, come late, ask twice, die,
talk nonsense, or do not read.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.testsync.wire import (
    HANDSHAKE,
    agent,
    ask,
    basic,
    raw,
    read_answer,
    receive,
    request,
    server,
)
from tidelab.coordinator.testsync import connection
from tidelab.coordinator.testsync.server import Addresses, now_ms
from tidelab.core.coord.testsync.limits import SHARED_BYTES_MAX, START_DELAY_MS

COUNT = '{"command":"get_connection_count","content":{}}'
READ = '{"command":"read_data"}'
CLOSE = '{"command":"close"}'


def wait(identifier: str, target_count: int) -> str:
    content = {"identifier": identifier, "target_count": target_count}
    return json.dumps({"command": "wait_checkpoint", "content": content})


def counted(count: int) -> str:
    return f'{{"command":"get_connection_count","content":{{"count":{count}}}}}'


async def told(client: ClientConnection) -> dict[str, Any]:
    """Return the content of the next text frame."""
    content = json.loads(await receive(client))["content"]
    assert isinstance(content, dict)
    return content


async def enter(stack: AsyncExitStack, at: Addresses, count: int, test_id: int = 1) -> list[Any]:
    return [await stack.enter_async_context(agent(at, test_id)) for _ in range(count)]


async def count_is(client: ClientConnection, count: int) -> None:
    """Wait until a test has so many agents: who is cut is noticed by the loop, a moment later."""
    async with asyncio.timeout(10):
        while await ask(client, COUNT) != counted(count):
            pass


# --- meeting ---


@pytest.mark.parametrize(("agents", "rounds"), [(2, 1000), (50, 20), (500, 1)])
@on_loop
async def test_agents_meet_and_act_at_once(agents: int, rounds: int) -> None:
    """The original died of this: who is released asks at once, and goes on to the next place."""

    async def take_part(client: ClientConnection, starts: list[set[int]]) -> None:
        for number in range(rounds):
            await client.send(wait(f"round {number}", agents))
            content = await told(client)
            assert content["identifier"] == f"round {number}"
            starts[number].add(content["start_at"])
            assert content["start_at"] > now_ms()
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


@on_loop
async def test_an_update_is_kept_though_its_agent_is_gone_at_once() -> None:
    async with server() as at, agent(at, 7) as reader:
        async with raw(at.ws_url) as (answers, writer):
            await shake_hands(answers, writer, 7)
            updates = [f'{{"command":"update_data","content":"{word}"}}' for word in ("my", "mine")]
            messages = b"".join(map(frame, [*updates, wait("x", 1)]))
            writer.write(messages + closing(b""))
            assert await answers.readexactly(2) == b"\x88\x00"
        async with asyncio.timeout(10):
            while await ask(reader, READ) != b'"mine"':
                pass


# --- nonsense ---


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"command":"nope","content":{}}', 404),
        ('{"command":""}', 404),
        ('{"command":"GET_CONNECTION_COUNT"}', 404),
        ("hello", 400),
        ("[1,2]", 400),
        ("null", 400),
        ("", 400),
        ('{"command":5}', 400),
        ('{"command":"close"} x', 400),
        ('\ufeff{"command":"close"}', 400),
        (b"\xff\xfe", 400),
        ('{"command":"wait_checkpoint"}', 400),
        ('{"command":"wait_checkpoint","content":"str"}', 400),
        ('{"command":"wait_checkpoint","content":{"target_count":1.5}}', 400),
        ('{"command":"wait_checkpoint","content":{"target_count":99999999999999999999}}', 400),
        (wait("x", 1_000_000), 400),
        (wait("x" * 5000, 1), 413),
        ('{"command":"update_data","content":"' + "a" * SHARED_BYTES_MAX + '"}', 413),
    ],
    ids=lambda value: str(value)[:40] or "empty",
)
@on_loop
async def test_nonsense_is_answered_and_the_socket_stays_open(
    message: str | bytes, code: int
) -> None:
    async with server() as at, agent(at, 1) as client:
        answer = json.loads(await ask(client, message))
        assert answer["command"] == "error"
        assert answer["content"]["code"] == code
        assert answer["content"]["error"]
        assert await ask(client, COUNT) == counted(1)
        assert await ask(client, READ) == b""


@on_loop
async def test_a_message_beyond_all_bounds_ends_its_own_connection_only() -> None:
    async with server() as at, agent(at, 1) as client, agent(at, 1) as other:
        with pytest.raises(ConnectionClosed) as closed:
            await ask(client, "a" * (17 * 1024 * 1024))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        await count_is(other, 1)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x81\x02hi",  # not masked
        b"\x83\x80\0\0\0\0",  # an opcode that there is not
        b"\xc1\x80\0\0\0\0",  # a reserved bit
        b"\x80\x80\0\0\0\0",  # a continuation of nothing
        b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126,  # a long ping
        b"\x88\x82\0\0\0\0\x03\xe7",  # close code 999
    ],
)
@on_loop
async def test_frames_that_break_the_rules_end_their_own_connection_only(garbage: bytes) -> None:
    async with server() as at, agent(at, 1) as other, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        await count_is(other, 2)
        writer.write(garbage)
        async with asyncio.timeout(5):
            end = await answers.read()
        assert end[0] == 0x88
        assert int.from_bytes(end[2:4]) == 1002
        await count_is(other, 1)


# --- the end of a connection ---


@on_loop
async def test_a_close_handshake_ends_within_a_second() -> None:
    async with server() as at, agent(at, 1) as client:
        async with asyncio.timeout(1):
            await client.close(1000, "bye")
        assert client.close_code == 1000
        assert client.close_reason == ""


@on_loop
async def test_the_close_command_is_answered_by_a_close_frame() -> None:
    async with server() as at, agent(at, 1) as client:
        with pytest.raises(ConnectionClosed) as closed:
            await ask(client, CLOSE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


@pytest.mark.parametrize(
    ("payload", "answer"), [(b"", b"\x88\x00"), (b"\x03\xe8bye", b"\x88\x02\x03\xe8")]
)
@on_loop
async def test_a_close_is_answered_with_its_code_and_the_socket_is_closed(
    payload: bytes, answer: bytes
) -> None:
    async with server() as at, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        writer.write(closing(payload))
        async with asyncio.timeout(1):
            assert await answers.read() == answer


@on_loop
async def test_an_agent_that_does_not_answer_a_close_is_cut() -> None:
    async with server() as at, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        writer.write(frame(CLOSE))
        async with asyncio.timeout(5):
            assert await answers.read() == b"\x88\x02\x03\xe8"


@on_loop
async def test_agents_are_told_when_the_server_stops() -> None:
    async with AsyncExitStack() as stack:
        async with server() as at:
            (client,) = await enter(stack, at, 1)
            closing_ = asyncio.get_running_loop().create_task(client.wait_closed())
        await closing_
        assert (client.close_code, client.close_reason) == (1001, "the server stops")


# --- slow agents, and those that cannot be heard ---


@on_loop
async def test_an_agent_that_does_not_read_is_not_obeyed_and_delays_nobody() -> None:
    async with server() as at, agent(at, 1) as other, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        data = '"' + "a" * (1 << 20) + '"'
        await other.send(f'{{"command":"update_data","content":{data}}}')
        assert await ask(other, READ) == data.encode()
        asked = frame(READ) * 100
        writer.write(asked + frame('{"command":"update_data","content":"slow"}'))
        for number in range(20):
            assert await ask(other, COUNT) == counted(2)
            assert json.loads(await ask(other, wait(str(number), 1)))["content"]["finished"]
        assert await ask(other, READ) == data.encode()
        answer = Frame(Opcode.BINARY, data.encode()).serialize(mask=False)
        async with asyncio.timeout(20):
            assert await answers.readexactly(100 * len(answer)) == answer * 100
        async with asyncio.timeout(10):
            while await ask(other, READ) != b'"slow"':
                pass


@on_loop
async def test_an_agent_that_only_sends_is_left_waiting() -> None:
    async with server() as at, agent(at, 1) as other, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        update = frame('{"command":"update_data","content":"' + "a" * (1 << 20) + '"}')
        writer.write(update + frame(READ) * 100 + update * 64)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await writer.drain()
        await count_is(other, 2)


@on_loop
async def test_an_agent_is_pinged_and_need_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PING_S", 0.01)
    async with server() as at, agent(at, 1) as other, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        async with asyncio.timeout(5):
            assert await answers.readexactly(60) == b"\x89\x04ping" * 10
        assert await ask(other, COUNT) == counted(2)


@on_loop
async def test_a_host_that_acknowledges_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A window that stays closed is to the kernel what a host without power is: no progress."""
    monkeypatch.setattr(connection, "GONE_S", 0.5)
    monkeypatch.setattr(connection, "PING_S", 0.1)
    async with server() as at, agent(at, 1) as other, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        data = '"' + "a" * (8 << 20) + '"'
        await other.send(f'{{"command":"update_data","content":{data}}}')
        await count_is(other, 2)
        writer.transport.pause_reading()  # type: ignore[attr-defined] # the stream would read on
        writer.write(frame(READ) * 3)
        await count_is(other, 1)


# --- bytes ---


async def shake_hands(
    answers: asyncio.StreamReader, writer: asyncio.StreamWriter, test_id: int = 1
) -> None:
    fields = {"Host": "x", "Authorization": basic(), **HANDSHAKE}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"GET /register/{test_id} HTTP/1.1\r\n{head}\r\n".encode())
    assert (await read_answer(answers)).status == 101


def frame(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)


def closing(payload: bytes) -> bytes:
    return Frame(Opcode.CLOSE, payload).serialize(mask=True)
