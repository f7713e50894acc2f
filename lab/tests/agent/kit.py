"""Agents of one run in Python and JavaScript, and scenes that end in time."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.tests.coordinator.kit import DEADLINE_S
from tidelab.agent import Agent

ROOT = Path(__file__).resolve().parents[3]
NODE = shutil.which("node")
# Node 22 has it unasked; the versions before it know the flag.
JAVASCRIPT = [str(NODE), "--experimental-websocket"]
needs_node = pytest.mark.skipif(
    NODE is None and "CI" not in os.environ, reason="node is not here: install Node 20 or newer"
)


def play(scene: Coroutine[Any, Any, None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(DEADLINE_S * 2):
            await scene

    asyncio.run(within())


def agent(url: str, name: str, **more: Any) -> Agent:
    return Agent(url, run="r", name=name, **more)


async def output_of(
    command: Sequence[object], text: str = "", folder: Path = ROOT, **environ: str
) -> str:
    """Run a program to its end; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            out, err = await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out.decode()
