"""Goal: a connection ends as it should, and one that is slow, mute or broken harms nobody else.

Method: sockets at which every byte is seen, to a server in this loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.testsync.wire import (
    CLOSE,
    COUNT,
    READ,
    agent,
    ask,
    closing,
    count_is,
    counted,
    frame,
    raw,
    server,
    shake_hands,
    wait,
)
from tidelab.coordinator.testsync import desk
from tidelab.core.coord.testsync.limits import MESSAGE_BYTES_MAX


@on_loop
async def test_a_message_beyond_all_bounds_ends_its_own_connection_only() -> None:
    async with server() as at, agent(at, 1) as client, agent(at, 1) as other:
        with pytest.raises(ConnectionClosed) as closed:
            await ask(client, "a" * (MESSAGE_BYTES_MAX + 1))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        await count_is(other, 1)


@on_loop
async def test_a_ping_is_answered_and_a_message_may_come_in_pieces() -> None:
    async with server() as at, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        writer.write(Frame(Opcode.PONG, b"x").serialize(mask=True))
        writer.write(Frame(Opcode.PING, b"abc").serialize(mask=True))
        writer.write(Frame(Opcode.TEXT, COUNT[:9].encode(), fin=False).serialize(mask=True))
        writer.write(Frame(Opcode.CONT, COUNT[9:].encode()).serialize(mask=True))
        answer = Frame(Opcode.TEXT, counted(1).encode()).serialize(mask=False)
        async with asyncio.timeout(5):
            assert await answers.readexactly(5) == b"\x8a\x03abc"
            assert await answers.readexactly(len(answer)) == answer


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
async def test_an_agent_that_closes_before_it_has_read_is_sent_the_rest() -> None:
    async with server() as at, agent(at, 1) as other, raw(at.ws_url) as (answers, writer):
        data = '"' + "a" * (8 << 20) + '"'
        await other.send(f'{{"command":"update_data","content":{data}}}')
        await shake_hands(answers, writer)
        assert await ask(other, COUNT) == counted(2)
        writer.write(frame(READ) + closing(b"\x03\xe8"))
        async with asyncio.timeout(20):
            told = await answers.read()
        assert (
            told == Frame(Opcode.BINARY, data.encode()).serialize(mask=False) + b"\x88\x02\x03\xe8"
        )


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
            client = await stack.enter_async_context(agent(at, 1))
            closing_ = asyncio.get_running_loop().create_task(client.wait_closed())
        await closing_
        assert (client.close_code, client.close_reason) == (1001, "the server stops")


@on_loop
async def test_what_an_agent_was_sent_before_a_stop_reaches_it_behind_its_own_goodbye() -> None:
    data = '"' + "a" * (8 << 20) + '"'
    async with AsyncExitStack() as stack:
        async with server() as at:
            other = await stack.enter_async_context(agent(at, 1))
            await other.send(f'{{"command":"update_data","content":{data}}}')
            answers, writer = await stack.enter_async_context(raw(at.ws_url))
            await shake_hands(answers, writer)
            assert await ask(other, COUNT) == counted(2)
            writer.write(frame(READ))
            first = await answers.readexactly(1)
            writer.write(closing(b"\x03\xe8"))

            async def read_late() -> bytes:
                await other.wait_closed()  # it has heard of the stop, so we were told, too
                return first + await answers.read()

            reading = asyncio.get_running_loop().create_task(read_late())
        async with asyncio.timeout(20):
            sent = Frame(Opcode.BINARY, data.encode()).serialize(mask=False)
            assert await reading == sent + b"\x88\x12\x03\xe9the server stops"


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


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@on_loop
async def test_many_who_read_the_same_data_slowly_share_them(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t.db" if kind == "sqlite" else None
    async with server(path) as at, agent(at, 1) as other, AsyncExitStack() as stack:
        data = '"' + "a" * (8 << 20) + '"'
        await other.send(f'{{"command":"update_data","content":{data}}}')
        slow = [await stack.enter_async_context(raw(at.ws_url)) for _ in range(20)]
        for answers, writer in slow:
            await shake_hands(answers, writer)
        slow[0][1].write(frame(wait("x", 2)))
        tracemalloc.start()
        for answers, writer in slow:
            writer.write(frame(READ))
            assert await answers.readexactly(2) == b"\x82\x7f"
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 4 * len(data), "each holds less than two megabytes of its own"
        told = await ask(other, wait("x", 2))
        assert isinstance(told, str)
        rest = Frame(Opcode.BINARY, data.encode()).serialize(mask=False)[2:]
        rest += Frame(Opcode.TEXT, told.encode()).serialize(mask=False)
        async with asyncio.timeout(20):
            assert await slow[0][0].readexactly(len(rest)) == rest


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
async def test_an_agent_sends_faster_than_the_disk_writes(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with server(path) as at, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        update = frame('{"command":"update_data","content":"' + "a" * (1 << 20) + '"}')
        with contextlib.closing(sqlite3.connect(path)) as thief:
            thief.execute("BEGIN EXCLUSIVE")
            writer.write(update * 64)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await writer.drain()


@on_loop
async def test_an_agent_is_pinged_and_need_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "PING_S", 0.01)
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
    monkeypatch.setattr(desk, "GONE_S", 0.5)
    monkeypatch.setattr(desk, "PING_S", 0.1)
    async with server() as at, agent(at, 1) as other, raw(at.ws_url) as (answers, writer):
        await shake_hands(answers, writer)
        data = '"' + "a" * (8 << 20) + '"'
        await other.send(f'{{"command":"update_data","content":{data}}}')
        await count_is(other, 2)
        writer.transport.pause_reading()  # type: ignore[attr-defined] # the stream would read on
        writer.write(frame(READ) * 3)
        await count_is(other, 1)
