"""What a client writes down of its rows, so that they outlive the process.

One rule: what is written down is always the rows of live subscriptions and the cursor at which they
all are, and one batch leads from one such state to the next. So whoever is interrupted between two
batches has a state that can be gone on from; a copy that is not shown yet is in none of them.

Only the outcome is written: however many commits lie between two batches, each row is in it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from tidewire.core.protocol.frames import ShapeRequest
from tidewire.core.store import Layer, Name, Row, Table
from tidewire.core.stream.cursor import Cursor


class Entry(msgspec.Struct, frozen=True):
    """What it takes, apart from the rows, to go on with a subscription."""

    request: ShapeRequest
    table: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    fingerprint: str = ""
    """Of the table when its rows were copied; files of earlier versions have none."""

    def continued(self) -> ShapeRequest:
        """Return the request of who goes on with these rows."""
        return msgspec.structs.replace(self.request, fingerprint=self.fingerprint)


class Saved(NamedTuple):
    """What was written down: subscriptions with their rows, all as of the cursor."""

    cursor: Cursor
    tables: list[tuple[Entry, Table]]


class Change(NamedTuple):
    """What has become of one subscription; without `layer` nothing of it remains."""

    id: str
    layer: Layer | None = None
    entry: Entry | None = None
    """It is new, or its rows are: nothing remains of what there was under its id."""


class Batch(NamedTuple):
    """The way from one state to the next."""

    cursor: Cursor | None
    changes: list[Change]


class Unsaved:
    """What has changed since the last batch."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[ShapeRequest, Table]] = {}
        self._saved: set[str] = set()
        self._saved_cursor: Cursor | None = None
        self.cursor: Cursor | None = None
        """Where the rows are; who applies a message says so afterwards."""

    def add(self, request: ShapeRequest, table: Table) -> None:
        """Write down a subscription from now on, as soon as it is live."""
        table.unsaved = Layer({})
        self._tables[request.id] = (request, table)

    def restore(self, saved: Saved) -> None:
        """Begin with what was found written down."""
        self.cursor = self._saved_cursor = saved.cursor
        for entry, table in saved.tables:
            self.add(entry.request, table)
            self._saved.add(entry.request.id)

    def remove(self, id: str) -> None:
        """Forget a subscription."""
        self._tables.pop(id, None)

    def count_rows(self) -> int:
        """Count the rows that have changed."""
        layers = [table.unsaved for _, table in self._tables.values() if table.unsaved is not None]
        return sum(len(layer.rows) + len(layer.taken) for layer in layers)

    def take(self) -> Batch | None:
        """Return what leads to the state that there is now; None if nothing has changed."""
        live = {id: its for id, its in self._tables.items() if its[1].is_live}
        changes = [Change(id) for id in sorted(self._saved - live.keys())]
        for id, (request, table) in live.items():
            layer, table.unsaved = table.unsaved, Layer({})
            assert layer is not None, "it was added here"
            if layer.has_cleared:
                entry = Entry(request, table.name, table.columns, table.key, table.fingerprint)
                changes.append(Change(id, layer, entry))
            elif layer.rows or layer.taken:
                changes.append(Change(id, layer))
        if not changes and self.cursor == self._saved_cursor:
            return None
        self._saved, self._saved_cursor = set(live), self.cursor
        return Batch(self.cursor, changes)


class Numbers:
    """The numbers under which the rows of one subscription are written; they tell their order.

    Keys are no names to write rows by: equal ones may be written differently (1.5 and 1.50).
    """

    __slots__ = ("_next", "_of")

    def __init__(self, names: Iterable[tuple[Name, int]] = ()) -> None:
        self._of = dict(names)
        self._next = max(self._of.values(), default=0) + 1

    def take(self, layer: Layer) -> list[int]:
        """Return the numbers of rows that are gone."""
        if layer.has_cleared:
            self._of.clear()
        found = [self._of.pop(name, None) for name in layer.taken]
        return [number for number in found if number is not None]

    def put(self, layer: Layer) -> Iterator[tuple[int, Row]]:
        """Yield each row that is new or changed, with its number."""
        for name, row in layer.rows.items():
            number = self._of.get(name)
            if number is None:
                number = self._of[name] = self._next
                self._next += 1
            yield number, row
