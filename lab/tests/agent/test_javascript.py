"""Goal: the client in JavaScript does what a test needs, and comes back as the one in Python does.

Method: programs in Node beside a coordinator that is killed while they work. A browser has the same
file in lab/tests/e2e.
"""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from lab.tests.agent.kit import JAVASCRIPT, ROOT, agent, needs_node, output_of, play
from lab.tests.coordinator.kit import Process, call, process, running
from tidelab.coordinator import Options
from tidelab.coordinator.v2.gate import Tokens

AGENTS = (ROOT / "examples" / "agents").as_uri()
HEAD = f"""\
import {{ Agent }} from "{AGENTS}/agent.mjs";
const [url, ...more] = process.argv.slice(2);
const say = (...told) => console.log(JSON.stringify(told));
const agent = await Agent.join(url, "r", "js");
"""


async def said(
    folder: Path, program: str, url: str, *arguments: object, client: str = "agent"
) -> list[Any]:
    """Run a program; return what it said, line by line."""
    path = folder / "program.mjs"
    path.write_text(HEAD.replace("/agent.mjs", f"/{client}.mjs") + program)
    lines = (await output_of([*JAVASCRIPT, path, url, *arguments])).splitlines()
    return [json.loads(line) for line in lines]


ABILITIES = """\
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
await agent.put("k", "x".repeat(2 ** 21)).catch((error) => say(error.message));
let deep = [];
for (let n = 0; n < 99; n++) deep = [deep];
await agent.put("k", deep).catch((error) => say(error.code));
const waiting = agent.ask("await", { signal: "never" }).catch((error) => say(error.message));
await agent.leave();
await waiting;
await agent.get("k").catch((error) => say(error.message));
const nowhere = "http://127.0.0.1:1";
await Agent.join(nowhere, "r", "js", { open_s: 0.1 }).catch((error) => say(error.message));
"""


