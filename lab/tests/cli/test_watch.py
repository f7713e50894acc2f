"""Goal: `tidelab agents watch` shows what is, and what changes; what it cannot see it says.

Method: a coordinator in this loop, the real command as a process; the picture from a made-up run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import termios
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from lab.tests.coordinator.kit import DEADLINE_S, Agent, call, running
from tidelab.cli.watch import View
from tidelab.coordinator import Options
from tidelab.coordinator.v2.gate import Tokens
from tidelab.limits import COORD_RUNS_SHOWN_MAX


@asynccontextmanager
async def watching(url: str, *arguments: str, token: str = "") -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidelab", "agents", "watch", "--url", url, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TIDELAB_TOKEN": token},
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def end_of(url: str, *arguments: str, token: str = "") -> tuple[int, str, str]:
    async with watching(url, *arguments, token=token) as process:
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


def test_once_it_shows_all_runs_as_they_are() -> None:
    async def scene() -> None:
        async with running() as url:
            assert (await end_of(url, "--once")) == (0, "no runs yet\n\n", "")
            a = await Agent.join(url, "a", "nightly")
            await a.send("wait", barrier="start", roster=["a", "late"])
            await a.ok("beat")
            code, out, _ = await end_of(url, "--once")
            assert code == 0
            for words in ("nightly", "1 present", "1 of 2 for", "late", "wait start"):
                assert words in out
            found = json.loads((await end_of(url, "--once", "--json"))[1])
            assert found["runs"][0]["barriers"][0]["roll"]["missing"] == ["late"]
            await a.close()

    play(scene)


def test_every_change_of_a_run_is_a_line() -> None:
    async def scene() -> None:
        async with running() as url:
            a = await Agent.join(url, "a", "nightly")
            async with watching(url, "--json", "--run", "nightly") as process:
                states = []
                for doing in ("page 1", "page 2"):
                    states.append(json.loads(await process.stdout.readline()))
                    await a.ok("beat", doing=doing)
                while (story := json.loads(await process.stdout.readline()))["agents"][0][
                    "did"
                ] != "page 2":
                    states.append(story)
                assert [each["version"] for each in states] == sorted(
                    each["version"] for each in states
                )
                await call(url, "DELETE", "/v2/runs/nightly")
                _, err = await process.communicate()
            # It may have asked just before, or just after.
            told = (b"run nightly was deleted", b"there is no run nightly")
            assert err in [b"tidelab: %b\n" % words for words in told]
            assert process.returncode == 2

    play(scene)


def test_what_it_cannot_see_is_one_line() -> None:
    async def scene() -> None:
        async with running(Options(http_port=0, tokens=Tokens(observer=("see",)))) as url:
            assert (await end_of(url, "--once", token="see"))[0] == 0
            code, _, err = await end_of(url, "--once", token="no")
            wanted = f"tidelab: {url} cannot be watched: it wants a token, in TIDELAB_TOKEN\n"
            assert (code, err) == (2, wanted)
            code, _, err = await end_of(url, "--once", "--run", "none", token="see")
            assert (code, err) == (2, "tidelab: there is no run none\n")
        code, _, err = await end_of(url, "--once")
        assert code == 2
        assert err == (
            f"tidelab: {url} cannot be watched: nobody answers there; "
            "`tidelab agents serve` starts a coordinator\n"
        )
        assert (await end_of("nonsense"))[0] == 2

    play(scene)


def test_where_there_is_no_terminal_it_says_what_there_is() -> None:
    code, out, err = asyncio.run(end_of("http://127.0.0.1:1"))
    assert (code, out) == (2, "")
    assert "--once shows what is now" in err


def test_a_terminal_is_kept_up_to_date_and_given_back() -> None:
    """Nothing changes at the coordinator, but what waits there waits longer and longer."""

    async def scene() -> None:
        async with running() as url, terminal("--url", url) as (process, screen):
            await call(url, "POST", "/v2/runs/nightly/agents/a?doing=page%203")
            async with asyncio.timeout(DEADLINE_S):
                while not re.search(rb"present +[3-9]\.\d s +page 3", screen.text):
                    await screen.change()
                process.send_signal(signal.SIGINT)
                while b"\x1b[?1049l" not in screen.seen:  # back from where it drew
                    await screen.change()
                assert await process.wait() == 130
            assert b"Traceback" not in screen.seen

    play(scene)


class Screen:
    """What a program has written to its terminal."""

    def __init__(self, descriptor: int) -> None:
        self.seen = b""
        self._descriptor, self._stir = descriptor, asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @property
    def text(self) -> bytes:
        """All of it, without what moves the cursor or has a colour."""
        return re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", self.seen)

    async def change(self) -> None:
        """Wait until there is more."""
        await self._stir.wait()
        self._stir.clear()

    def _read(self) -> None:
        self._stir.set()
        try:
            self.seen += os.read(self._descriptor, 1 << 16)
        except OSError:  # so a terminal ends
            asyncio.get_running_loop().remove_reader(self._descriptor)


@asynccontextmanager
async def terminal(*arguments: str) -> Any:
    """Run the command in a terminal; give what is written there."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidelab", "agents", "watch", *arguments),
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, Screen(ours)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


