"""Goal: no input brings the coordinator down or out of step. Method: random frames and requests."""

from __future__ import annotations

import asyncio
import json

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


@PROFILE
@given(FRAMES)
def test_random_frames(frames: list[str | bytes]) -> None:
    async def scene() -> None:
        async with running() as url:
            other, agent = await Agent.join(url, "other", "q"), await Agent.join(url, "a")
            for frame in frames:
                await agent.socket.send(frame)
            assert (await other.ok("raise", signal="s"))["sequence"] == 1
            for each in (agent, other):
                await each.close()

    asyncio.run(scene())


@PROFILE
@given(REQUESTS)
def test_random_requests(requests: list[tuple[str, str, bytes]]) -> None:
    async def scene() -> None:
        async with running() as url:
            for method, path, body in requests:
                status, _, content = await http(url, method, f"/v2/{path}", body)
                assert status < 500 or status == 504, (method, path, body, status, content)
                assert isinstance(json.loads(content), dict)
            assert (await http(url, "GET", "/v2/health"))[0] == 200

    asyncio.run(scene())
