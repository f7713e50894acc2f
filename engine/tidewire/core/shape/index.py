"""Which shapes does a change of this relation concern?

A shape whose condition compares a column with values is found by one lookup of the row's value,
however many shapes there are; other conditions are judged one by one. Nothing here belongs to a
version of the table, so a shape that comes or goes costs the same however many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar
from weakref import WeakValueDictionary

from tidewire.core.model.change import UNCHANGED, Row
from tidewire.core.model.relation import Relation
from tidewire.core.shape.effect import Judge
from tidewire.core.shape.layout import Layout, Needs
from tidewire.core.shape.shape import Shape, ShapeColumn, ShapeId, ShapeSpec


class Candidate:
    """A shape that a row may concern."""

    __slots__ = ("_judge", "_judged", "born", "equality", "id", "layout", "shape")

    def __init__(self, shape: Shape, layout: Layout, born: int) -> None:
        self.shape = shape
        self.id = shape.id
        self.layout = layout
        self.born = born
        """The generation of the index that began with this shape."""
        self.equality = shape.spec.where.equality if shape.spec.where else None
        self._judged: Relation | None = None
        self._judge: Judge

    def judge(self, relation: Relation) -> Judge:
        """Return what judges the rows of one version of the table; the shape has a condition."""
        if self._judged is not relation:
            assert self.shape.spec.where is not None
            self._judge = self.shape.spec.where.compile(relation)
            self._judged = relation
        return self._judge


Candidates: TypeAlias = dict[ShapeId, Candidate]
_K = TypeVar("_K")


class TableShapes:
    """The shapes over one table."""

    def __init__(self) -> None:
        self.all: Candidates = {}
        """Oldest first."""
        self.filtered: Candidates = {}
        self.by_layout: dict[Layout, Candidates] = {}
        self.layouts_changed = 0
        """Grows when a layout comes or goes."""
        self._by_value: dict[str, dict[bytes, Candidates]] = {}
        self._others: Candidates = {}

    def add(self, candidate: Candidate) -> None:
        """Let a shape be found."""
        id, layout = candidate.id, candidate.layout
        self.all[id] = candidate
        if layout not in self.by_layout:
            self.layouts_changed += 1
            self.by_layout[layout] = {}
        self.by_layout[layout][id] = candidate
        if not layout.is_filter:
            return
        self.filtered[id] = candidate
        if candidate.equality is None:
            self._others[id] = candidate
            return
        column, values = candidate.equality
        for value in values:
            self._by_value.setdefault(column, {}).setdefault(value, {})[id] = candidate

    def remove(self, candidate: Candidate) -> None:
        """Forget a shape."""
        id, layout = candidate.id, candidate.layout
        del self.all[id]
        _take_out(self.by_layout, layout, id)
        if layout not in self.by_layout:
            self.layouts_changed += 1
        if not layout.is_filter:
            return
        del self.filtered[id]
        if candidate.equality is None:
            del self._others[id]
            return
        column, values = candidate.equality
        for value in values:
            _take_out(self._by_value[column], value, id)
            if not self._by_value[column]:
                del self._by_value[column]

    def find(self, rows: Iterable[Row], places: Mapping[str, int]) -> Candidates:
        """Return the shapes whose conditions some of these rows may satisfy.

        `places` tells where the columns are in the rows. A cell that the log does not carry may
        have any value.
        """
        found = dict(self._others)
        for column, by_value in self._by_value.items():
            place = places.get(column)
            if place is None:
                continue  # these shapes do not fit this version of the table at all
            for row in rows:
                cell = row[place]
                if cell is UNCHANGED:
                    found.update(self.filtered)
                elif cell is not None and cell in by_value:
                    found.update(by_value[cell])
        return found


def _take_out(groups: dict[_K, Candidates], key: _K, id: ShapeId) -> None:
    del groups[key][id]
    if not groups[key]:
        del groups[key]


class ShapeIndex:
    """All shapes of a node, counted by their subscribers."""

    def __init__(self) -> None:
        self.tables: dict[int, TableShapes] = {}
        """The shapes over each relation that has any; not to be changed from outside."""
        self.generation = 0
        """Grows with every change, so that whatever was derived from the index can be renewed."""
        self._by_spec: dict[ShapeSpec, Candidate] = {}
        self._by_id: Candidates = {}
        self._subscribers: dict[ShapeId, int] = {}
        self._layouts: WeakValueDictionary[_LayoutKey, Layout] = WeakValueDictionary()
        self._made = 0

    def __len__(self) -> int:
        return len(self._by_spec)

    def acquire(self, spec: ShapeSpec) -> Shape:
        """Return the shape for this spec, new or shared; give it back with `release`."""
        candidate = self._by_spec.get(spec)
        if candidate is None:
            candidate = self._make(spec)
        self._subscribers[candidate.id] += 1
        return candidate.shape

    def _make(self, spec: ShapeSpec) -> Candidate:
        self._made += 1
        self.generation += 1
        shape = Shape(ShapeId(f"s{self._made}"), spec)
        candidate = Candidate(shape, self._layout(spec), self.generation)
        self._by_spec[spec] = self._by_id[shape.id] = candidate
        self._subscribers[shape.id] = 0
        self.tables.setdefault(spec.relation_oid, TableShapes()).add(candidate)
        return candidate

    def _layout(self, spec: ShapeSpec) -> Layout:
        made = Layout(spec)
        key = (spec.relation_oid, made.columns, made.key, made.where, made.is_filter)
        return self._layouts.setdefault(key, made)

    def release(self, shape: Shape) -> None:
        """Give back one subscription; a shape that nobody has is forgotten."""
        self._subscribers[shape.id] -= 1
        if self._subscribers[shape.id]:
            return
        self.generation += 1
        del self._subscribers[shape.id], self._by_spec[shape.spec]
        oid = shape.spec.relation_oid
        self.tables[oid].remove(self._by_id.pop(shape.id))
        if not self.tables[oid].all:
            del self.tables[oid]

    def touched_by(self, relation_oid: int) -> Sequence[Shape]:
        """Return the shapes that a change of this relation may concern."""
        table = self.tables.get(relation_oid)
        return [candidate.shape for candidate in table.all.values()] if table else ()

    def select(self, shapes: Iterable[ShapeId]) -> dict[int, TableShapes]:
        """Return, for each relation, those of these shapes that are over it."""
        tables: dict[int, TableShapes] = {}
        for id in shapes:
            if candidate := self._by_id.get(id):
                oid = candidate.shape.spec.relation_oid
                tables.setdefault(oid, TableShapes()).add(candidate)
        return tables

    def newer(self, generation: int, relations: Collection[int]) -> list[ShapeId]:
        """Return the shapes over these relations that came after a generation."""
        found = []
        for oid in relations:
            table = self.tables.get(oid)
            for candidate in reversed(table.all.values()) if table else ():
                if candidate.born <= generation:
                    break
                found.append(candidate.id)
        return found


_LayoutKey: TypeAlias = tuple[int, tuple[ShapeColumn, ...], tuple[str, ...], Needs, bool]