@needs_node
def test_what_the_javascript_client_can_do(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running() as url:
            async with agent(url, "py"):
                pass
            assert await said(tmp_path, ABILITIES, f"{url}/v2/") == [
                [["before", "with", "after"], 1, 1],
                [{"n": 1}, 1],
                ["conflict", 1],
                ["broken", ["py"]],
                ["a request has at most 2097152 bytes"],
                ["bad_request"],
                ["this agent has left"],
                ["this agent has left"],
                ["no coordinator at http://127.0.0.1:1"],
            ]

    play(scene())


TOKEN = "a-token-of-an-agent-ü??>>"  # which has both + and / in base64
BY_TOKEN = """\
const known = await Agent.join(url, "r", "known", { token: more[0] });
say(await known.raise("s"));
const guess = { token: "a-guess", open_s: 0.1 };
await Agent.join(url, "r", "x", guess).catch((error) => say(error.message.replace(url, "URL")));
await known.leave();
"""


@needs_node
def test_a_token_is_shown(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(Options(http_port=0, tokens=Tokens(agent=(TOKEN,)))) as url:
            program = tmp_path / "program.mjs"
            program.write_text("".join(HEAD.splitlines(keepends=True)[:-1]) + BY_TOKEN)
            told = (await output_of([*JAVASCRIPT, program, url, TOKEN])).splitlines()
            assert [json.loads(line) for line in told] == [
                [1],
                ["no coordinator at URL, or not with this token"],
            ]

    play(scene())


SMALL = """\
const seen = [];
await agent.ask("publish", { topic: "t", data: "before" });
await Promise.all([
  agent.follow("t", (event) => seen.push(event.data)),
  agent.ask("publish", { topic: "t", data: "with" }),
]);
await agent.ask("publish", { topic: "t", data: "after" });
say(seen);
await agent.ask("put", { key: "k", value: 2, if_version: 7 }).catch((error) => say(error.code));
await agent.meet("b", { roster: ["js", "py"] }).catch((error) => say(error.code, error.roll.dead));
const waiting = agent.ask("await", { signal: "never" }).catch((error) => say(error.message));
await agent.leave();
await waiting;
await agent.ask("get", { key: "k" }).catch((error) => say(error.message));
const nowhere = "http://127.0.0.1:1";
await Agent.join(nowhere, "r", "js").catch((error) => say(error.message));
"""


@needs_node
def test_what_the_small_client_can_do_in_sixty_lines(tmp_path: Path) -> None:
    source = ROOT / "examples" / "agents" / "small-agent.mjs"
    assert len(source.read_text().splitlines()) <= 60

    async def scene() -> None:
        async with running() as url:
            async with agent(url, "py"):
                pass
            assert await said(tmp_path, SMALL, url, client="small-agent") == [
                [["before", "with", "after"]],
                ["conflict"],
                ["broken", ["py"]],
                ["closed: 1005 "],
                ["closed"],
                ["no coordinator at http://127.0.0.1:1"],
            ]

    play(scene())


WORK = """\
const [numbers, generations, events] = [[], [], []];
await agent.follow("t", ({ data, missed }) => events.push([data, missed]));
for (let n = 1; n <= Number(more[0]); n++) {
  const start = await agent.ask("wait", { barrier: "m", target: 2, timeout_s: 30 });
  generations.push(start.generation);
  const many = Array.from({ length: Number(more[1]) }, () => agent.raise("s"));
  numbers.push(...(await Promise.all(many)));
  await agent.publish("t", n);
}
say(generations, numbers, events);
await agent.leave();
"""
ROUNDS, RAISED = 20, 200


@needs_node
def test_it_comes_back_after_each_kill_and_nothing_happens_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        server = await Process.start(str(tmp_path / "c.db"))
        port, kills = server.port, 0
        try:
            async with agent(server.url, "py") as py, asyncio.TaskGroup() as tasks:
                working = tasks.create_task(said(tmp_path, WORK, server.url, ROUNDS, RAISED))
                for number in range(1, ROUNDS + 1):
                    await py.barrier("m", target=2, lead_s=0)
                    if number % 4 == 1:  # in the middle of what it raises
                        await py.wait_signal("s", count=RAISED * number - RAISED // 2)
                        await server.end(signal.SIGKILL)
                        server = await Process.start(str(tmp_path / "c.db"), port)
                        kills += 1
                [(generations, numbers, events)] = await working
                assert kills == ROUNDS // 4
                assert generations == list(range(1, ROUNDS + 1))
                assert sorted(numbers) == list(range(1, RAISED * ROUNDS + 1)), "each was given once"
                assert events == [[n, 0] for n in range(1, ROUNDS + 1)]
        finally:
            await server.end(signal.SIGKILL)

    play(scene())


FOLLOWS = """\
const judge = await Agent.join(more[0], "r", "js");
await judge.raise("here");
while (await fetch(`${url}/v2/health`).then(() => true, () => false));
const seen = [];
const following = agent.follow("t", ({ data }) => seen.push(data));
await judge.raise("away");
await following;
await agent.publish("t", "after");
say(seen);
await agent.leave();
await judge.leave();
"""


@needs_node
def test_who_begins_to_follow_while_it_is_away_is_told_each_event_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            running() as judging,
            agent(judging, "judge") as judge,
            process(str(tmp_path / "c.db")) as server,
            asyncio.TaskGroup() as tasks,
        ):
            await call(server.url, "POST", "/v2/runs/r/topics/t", "before")
            program = tasks.create_task(said(tmp_path, FOLLOWS, server.url, judging))
            await judge.wait_signal("here")
            await server.end(signal.SIGKILL)
            await judge.wait_signal("away")
            again = await Process.start(str(tmp_path / "c.db"), server.port)
            try:
                assert await program == [[["before", "after"]]]
            finally:
                await again.end(signal.SIGKILL)

    play(scene())


ENDS = """\
const waiting = agent.ask("wait", { barrier: "m", target: 2 });
await waiting.catch((error) => say(error.code ?? null, error.message));
await agent.raise("s").catch((error) => say(error.message));
"""


@needs_node
def test_a_coordinator_that_has_forgotten_the_run_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with process() as server, asyncio.TaskGroup() as tasks:
            program = tasks.create_task(said(tmp_path, ENDS, server.url))
            await waits(server.url)
            await server.end(signal.SIGKILL)
            again = await Process.start("", server.port)
            try:
                [[code, told], [again_told]] = await program
                assert code == "gone"
                assert "has forgotten the run r that js was in" in told
                assert again_told == told
                assert (await call(again.url, "GET", "/v2/runs"))["ok"]["runs"] == []
            finally:
                await again.end(signal.SIGKILL)

    play(scene())


@needs_node
def test_who_is_replaced_does_not_come_back(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running() as url, asyncio.TaskGroup() as tasks:
            program = tasks.create_task(said(tmp_path, ENDS, url))
            await waits(url)
            async with agent(url, "js") as other:
                assert await program == [[None, TOLD], [TOLD]]
                assert await other.raise_signal("s") == 1

    play(scene())


TOLD = "another connection is js now"


async def waits(url: str) -> None:
    """Wait until the program waits at its barrier."""
    story: dict[str, Any] = {}
    while not story.get("ok", {}).get("barriers"):
        story = await call(url, "GET", "/v2/runs/r")
