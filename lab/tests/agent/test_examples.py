"""Goal: the programs and commands of docs/howto/agents.md do what the page says.

Method: each runs as its reader would run it, beside a coordinator of its own.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from lab.tests.agent.kit import JAVASCRIPT, ROOT, needs_node, output_of, play
from lab.tests.coordinator.kit import running
from tidelab.agent import Agent

EXAMPLES = ROOT / "examples" / "agents"
PAGE = (ROOT / "docs" / "howto" / "agents.md").read_text()


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
