"""An agent that notices whatever others disturb: each test of bad input has one beside it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from lab.tests.coordinator.kit import Agent, Json, call, running
from tidelab.coordinator import Options
from tidelab.coordinator.v2.gate import Tokens

TOKENS = Tokens(observer=("see",), agent=("do",), admin=("all",))
DO, SEE = {"Authorization": "Bearer do"}, {"Authorization": "Bearer see"}
RUN = "/v2/runs/r"


class Bystander:
    """An agent to whom nothing may happen."""

    def __init__(self, url: str, agent: Agent, waiting: int) -> None:
        self._url, self._agent, self._waiting = url, agent, waiting
        self._story: Json = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Bystander]:
        agent = await Agent.open(url, **DO)
        await agent.ok("join", run="r", agent="bystander")
        await agent.ok("put", key="config", value={"n": 5})
        await agent.ok("publish", topic="log", data="before")
        await agent.ok("raise", signal="seeded")
        await agent.ok("watch", key="config")
        await agent.ok("subscribe", topic="log")
        self = cls(url, agent, await agent.send("wait", barrier="start", target=2))
        try:
            yield self
            await self._meets()
        finally:
            await agent.close()

    async def is_undisturbed(self, after: str) -> None:
        """Compare all that there is with what was there before, and read the data."""
        key = await self._agent.ok("get", key="config")
        assert key == {"key": "config", "version": 1, "value": {"n": 5}}, after
        topic = await self._agent.ok("read", topic="log")
        assert topic["events"] == [{"offset": 1, "data": "before"}], after
        told = (await call(self._url, "GET", RUN, **SEE))["ok"]
        story = {name: told[name] for name in ("signals", "topics", "keys")}
        story["barriers"] = [(each["barrier"], each["decided"]) for each in told["barriers"]]
        story["agents"] = sorted(each["agent"] for each in told["agents"])
        assert story == {
            "signals": {"seeded": 1}, "topics": {"log": 1}, "keys": {"config": 1},
            "barriers": [("start", 0)], "agents": ["bystander", "clumsy"],
        }, after  # fmt: skip
        assert self._agent.pushes == [], after

    async def _meets(self) -> None:
        """Be told the one thing that was waited for."""
        path = f"{RUN}/barriers/start?agent=clumsy&target=2"
        last = (await call(self._url, "POST", path, **DO))["ok"]
        first = (await self._agent.answer(self._waiting))["ok"]
        assert (first["generation"], first["arrived"], first["rank"], last["rank"]) == (1, 2, 0, 1)
        assert first["start_at_ms"] == last["start_at_ms"]
        assert self._agent.pushes == []


@contextlib.asynccontextmanager
async def beside_a_bystander() -> AsyncIterator[tuple[str, Bystander]]:
    async with running(Options(http_port=0, tokens=TOKENS)) as url:
        await call(url, "PUT", f"{RUN}/agents/clumsy", **DO)
        async with Bystander.at(url) as bystander:
            yield url, bystander