def test_names_are_never_markup() -> None:
    view = View("r")
    agent = {
        "agent": "a", "role": "observer", "state": "dead", "since_ms": 0, "did": "[red]x[/]",
        "did_ms": 0, "says": "[b]y[/]", "doing": "",
    }  # fmt: skip
    roll = {
        "arrived_count": 9, "needed": 20, "missing_count": 11, "missing": [],
        "arrived": list("abcdefghi"),
    }  # fmt: skip
    barriers = [
        {"barrier": "b", "decided": 1, "last": "released", "since_ms": 0,
         "roll": {**roll, "dead": ["d"]}},
        {"barrier": "c", "decided": 2, "last": "timeout", "since_ms": None, "roll": None},
    ]  # fmt: skip
    counts = {"present": 0, "away": 0, "dead": 2, "left": 0}
    view.receive("r", {"ok": {
        "run": "[r]", "size": 3, "now_ms": 7_200_000, "counts": counts, "agents": [agent],
        "barriers": barriers,
    }}, 5.0)  # fmt: skip
    console = Console(width=120, record=True)
    with console.capture() as shown:
        console.print(view.draw(5.0, "gone; trying again"))
    for words in (
        "[r]  2 dead of 3",
        "[red]x[/] ([b]y[/])",
        "9 of 20 for 2 h",
        "a, b, c and 6 more",
        "d (gone) and 10 more",
    ):
        assert words in shown.get()
    assert "trying again" in shown.get()
    with console.capture() as shown:
        console.print(view.draw(5.0 + 3600))
    assert "9 of 20 for 3 h" in shown.get(), "an hour later"


def test_a_run_that_has_gone_is_no_trouble_among_others() -> None:
    view = View(None)
    runs = [{"run": "x", "used_ms": 1}, {"run": "y", "used_ms": 2}]
    view.receive("", {"ok": {"runs": runs}}, 0.0)
    assert view.wanted() == ["", "y", "x"]
    view.receive("x", {"error": {"message": "there is no run x"}}, 0.0)
    assert view.wanted() == ["", "y"]


def test_runs_stay_in_their_places_and_the_oldest_use_is_left_out() -> None:
    view = View(None)
    for newest in (0, 7):
        runs = [
            {"run": f"r{number}", "used_ms": 100 if number == newest else number}
            for number in range(COORD_RUNS_SHOWN_MAX + 1)
        ]
        view.receive("", {"ok": {"runs": runs}}, 0.0)
        left_out = "r1" if newest == 0 else "r0"
        wanted = [f"r{number}" for number in reversed(range(COORD_RUNS_SHOWN_MAX + 1))]
        wanted.remove(left_out)
        assert view.wanted() == ["", *wanted]
