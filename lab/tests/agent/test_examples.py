"""Goal: the programs and commands of the documentation of the coordinator do what it says.

Method: each runs as its reader would run it, beside a coordinator of its own; for websocat, which
cannot be counted on to be there, a socket sends the same lines.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

from websockets.asyncio.client import connect

from lab.tests.agent.kit import JAVASCRIPT, ROOT, needs_node, output_of, play
from lab.tests.coordinator.kit import running, serving
from tidelab.agent import Agent
from tidelab.coordinator import OldClients, Options

EXAMPLES = ROOT / "examples" / "agents"
DOCS = ROOT / "docs"
PAGES = (
    DOCS / "howto" / "agents.md",
    DOCS / "reference" / "coordination.md",
    DOCS / "reference" / "testsync.md",
)


def conversations(program: str) -> list[str]:
    """Return the console blocks in which a program speaks."""
    blocks = re.findall(r"```console\n(.*?)```", "".join(map(Path.read_text, PAGES)), re.DOTALL)
    return [block for block in blocks if f"$ {program} " in block]


def test_curl_gets_what_the_page_shows(tmp_path: Path) -> None:
    async def scene() -> None:
        assert len(conversations("curl")) == 2
        for block in conversations("curl"):
            async with running() as url:
                block = block.replace("http://127.0.0.1:9104", url)
                commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
                shown = [line for line in block.splitlines() if not line.startswith("$ ")]
                said = await output_of(["bash", "-s"], "\n".join(commands), tmp_path)
                assert said.splitlines() == shown

    play(scene())


def test_a_socket_gets_what_the_pages_show_of_websocat() -> None:
    async def scene() -> None:
        assert len(conversations("websocat")) == 3
        for block in conversations("websocat"):
            command, *lines = block.splitlines()
            match = re.fullmatch(r"\$ websocat -n ws://127\.0\.0\.1:(\d+)(/\S+) <<END", command)
            assert match, command
            sent = [line[2:] for line in lines if line.startswith("> ")]
            assert sent.pop() == "END"
            shown = [json.loads(line) for line in lines if not line.startswith("> ")]
            options = Options(http_port=0, old_clients=OldClients(ws_port=0))
            async with serving(options) as at:
                base = {"9104": at.url.replace("http", "ws"), "9105": at.ws_url}[match[1]]
                async with connect(f"{base}{match[2]}", proxy=None) as socket:
                    for line in sent:
                        await socket.send(line)
                    said = [json.loads(await socket.recv()) for _ in shown]
                    await socket.close()
                    said += [json.loads(late) async for late in socket]
            assert all(map(is_as_shown, said, shown)), (said, shown)
            assert len(said) == len(shown), "nothing is left out"

    play(scene())


def is_as_shown(said: object, shown: object) -> bool:
    """Compare values; times are others each time, and three dots stand for any end."""
    match said, shown:
        case dict(), dict():
            same = {name for name in said if not name.endswith("_ms") and name != "start_at"}
            return said.keys() == shown.keys() and all(
                is_as_shown(said[name], shown[name]) for name in same
            )
        case str(), str() if shown.endswith("..."):
            return said.startswith(shown.removesuffix("..."))
    return said == shown


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
    # Of all the plugins that are installed here, those that matter: the others take seconds.
    few = [f"-p{name}" for name in ("xdist.plugin", "pytest_timeout", "tidelab_pytest")]
    command = [sys.executable, "-m", "pytest", *few, "-n", "2", EXAMPLES / "test_shop.py"]
    assert "2 passed" in asyncio.run(output_of(command, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"))


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
