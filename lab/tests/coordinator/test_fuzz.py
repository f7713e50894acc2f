"""Goal: no input brings the coordinator down or out of step. Method: random frames and requests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.tests.coordinator.kit import Agent, http, running
from tidelab.core.coord.codec import COMMANDS

NAMES = st.sampled_from(["a", "b", "r", "", "x" * 200, "é", "a b"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | NAMES | st.lists(NAMES)
FIELD_NAMES = [
    *("id", "run", "agent", "barrier", "target", "roster", "quorum", "signal", "count", "topic"),
    *("offset", "key", "value", "data", "once", "timeout_s", "wait_s", "poll_s", "generation"),
    *("lease_s", "size", "role", "sent_ms", "told_ms", "heard_ms"),
]
FIELDS = st.dictionaries(st.sampled_from(FIELD_NAMES), VALUES)
COMMAND = st.builds(
    lambda do, fields: json.dumps({**fields, "do": do}), st.sampled_from(sorted(COMMANDS)), FIELDS
)
FRAMES = st.lists(COMMAND | st.text() | st.binary(), max_size=20)
PATHS = st.sampled_from(
    [
        *("runs", "runs/r", "runs/r/keys/k", "runs/r/barriers/b", "runs/r/signals/s"),
        *("runs/r/topics/t", "runs/r/agents/a", "runs/%00/keys/%ff", "runs//", "connect", ".."),
        *("runs/r/keys/k?if_version=x", "runs/r/barriers/b?agent=a&target=1", "?%&=&&=%zz"),
        "runs/r/signals/s?timeout_s=0.01",
    ]
)
METHODS = st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH"])
REQUESTS = st.lists(st.tuples(METHODS, PATHS, st.binary()), max_size=5)
PROFILE = settings(
    max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def test_random_frames() -> None:
    with asyncio.Runner() as loop, a_server(loop) as url:
        other = loop.run(Agent.join(url, "other", "q"))
        rounds = itertools.count(1)

        @PROFILE
        @given(FRAMES)
        def play(frames: list[str | bytes]) -> None:
            loop.run(talk(url, other, frames, next(rounds)))

        play()
        loop.run(other.close())


async def talk(url: str, other: Agent, frames: list[str | bytes], number: int) -> None:
    agent = await Agent.join(url, "a", f"r{number}")
    for frame in frames:
        await agent.socket.send(frame)
    assert (await other.ok("raise", signal="s"))["sequence"] == number
    agent.socket.transport.abort()  # a handshake would wait behind answers that nobody reads


def test_random_requests() -> None:
    with asyncio.Runner() as loop, a_server(loop) as url:

        @PROFILE
        @given(REQUESTS)
        def play(requests: list[tuple[str, str, bytes]]) -> None:
            loop.run(ask(url, requests))

        play()


async def ask(url: str, requests: list[tuple[str, str, bytes]]) -> None:
    for method, path, body in requests:
        status, _, content = await http(url, method, f"/v2/{path}", body)
        assert status < 500 or status == 504, (method, path, body, status, content)
        assert isinstance(json.loads(content), dict)
    assert (await http(url, "GET", "/v2/health"))[0] == 200


@contextlib.contextmanager
def a_server(loop: asyncio.Runner) -> Iterator[str]:
    """Serve in the loop for as long as the context lasts, from one example to the next."""
    server = running()
    url = loop.run(server.__aenter__())
    try:
        yield url
    finally:
        loop.run(server.__aexit__(None, None, None))
