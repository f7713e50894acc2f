"""Agents of one run, and scenes that end in time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from lab.tests.coordinator.kit import DEADLINE_S
from tidelab.agent import Agent


def play(scene: Coroutine[Any, Any, None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(DEADLINE_S * 2):
            await scene

    asyncio.run(within())


def agent(url: str, name: str, **more: Any) -> Agent:
    return Agent(url, run="r", name=name, **more)
