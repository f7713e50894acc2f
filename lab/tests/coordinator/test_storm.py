"""Goal: whoever floods, stalls or breaks off delays nobody else, and all of it is forgotten.

Method: a coordinator in this loop, sockets written by hand, and an agent beside them that is
answered all the while.
"""

from __future__ import annotations

import contextlib

import pytest

from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.kit import Agent, connect_slowly, masked, running


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
