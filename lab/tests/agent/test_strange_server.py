"""Goal: whatever is at the address, an agent says in time what is wrong, and shows no secret.

Method: servers that say nothing, nonsense or too much, each on a real socket.
"""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from lab.tests.agent.kit import agent, play
from lab.tests.coordinator.kit import process
from tidelab.agent import AgentEnded

JOINED = b'{"id":1,"ok":{"run":"r","agent":"a","now_ms":1,"lease_s":15.0,"began_ms":1}}'
NO_COORDINATOR = "this is no coordinator of version 2"


@asynccontextmanager
async def saying(*frames: bytes, port: int = 0) -> AsyncIterator[str]:
    """Serve sockets on which the first request is answered so, and then nothing."""

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        for frame in frames:
            await socket.send(frame, text=True)
        await socket.wait_closed()

    async with serve(talk, "127.0.0.1", port) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ((), "within 0.2 s: no answer"),
        ((b"",), NO_COORDINATOR),
        ((b"[]",), NO_COORDINATOR),
        ((b"\xff",), NO_COORDINATOR),
        ((b'{"id":1,"ok":{"run":"\xff"}}',), NO_COORDINATOR),
        ((b'{"x":' + b"[" * 100_000,), NO_COORDINATOR),
        ((b'{"event":"changed"}',), NO_COORDINATOR),
        ((JOINED.replace(b"15.0", b"1e999"),), NO_COORDINATOR),
    ],
    ids=[
        "silent",
        "empty",
        "array",
        "bytes",
        "bytes in a text",
        "deep",
        "half an event",
        "endless",
    ],
)
def test_what_is_no_coordinator_is_told_in_time(frames: tuple[bytes, ...], words: str) -> None:
    async def scene() -> None:
        async with saying(*frames) as url:
            with pytest.raises(AgentEnded, match=re.escape(words)):
                async with agent(url, "a", open_timeout_s=0.2):
                    pass

    play(scene())


def test_nonsense_ends_whoever_waits() -> None:
    async def scene() -> None:
        async with saying(JOINED, b"[]") as url, agent(url, "a") as a:
            with pytest.raises(AgentEnded, match=NO_COORDINATOR):
                await a.get("k")

    play(scene())


def test_whoever_takes_the_place_of_a_coordinator_and_says_nothing_is_given_up() -> None:
    async def scene() -> None:
        async with process() as server, agent(server.url, "a", lease_s=0.5) as a:
            await server.end(signal.SIGKILL)
            async with saying(port=server.port):
                with pytest.raises(AgentEnded, match=r"lease of 0\.5 s: no answer"):
                    await a.get("k")

    play(scene())


@pytest.mark.parametrize("url", ["127.0.0.1:9104", "http://h:99999", "http://[::1", "ftp://h", ""])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(ValueError, match="the URL of a coordinator is like"):
        agent(url, "a")


@pytest.mark.parametrize("token", ["secret-secret-secret\n", "secret secret", "sécret", ""])
def test_a_token_that_cannot_be_one_is_told_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="the token is empty, or has a line end") as told:
        agent("http://127.0.0.1:1", "a", token=token)
    assert "secret" not in str(told.value)


def test_an_agent_that_is_not_open_says_so() -> None:
    async def scene() -> None:
        for call in ((a := agent("http://127.0.0.1:1", "a")).get("k"), anext(a.follow("t"))):
            with pytest.raises(AgentEnded, match="agent a is not open: use `async with Agent"):
                await call

    play(scene())
