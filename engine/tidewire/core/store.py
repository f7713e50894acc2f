"""The rows that a client holds: what is visible, and what is staged behind it.

One rule: an event is applied to all tables or to none (G1). Whatever does not fit the rows raises
`Diverged` before anything has changed. ::

    Joined     initial: a copy follows; staged commits are forgotten, staged rows are kept
    Chunk      rows go to the stage; number 0 begins the stage anew
    Committed  changes of the visible rows, or with `is_staged` a layer over the staged ones
    Progressed the stages of `live` become visible, all in one step
    WasReset   rows stay visible, but stand still (`is_live` is false) until the next stage shows

A stage is the rows of a copy and, apart from them, the commits since: a connection that ends takes
away the commits only. During a reset the old rows and the new copy are in memory together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias, assert_never

from tidewire.core.protocol.events import (
    Chunk,
    Committed,
    Event,
    Joined,
    Key,
    Progressed,
    RowChange,
    WasReset,
)
from tidewire.core.protocol.parsers import DOCUMENTS
from tidewire.errors import Diverged

Row: TypeAlias = dict[str, object]
Name: TypeAlias = object
"""What names a row: the value of a key of one column, else a tuple."""


class Table:
    """The rows of one subscription; a row is replaced, never changed: who holds one, keeps it."""

    __slots__ = (
        "_names",
        "_places",
        "_types",
        "columns",
        "fingerprint",
        "is_live",
        "key",
        "layer",
        "name",
        "rows",
        "staged",
        "unsaved",
    )

    def __init__(self) -> None:
        self.rows: dict[Name, Row] = {}
        """What is visible, in order of arrival."""
        self.is_live = False
        """The visible rows are what the server has, up to its last word."""
        self.staged: dict[Name, Row] = {}
        self.layer = Layer(self.staged)
        self.unsaved: Layer | None = None
        """What has become of the visible rows since they were written down, if they are."""
        self.describe("", (), ())

    def describe(
        self,
        name: str,
        columns: tuple[tuple[str, str], ...],
        key: tuple[str, ...],
        fingerprint: str = "",
    ) -> None:
        """Learn what the rows are made of, and the table as it was then."""
        self.name, self.columns, self.key = name, columns, key
        self.fingerprint = fingerprint
        self._names = [name for name, _ in columns]
        self._places = [self._names.index(name) for name in key]
        self._types = [columns[place][1] for place in self._places]

    def name_of(self, key: Key) -> Name:
        """Return what names a row in `rows`."""
        values = tuple(map(_hashable, self._types, key))
        return values[0] if len(values) == 1 else values

    def read(self, rows: Iterable[tuple[object, ...]]) -> list[tuple[Name, Row]]:
        """Name the rows of a chunk."""
        return [
            (self.name_of(tuple([row[i] for i in self._places])), dict(zip(self._names, row)))  # noqa: B905
            for row in rows
        ]

    def stage(self, rows: dict[Name, Row]) -> None:
        """Begin a stage with these rows, and no commits."""
        self.staged = rows
        self.layer = Layer(rows)

    def frozen(self) -> Table:
        """Return the visible rows as they are now: a table that nothing is applied to."""
        still = Table()
        still.describe(self.name, self.columns, self.key)
        still.rows = dict(self.rows)
        return still


class Layer:
    """Changes that lie over rows, to be seen through, and to be settled into them in one step."""

    __slots__ = ("_base", "has_cleared", "rows", "taken")

    def __init__(self, base: Mapping[Name, Row] | Layer) -> None:
        self._base = base
        self.rows: dict[Name, Row] = {}
        """What is put in."""
        self.taken: set[Name] = set()
        """What is taken out; a row that is put in again comes last."""
        self.has_cleared = False
        """All that lies below is taken out."""

    def get(self, name: Name) -> Row | None:
        """Return a row as it is with the changes."""
        if name in self.rows:
            return self.rows[name]
        if self.has_cleared or name in self.taken:
            return None
        return self._base.get(name)

    def put(self, name: Name, row: Row) -> None:
        """Put a row in, new or instead of the one that is there."""
        self.rows[name] = row

    def take(self, name: Name) -> None:
        """Take a row out."""
        self.rows.pop(name, None)
        self.taken.add(name)

    def clear(self) -> None:
        """Take all rows out."""
        self.rows, self.taken, self.has_cleared = {}, set(), True

    def replace(self, rows: dict[Name, Row]) -> None:
        """Put these rows in instead of all others."""
        self.clear()
        self.rows = dict(rows)

    def settle(self, rows: dict[Name, Row]) -> None:
        """Change the rows below."""
        if self.has_cleared:
            rows.clear()
        for name in self.taken:
            rows.pop(name, None)
        rows.update(self.rows)

    def settle_into(self, lower: Layer) -> None:
        """Change the layer below."""
        if self.has_cleared:
            lower.clear()
        for name in self.taken:
            lower.take(name)
        for name, row in self.rows.items():
            lower.put(name, row)


class Store:
    """Hold the rows of all subscriptions of a client, in memory."""

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}

    def add(self, id: str) -> Table:
        """Begin to hold the rows of a subscription; events about others are passed over."""
        assert id not in self._tables, "ids are the caller's, and unique"
        table = self._tables[id] = Table()
        return table

    def restore(self, id: str, table: Table) -> None:
        """Go on with the rows of another process."""
        assert id not in self._tables, "ids are the caller's, and unique"
        self._tables[id] = table

    def remove(self, id: str) -> None:
        """Hold them no longer; who has the table can still read it."""
        self._tables.pop(id, None)

    def start_over(self) -> None:
        """Drop all stages: what is visible stands still until a new copy has come."""
        for table in self._tables.values():
            table.is_live = False
            table.stage({})

    def apply(self, event: Event) -> None:
        """Apply one event to all tables, in one step.

        Raises Diverged, with nothing changed, when it does not fit the rows that are there.
        """
        match event:
            case Joined():
                self._join(event)
            case Chunk():
                self._take_chunk(event)
            case Committed():
                self._commit(event)
            case Progressed():
                for table in self._named(event.live):
                    _show(table)
            case WasReset():
                for table in self._named(event.ids):
                    table.is_live = False
            case _:
                pass

    def _named(self, ids: Iterable[str]) -> list[Table]:
        return [self._tables[id] for id in ids if id in self._tables]

    def _join(self, event: Joined) -> None:
        for table in self._named([event.id]):
            is_same = (table.columns, table.key) == (event.columns, event.key)
            if event.mode != "initial":
                if not is_same:
                    text = "the table has other columns than the rows that are to be continued"
                    raise Diverged(event.table, text)
                continue
            table.describe(event.table, event.columns, event.key, event.fingerprint)
            table.is_live = False
            table.stage(table.staged if is_same else {})

    def _take_chunk(self, event: Chunk) -> None:
        ready: list[tuple[Table, dict[Name, Row]]] = []
        for table in self._named(event.ids):
            before = table.staged if event.number else {}
            found = table.read(event.rows)
            fresh = dict(found)
            if len(fresh) < len(found) or not fresh.keys().isdisjoint(before):
                raise Diverged(table.name, "a row came twice in one copy")
            ready.append((table, fresh))
        for table, fresh in ready:
            if event.number:
                table.staged.update(fresh)
            else:
                table.stage(fresh)

    def _commit(self, event: Committed) -> None:
        layers: dict[str, tuple[Table, Layer]] = {}
        for step in event.steps:
            for id, changes in step.items():
                for table in self._named([id]):
                    base = table.layer if event.is_staged else table.rows
                    _, layer = layers.setdefault(id, (table, Layer(base)))
                    _apply_together(table, layer, changes)
        for table, layer in layers.values():
            if event.is_staged:
                layer.settle_into(table.layer)
                continue
            layer.settle(table.rows)
            if table.unsaved is not None:
                layer.settle_into(table.unsaved)


def _show(table: Table) -> None:
    table.layer.settle(table.staged)
    table.rows = table.staged
    if table.unsaved is not None:
        table.unsaved.replace(table.rows)
    table.is_live = True
    table.stage({})


def _apply_together(table: Table, layer: Layer, changes: list[RowChange]) -> None:
    # All that is taken out goes before all that is put in: two rows may swap their keys.
    if any(change.op == "truncate" for change in changes):
        layer.clear()
    arriving: list[tuple[Name, Row]] = []
    for change in changes:
        name = table.name_of(change.key) if change.op != "truncate" else None
        match change.op:
            case "truncate":
                pass
            case "insert":
                arriving.append((name, dict(change.values)))
            case "update":
                layer.put(name, _there(table, layer, change.op, name) | change.values)
            case "delete":
                _there(table, layer, change.op, name)
                layer.take(name)
            case "rekey":
                assert change.old_key is not None
                before = table.name_of(change.old_key)
                row = _there(table, layer, change.op, before)
                layer.take(before)
                its_key = dict(zip(table.key, change.key, strict=True))
                arriving.append((name, row | change.values | its_key))
            case _:
                assert_never(change.op)
    for name, row in arriving:
        if layer.get(name) is not None:
            raise Diverged(table.name, f"a row {name!r} was to be added, and there is one")
        layer.put(name, row)


def _there(table: Table, layer: Layer, op: str, name: Name) -> Row:
    row = layer.get(name)
    if row is None:
        raise Diverged(table.name, f"{op} of row {name!r}, and there is none")
    return row


def _hashable(type_name: str, value: object) -> object:
    if type_name in DOCUMENTS:
        return json.dumps(value, sort_keys=True, default=str)
    # "Not a number" is equal to itself in PostgreSQL, and not in Python.
    return value if value == value else "NaN"
