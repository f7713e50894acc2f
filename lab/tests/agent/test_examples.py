"""Goal: the programs and commands of docs/howto/agents.md do what the page says.

Method: each runs as its reader would run it, beside a coordinator of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.tests.agent.kit import agent, play
from lab.tests.coordinator.kit import DEADLINE_S, running
from tidelab.agent import Agent

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples" / "agents"
PAGE = (ROOT / "docs" / "howto" / "agents.md").read_text()
NODE = shutil.which("node")
# Node 22 has it unasked; the versions before it know the flag.
JAVASCRIPT = [str(NODE), "--experimental-websocket"]

needs_node = pytest.mark.skipif(NODE is None, reason="the program node is not here")


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


def conversations() -> list[str]:
    """Return the console blocks of the page in which curl speaks."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    return [block for block in blocks if "curl" in block]


def test_curl_gets_what_the_page_shows(tmp_path: Path) -> None:
    async def scene() -> None:
        assert len(conversations()) == 2
        for block in conversations():
            async with running() as url:
                block = block.replace("http://127.0.0.1:9104", url)
                commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
                shown = [line for line in block.splitlines() if not line.startswith("$ ")]
                # An answer has no newline of its own: a terminal shows the prompt behind it.
                script = 'curl() { command curl "$@"; local code=$?; echo; return $code; }\n'
                said = await output_of(["bash", "-s"], script + "\n".join(commands), tmp_path)
                assert said.splitlines() == shown

    play(scene())


def test_two_writers_meet() -> None:
    async def scene() -> None:
        async with running() as url, asyncio.TaskGroup() as tasks:
            command = [sys.executable, EXAMPLES / "writer.py"]
            both = [
                tasks.create_task(output_of([*command, name], COORDINATOR_URL=url))
                for name in ("ann", "bob")
            ]
            said = sorted([(await each).split()[-3] for each in both])
            assert said == ["1", "2"]

    play(scene())


def test_two_tests_meet() -> None:
    command = [sys.executable, "-m", "pytest", "-n", "2", EXAMPLES / "test_shop.py"]
    assert "2 passed" in asyncio.run(output_of(command))


@needs_node
def test_agents_in_javascript_and_python_meet() -> None:
    async def scene() -> None:
        async with running() as url, Agent(url, run="nightly", name="judge") as judge:
            await judge.put("page", f"{url}/v2/health")
            async with asyncio.TaskGroup() as tasks:
                command = [*JAVASCRIPT, EXAMPLES / "loader.mjs", url]
                both = [tasks.create_task(output_of([*command, name])) for name in ("x", "y")]
            said = sorted(each.result().split(" ", 1)[1] for each in both)
            assert said == ["was number 0 of 2\n", "was number 1 of 2\n"]
            times = judge.follow("times")
            told = [(await anext(times)).data for _ in range(2)]
            assert {each["name"] for each in told} == {"x", "y"}

    play(scene())


SCRIPT = """\
import { Agent } from %r;
const url = process.argv[2];
const agent = await Agent.join(url, "r", "js");
const say = (...told) => console.log(JSON.stringify(told));
const seen = [];
await agent.publish("t", "before");
await Promise.all([
  agent.follow("t", (event) => seen.push(event.data)),
  agent.publish("t", "with"),
]);
await agent.publish("t", "after");
say(seen, await agent.raise("s"), await agent.await("s"));
const version = await agent.put("k", { n: 1 }, { if_version: 0 });
say((await agent.get("k")).value, version);
await agent.put("k", 2, { if_version: 0 }).catch((error) => say(error.code, error.version));
await agent.meet("b", { roster: ["js", "py"] }).catch((error) => say(error.code, error.roll.dead));
const waiting = agent.ask("await", { signal: "never" }).catch((error) => say(error.message));
await agent.leave();
await waiting;
await agent.get("k").catch((error) => say(error.message));
await Agent.join("http://127.0.0.1:1", "r", "js").catch((error) => say(error.message));
"""


@needs_node
def test_what_the_javascript_client_can_do(tmp_path: Path) -> None:
    script = tmp_path / "script.mjs"
    script.write_text(SCRIPT % (EXAMPLES / "agent.mjs").as_uri())

    async def scene() -> None:
        async with running() as url:
            async with agent(url, "py"):
                pass
            assert (await output_of([*JAVASCRIPT, script, url])).splitlines() == [
                '[["before","with","after"],1,1]',
                '[{"n":1},1]',
                '["conflict",1]',
                '["broken",["py"]]',
                '["closed: 1005 "]',
                '["closed"]',
                '["no coordinator at http://127.0.0.1:1"]',
            ]

    play(scene())
