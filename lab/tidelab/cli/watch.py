"""`tidelab agents watch`: who waits for whom, now or live."""

from __future__ import annotations

import asyncio
import functools
import json as json_module
import os
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidelab.cli.outcome import PASSED
from tidelab.errors import UnreachableError
from tidelab.limits import (
    COORD_AGAIN_S,
    COORD_OUTBOX_BYTES_MAX,
    COORD_POLL_MAX_S,
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

    Exit codes: 0 shown; 2 there is no such server or run, or it wants a token; 130 Ctrl-C.

    Examples:

      tidelab agents watch

      tidelab agents watch --run nightly

      tidelab agents watch --run nightly --once --json
    """
    from rich.console import Console
    from rich.live import Live

    view = View(run)
    if json or once:
        asyncio.run(_print(url, view, once=once, as_json=json))
        return PASSED
    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        asyncio.run(_follow(url, view, functools.partial(live.update, refresh=True)))
    return PASSED


class View:
    """What is known of the runs that are looked at."""

    def __init__(self, only: str | None) -> None:
        self.only = only
        self.told: dict[str, dict[str, Any]] = {}
        """The newest answer for each run, and for the list of all."""

    def wanted(self) -> list[str]:
        """Name what is to be looked at: a run, or the list and the runs that were used last."""
        if self.only is not None:
            return [self.only]
        runs = self.told.get(ALL, {}).get("runs", ())
        newest = sorted(runs, key=lambda line: -int(line["used_ms"]))
        return [ALL, *(line["run"] for line in newest[:COORD_RUNS_SHOWN_MAX])]

    def is_whole(self) -> bool:
        """Tell whether all that is wanted is known."""
        return all(place in self.told for place in self.wanted())

    def receive(self, place: str, answer: dict[str, Any]) -> None:
        """Take an answer; a run that has gone is no trouble, unless it is the only one."""
        if "ok" in answer:
            self.told[place] = answer["ok"]
        elif place == self.only or place == ALL:
            raise UnreachableError(answer["error"]["message"])
        else:
            self.told.pop(place, None)
            lines = self.told[ALL]["runs"]
            self.told[ALL]["runs"] = [line for line in lines if line["run"] != place]

    def draw(self, trouble: str = "") -> RenderableType:
        """Draw all of it."""
        from rich.console import Group
        from rich.text import Text

        from tidelab.cli.picture import draw_run, draw_runs

        parts: list[RenderableType] = [Text(trouble, style="red")] * bool(trouble)
        for place in self.wanted():
            if place in self.told:
                draw = draw_runs if place == ALL else draw_run
                parts += [draw(self.told[place]), Text()]
        return Group(*parts)


async def _print(url: str, view: View, *, once: bool, as_json: bool) -> None:
    from rich.console import Console

    async for place in _look(url, view):
        if as_json and not once and place in view.told:
            print(json_module.dumps(view.told[place]), flush=True)
        if once and view.is_whole():
            break
    if once and as_json:
        shown = view.told if view.only is None else view.told[view.only]
        if view.only is None:
            shown = {**view.told[ALL], "runs": [view.told[place] for place in view.wanted()[1:]]}
        print(json_module.dumps(shown))
    elif once:
        Console().print(view.draw())


async def _follow(url: str, view: View, show: Callable[[RenderableType], None]) -> None:
    """Show every state; a server that goes away after it was seen is looked for again."""
    while True:
        try:
            async for _ in _look(url, view):
                show(view.draw())
        except UnreachableError as error:
            if not view.told:
                raise
            show(view.draw(f"{error}; trying again"))
            await asyncio.sleep(COORD_AGAIN_S)


async def _look(url: str, view: View) -> AsyncIterator[str]:
    """Keep one question open for each thing that is wanted; yield whenever one is answered."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    token = os.environ.get(TOKEN)
    asked: set[str] = set()
    try:
        async with connect(
            f"{url.rstrip('/').replace('http', 'ws', 1)}/v2/connect",
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            max_size=COORD_OUTBOX_BYTES_MAX,
            open_timeout=SOCKET_OPEN_S,
        ) as socket:
            while True:
                for place in view.wanted():
                    if place not in asked:
                        asked.add(place)
                        await socket.send(_question(place, view))
                answer = json_module.loads(await socket.recv())
                asked.discard(answer["id"])
                view.receive(answer["id"], answer)
                yield answer["id"]
    except (OSError, TimeoutError, WebSocketException) as error:
        raise UnreachableError(f"{url} cannot be watched: {_why(error)}") from None


def _question(place: str, view: View) -> str:
    seen = view.told.get(place, {}).get("version")
    ask = {"do": "list"} if place == ALL else {"do": "inspect", "run": place}
    return json_module.dumps({"id": place, **ask, "after": seen, "wait_s": COORD_POLL_MAX_S})


def _why(error: Exception) -> str:
    from websockets.exceptions import InvalidStatus

    if isinstance(error, InvalidStatus):
        code = error.response.status_code
        if code == 401:
            return f"it wants a token, in {TOKEN}"
        return f"it answers {code}: is this the address of a coordinator?"
    return str(error) or "no answer"
