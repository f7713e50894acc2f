"""`tidelab agents watch`: who waits for whom, now or live."""

from __future__ import annotations

import asyncio
import functools
import json as json_module
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidelab.cli.outcome import PASSED
from tidelab.errors import UnreachableError
from tidelab.limits import (
    COORD_AGAIN_S,
    COORD_OUTBOX_BYTES_MAX,
    COORD_POLL_MAX_S,
    COORD_REDRAW_S,
    COORD_RUNS_SHOWN_MAX,
    SOCKET_OPEN_S,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

URL = "http://127.0.0.1:9104"
TOKEN = "TIDELAB_TOKEN"  # noqa: S105 - the name of the variable
ALL = ""  # the place of the list among the runs

Url = Annotated[str, typer.Option(envvar="TIDELAB_URL", help="Where the coordinator is.")]
RunName = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Only this run.")]
Once = Annotated[bool, typer.Option("--once", help="Show it as it is now, and end.")]
Json = Annotated[bool, typer.Option("--json", help="Print each state as one line of JSON.")]


def watch(*, url: Url = URL, run: RunName = None, once: Once = False, json: Json = False) -> int:
    """Watch runs: who is there and doing what, which barriers wait, and for whom.

    The token of an observer is enough; it is read from the variable TIDELAB_TOKEN.

    Exit codes: 0 shown; 2 there is no such server or run, it wants a token, or there is no
    terminal to draw on; 130 Ctrl-C.

    Examples:

      tidelab agents watch

      tidelab agents watch --run nightly

      tidelab agents watch --run nightly --once --json
    """
    from rich.console import Console
    from rich.live import Live

    from tidelab.agent.address import socket_of

    try:
        socket_of(url)
    except ValueError as error:
        raise UnreachableError(str(error)) from None
    view, console = View(run), Console()
    if json or once:
        asyncio.run(_print(url, view, once=once, as_json=json))
        return PASSED
    if not console.is_terminal:
        told = "this is no terminal: --once shows what is now, --json prints each state as a line"
        raise typer.BadParameter(told)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        asyncio.run(_follow(url, view, functools.partial(live.update, refresh=True)))
    return PASSED


class View:
    """What is known of the runs that are looked at."""

    def __init__(self, only: str | None) -> None:
        self.only = only
        self.told: dict[str, dict[str, Any]] = {}
        """The newest answer for each run, and for the list of all."""
        self._heard_at: dict[str, float] = {}

    def wanted(self) -> list[str]:
        """Name what is to be looked at: a run, or the list and the runs that were used last.

        They stay in their places while they are used, the youngest first.
        """
        if self.only is not None:
            return [self.only]
        runs = self.told.get(ALL, {}).get("runs", ())
        used = sorted(runs, key=lambda line: -int(line["used_ms"]))
        shown = {line["run"] for line in used[:COORD_RUNS_SHOWN_MAX]}
        return [ALL, *(line["run"] for line in reversed(runs) if line["run"] in shown)]

    def is_whole(self) -> bool:
        """Tell whether all that is wanted is known."""
        return all(place in self.told for place in self.wanted())

    def receive(self, place: str, answer: dict[str, Any], now: float) -> None:
        """Take an answer; a run that has gone is no trouble, unless it is the only one."""
        if "ok" in answer:
            self.told[place], self._heard_at[place] = answer["ok"], now
        elif place == self.only or place == ALL:
            raise UnreachableError(answer["error"]["message"])
        else:
            self.told.pop(place, None)
            lines = self.told[ALL]["runs"]
            self.told[ALL]["runs"] = [line for line in lines if line["run"] != place]

    def draw(self, now: float, trouble: str = "") -> RenderableType:
        """Draw all of it; what was told a while ago is older now."""
        from rich.console import Group
        from rich.text import Text

        from tidelab.cli.picture import draw_run, draw_runs

        parts: list[RenderableType] = [Text(trouble, style="red")] * bool(trouble)
        for place in self.wanted():
            if place in self.told:
                draw, told = draw_runs if place == ALL else draw_run, self.told[place]
                later_ms = (now - self._heard_at[place]) * 1000
                parts += [draw({**told, "now_ms": told["now_ms"] + later_ms}), Text()]
        return Group(*parts)


async def _print(url: str, view: View, *, once: bool, as_json: bool) -> None:
    from rich.console import Console

    async for place in _look(url, view):
        if as_json and not once and place is not None and place in view.told:
            print(json_module.dumps(view.told[place]), flush=True)
        if once and view.is_whole():
            break
    if once and as_json:
        shown = view.told if view.only is None else view.told[view.only]
        if view.only is None:
            shown = {**view.told[ALL], "runs": [view.told[place] for place in view.wanted()[1:]]}
        print(json_module.dumps(shown))
    elif once:
        Console().print(view.draw(time.monotonic()))


async def _follow(url: str, view: View, show: Callable[[RenderableType], None]) -> None:
    """Show every state as it ages; a server that has gone after it was seen is looked for again."""
    while True:
        try:
            async for _ in _look(url, view):
                show(view.draw(time.monotonic()))
        except UnreachableError as error:
            if not view.told:
                raise
            show(view.draw(time.monotonic(), f"{error}; trying again"))
            await asyncio.sleep(COORD_AGAIN_S)


async def _look(url: str, view: View) -> AsyncIterator[str | None]:
    """Keep one question open for each thing that is wanted.

    Yield what was answered, or None when nothing was for a while.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    from tidelab.agent.address import socket_of

    token = os.environ.get(TOKEN)
    asked: set[str] = set()
    try:
        async with connect(
            socket_of(url),
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            max_size=COORD_OUTBOX_BYTES_MAX,
            open_timeout=SOCKET_OPEN_S,
        ) as socket:
            while True:
                for place in view.wanted():
                    if place not in asked:
                        asked.add(place)
                        await socket.send(_question(place, view))
                try:
                    async with asyncio.timeout(COORD_REDRAW_S):
                        answer = json_module.loads(await socket.recv())
                except TimeoutError:
                    yield None
                    continue
                asked.discard(answer["id"])
                view.receive(answer["id"], answer, time.monotonic())
                yield answer["id"]
    except (OSError, WebSocketException) as error:
        raise UnreachableError(f"{url} cannot be watched: {_why(error)}") from None


def _question(place: str, view: View) -> str:
    seen = view.told.get(place, {}).get("version")
    ask = {"do": "list"} if place == ALL else {"do": "inspect", "run": place}
    return json_module.dumps({"id": place, **ask, "after": seen, "wait_s": COORD_POLL_MAX_S})


def _why(error: Exception) -> str:
    from websockets.exceptions import InvalidStatus

    from tidelab.agent.address import trouble_of

    if isinstance(error, InvalidStatus) and error.response.status_code == 401:
        return f"it wants a token, in {TOKEN}"
    return trouble_of(error)
