"""Goal: whoever floods, stalls or breaks off delays nobody else, and all of it is forgotten.

Method: a coordinator in this loop, sockets written by hand, and an agent beside them that is
answered all the while.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

import tidelab.agent
from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.kit import (
    DEADLINE_S,
    Agent,
    connect_raw,
    connect_slowly,
    http,
    masked,
    process,
    running,
)
from tidelab.coordinator import keeper, listener
from tidelab.coordinator.storage.memory import MemoryStorage
from tidelab.coordinator.v2 import socket as v2_socket
from tidelab.core.coord.record import Write
from tidelab.core.coord.testsync.limits import REQUEST_S


@pytest.mark.parametrize(
    ("flood", "answer"),
    [
        (b"\x89\x80\0\0\0\0", b"\x8a\x00"),
        (masked({"do": "list", "id": 7}), b'"id":7'),
        (b"\x01\x80\0\0\0\0" + b"\0\x80\0\0\0\0" * 8 + b"\x80\x80\0\0\0\0", b'"error"'),
    ],
    ids=["pings", "requests", "fragments"],
)
@on_loop
async def test_an_agent_that_never_rests_delays_nobody(flood: bytes, answer: bytes) -> None:
    async with running() as url:
        other, noisy = await Agent.join(url, "other"), await connect_slowly(url, 1 << 20)
        told = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                noisy.send(flood * 1_000)  # as much as there is room for: it is there at once
        assert (await other.ok("raise", signal="s"))["sequence"] == 1
        with contextlib.suppress(BlockingIOError):
            while True:
                told += noisy.recv(1 << 16)
        assert told.count(answer) < 200, "the other one was answered first"
        noisy.close()
        await other.close()


@on_loop
async def test_a_client_that_asks_on_and_reads_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "ANSWER_S", 0.2)
    async with running() as url:
        value = b'"' + b"x" * 1_000_000 + b'"'
        await http(url, "PUT", "/v2/runs/r/keys/k", value)
        noisy, loop = await connect_raw(url, 4096), asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_S):
                while True:  # it ends when the server has cut it
                    await loop.sock_sendall(
                        noisy, b"GET /v2/runs/r/keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    )
        noisy.close()


def test_without_descriptors_new_ones_are_turned_away_and_nobody_else_notices() -> None:
    async def scene() -> None:
        async with process() as server, AsyncExitStack() as opened:
            a, b = await Agent.join(server.url, "a"), await Agent.join(server.url, "b")
            _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (40, hard))
            crowd = [opened.enter_context(await connect_raw(server.url, 4096)) for _ in range(60)]
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(REQUEST_S / 2):  # before those who say nothing are cut
                with contextlib.suppress(ConnectionResetError):
                    assert await loop.sock_recv(crowd[-1], 1) == b""
            waiting = await a.send("wait", barrier="b", target=2)
            assert (await b.ok("wait", barrier="b", target=2))["arrived"] == 2
            assert (await a.answer(waiting))["ok"]["rank"] == 0
            for each in crowd:
                each.close()
            async with tidelab.agent.Agent(server.url, run="r", name="new") as new:
                assert await new.raise_signal("s") == 1
            assert await server.end() == 0

    asyncio.run(scene())


@on_loop
async def test_who_was_not_read_while_the_disk_stood_still_is_not_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(v2_socket, "COORD_PING_S", 0.1)
    monkeypatch.setattr(keeper, "COORD_PENDING_MAX", 0)
    disk = asyncio.Event()

    async def commit(storage: MemoryStorage, writes: Sequence[Write]) -> None:
        await disk.wait()

    async with running() as url:
        loop = asyncio.get_running_loop()
        patient = await connect_slowly(url)
        monkeypatch.setattr(MemoryStorage, "commit", commit)
        await loop.sock_sendall(patient, masked({"do": "join", "run": "r", "agent": "patient"}))
        told = b""
        while told.count(b"\x89\x00") < 3:  # at least two of them while nobody listens
            told += await loop.sock_recv(patient, 4096)
            await loop.sock_sendall(patient, b"\x8a\x80\0\0\0\0")
        disk.set()
        time.sleep(0.2)  # noqa: ASYNC251  # why: the next ping falls due before anything is read
        await loop.sock_sendall(patient, masked({"id": 7, "do": "raise", "signal": "s"}))
        async with asyncio.timeout(DEADLINE_S):
            while b'"sequence":1' not in told:
                received = await loop.sock_recv(patient, 4096)
                assert received, "it was cut, with its answers to all pings unread"
                told += received
        patient.close()
