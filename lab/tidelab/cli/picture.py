"""What a terminal shows of a coordinator: its runs, who does what in them, who waits for whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

Json = Mapping[str, Any]
_MISSING_SHOWN = 8  # in one cell: a line of a terminal
_ARRIVED_SHOWN = 3  # who is there is less of a question than who is not
_COLOURS = {"present": "green", "away": "yellow", "dead": "red", "left": "dim"}


def draw_runs(runs: Json) -> RenderableType:
    """Draw the list of all runs."""
    if not runs["runs"]:
        return Text("no runs yet", style="dim")
    table = _table("run", "agents", "waiting", "last used")
    for line in reversed(runs["runs"]):
        places = f"{line['waiting']} barrier{'s' if line['waiting'] > 1 else ''}"
        waiting = f"[yellow]at {places}[/]" if line["waiting"] else "-"
        used = f"{_age(runs, line['used_ms'])} ago"
        table.add_row(escape(line["run"]), str(line["present"]), waiting, used)
    return table


def draw_run(story: Json) -> RenderableType:
    """Draw one run: its barriers, those where somebody waits first, and its agents."""
    counts = story["counts"]
    states = ", ".join(f"{counts[state]} {state}" for state in _COLOURS if counts[state])
    size = "" if story["size"] is None else f" of {story['size']}"
    title = Text.assemble((story["run"], "bold"), f"  {states or 'nobody'}{size}")
    return Group(title, _barriers(story), _agents(story))


def _barriers(story: Json) -> RenderableType:
    table = _table("barrier", "ended", "now", "missing", "arrived")
    for line in story["barriers"]:
        roll = line["roll"]
        if roll is None:
            cells = [_outcome(line["last"]), "", ""]
        else:
            since = _age(story, line["since_ms"])
            gone = [f"[red]{escape(name)} (gone)[/]" for name in roll["dead"]]
            missing = [*map(escape, roll["missing"]), *gone]
            cells = [
                f"[yellow]{roll['arrived_count']} of {roll['needed']} for {since}[/]",
                _missing(missing, roll["missing_count"]),
                _names(map(escape, roll["arrived"]), roll["arrived_count"], _ARRIVED_SHOWN),
            ]
        table.add_row(escape(line["barrier"]), str(line["decided"]), *cells)
    return table if story["barriers"] else Text("  no barriers", style="dim")


def _outcome(last: str | None) -> str:
    return f"[{'green' if last == 'released' else 'red'}]{last}[/]" if last else "-"


def _agents(story: Json) -> RenderableType:
    table = _table("agent", "state", "since", "last", "ago")
    for agent in story["agents"]:
        state = f"[{_COLOURS[agent['state']]}]{agent['state']}[/]"
        if agent["role"] == "observer":
            state += " (observer)"
        since = _age(story, agent["since_ms"])
        ago = _age(story, agent["did_ms"]) if agent["did"] else ""
        says = f" [dim]({escape(agent['says'])})[/]" if agent["says"] else ""
        table.add_row(escape(agent["agent"]), state, since, f"{escape(agent['did'])}{says}", ago)
    more = sum(story["counts"][state] for state in _COLOURS) - len(story["agents"])
    return Group(table, Text(f"  and {more} more", style="dim")) if more > 0 else table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in columns:
        table.add_column(column)
    return table


def _missing(names: list[str], count: int) -> str:
    return _names(names, max(len(names), count), _MISSING_SHOWN) if names else "somebody new"


def _names(names: Iterable[str], count: int, at_most: int) -> str:
    shown = list(names)[:at_most]
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return ", ".join(shown) + more


def _age(told: Json, at_ms: int) -> str:
    seconds = max(0.0, (told["now_ms"] - at_ms) / 1000)
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
