"""Goal: the driver reads the protocol as its vectors tell it. Method: replay whole conversations.

The replayer is the lab's own: it keeps the rows that a client would show, from the neutral events
alone, so that these must carry everything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tidelab.core.driver import Wanted
from tidelab.core.history.event import (
    Claimed,
    Clear,
    ClientEvent,
    Copied,
    Patch,
    Put,
    Received,
    Rekey,
    Remove,
    RowChange,
    Values,
)
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import Column, Table
from tidelab.core.history.value import text_of
from tidelab.driver.tidewire import TidewireSession

CONVERSATIONS = sorted(
    (Path(__file__).resolve().parents[3] / "protocol" / "vectors" / "client").glob("*.json")
)
COLUMNS = (Column("id", "int4"), Column("body", "text"))
TABLES = {name: Table(name, ("id",), COLUMNS) for name in ("notes", "tasks")}
Rows = dict[tuple[str | None, ...], Values]


@dataclass
class Shown:
    """What a client shows of one subscription, and what it keeps aside."""

    rows: Rows | None = None
    staged: Rows = field(default_factory=dict)
    commits: list[tuple[RowChange, ...]] = field(default_factory=list)


def apply(rows: Rows, changes: tuple[RowChange, ...]) -> None:
    coming: list[Values] = []
    if Clear() in changes:
        rows.clear()
    for change in changes:
        match change:
            case Put(row):
                coming.append(row)
            case Patch(key, values):
                coming.append({**rows.pop(key), **values})
            case Rekey(old, key, values):
                coming.append({**rows.pop(old), "id": key[0], **values})
            case Remove(key):
                del rows[key]
            case _:
                pass
    rows.update({(row["id"],): row for row in coming})


def show(shown: dict[str, Shown], event: ClientEvent) -> None:
    match event:
        case Copied(id, rows, begins):
            if begins:
                shown[id].staged, shown[id].commits = {}, []
            shown[id].staged.update({(row["id"],): dict(row) for row in rows})
        case Received(_, parts, is_staged):
            for part in parts:
                if is_staged:
                    shown[part.id].commits.append(part.changes)
                else:
                    rows_now = shown[part.id].rows
                    assert rows_now is not None
                    apply(rows_now, part.changes)
        case Claimed(_, live):
            for id in live:
                each = shown[id]
                for changes in each.commits:
                    apply(each.staged, changes)
                each.rows, each.staged, each.commits = each.staged, {}, []
        case _:
            pass


def told(rows: list[list[Any]] | None) -> list[list[str | None]] | None:
    if rows is None:
        return None
    pairs = (zip(COLUMNS, row, strict=True) for row in rows)
    return sorted([text_of(column.type, value) for column, value in row] for row in pairs)


def held(each: Shown) -> list[list[str | None]] | None:
    if each.rows is None:
        return None
    return sorted([row["id"], row["body"]] for row in each.rows.values())


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_a_conversation_goes_as_it_is_written(path: Path) -> None:
    vector = json.loads(path.read_text())
    session = TidewireSession("vector", TABLES)
    wanted = [Wanted(s["id"], Shape(s["table"], ("id", "body"))) for s in vector["subscribe"]]
    assert list(session.subscribe(wanted)) == [], "there is no connection yet"
    shown = {each.id: Shown() for each in wanted}
    for number, step in enumerate(vector["steps"]):
        sent: list[Any] = []
        if "connect" in step:
            sent = [json.loads(frame) for frame in session.open()]
        elif "disconnect" in step:
            session.close()
            for each in shown.values():
                each.commits = []
        else:
            reply = session.receive(json.dumps(step["receive"]))
            sent = [json.loads(frame) for frame in reply.frames]
            for event in reply.events:
                show(shown, event)
        assert sent == step.get("send", []), number
        for id, rows in step.get("rows", {}).items():
            assert held(shown[id]) == told(rows), number
        if "position" in step:
            assert session.position == step["position"], number


def test_there_are_vectors() -> None:
    assert len(CONVERSATIONS) >= 10
