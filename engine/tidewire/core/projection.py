"""What a transaction looks like through the shapes of this node.

Each row message is decoded at most once, and rendered once for all shapes with equal columns,
however many shapes see it and however many clients have them. A message of a table that no shape
covers is not even decoded, nor is an insert that only shapes without a condition see. What happens
to one row within a frame becomes one change (`core.shape.net`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

from tidewire.core.lens import Lens, Scene, View
from tidewire.core.model.change import UNCHANGED, Change
from tidewire.core.model.relation import Relation
from tidewire.core.model.transaction import RowMessage, Transaction
from tidewire.core.shape.effect import (
    Effect,
    Enter,
    Move,
    effect_of,
    filled,
    known_rows,
    move_of,
)
from tidewire.core.shape.index import Candidate, ShapeIndex
from tidewire.core.shape.layout import Places
from tidewire.core.shape.net import net_of
from tidewire.core.shape.shape import ShapeId
from tidewire.core.wal.decoder import explain
from tidewire.errors import DecodeError

_INSERT = ord("I")
_ROWS = frozenset(b"IUD")
# Versions of one table that are kept ready: while some read the log, others are at its tail.
_VERSIONS = 4


class _Step:
    """One row message, decoded; what shapes have in common is made for the first of them."""

    __slots__ = ("_effects", "change", "lens", "message")

    def __init__(self, lens: Lens, message: bytes) -> None:
        self.lens = lens
        self.message = message
        self.change = filled(lens.decode(message))
        self._effects: dict[tuple[View, Move], Effect] = {}

    def effect(self, view: View, move: Move) -> Effect:
        """Tell what it means for the shapes of a view whose row moves like this."""
        effect = self._effects.get((view, move))
        if effect is None:
            effect = self._effects[view, move] = effect_of(self.change, view.aspect, move)
        return effect


class _Track:
    """What happened to one shape with a condition."""

    __slots__ = ("effects", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.effects: list[Effect] = []


class _Writer:
    """Writes what effects come to; what many shapes see is written for the first of them.

    Effects are told apart by identity: those that shapes share are the same objects.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._lists: dict[tuple[int, ...], list[bytes]] = {}
        self._changes: dict[int, bytes | None] = {}
        self._alive: list[Sequence[Effect]] = []

    def write(self, effects: Sequence[Effect]) -> list[bytes]:
        ids = tuple(map(id, effects))
        written = self._lists.get(ids)
        if written is None:
            net = net_of(effects, self._view.aspect.key_at)
            self._alive += effects, net  # or another might get the same id
            changes = map(self._write_one, net)
            written = self._lists[ids] = [change for change in changes if change is not None]
        return written

    def _write_one(self, effect: Effect) -> bytes | None:
        if id(effect) not in self._changes:
            self._changes[id(effect)] = self._view.render(effect)
        return self._changes[id(effect)]


class Sight:
    """Row messages on their way into one frame: `see` them one by one, then `take` the changes."""

    __slots__ = ("_relation", "_rows", "_scene", "_scene_of", "_steps", "_tracks", "unfit")

    def __init__(self, scene_of: Callable[[Relation], Scene | None]) -> None:
        self.unfit: set[ShapeId] = set()
        """Shapes that cannot be continued here; they see nothing any more."""
        self._scene_of = scene_of
        self._relation: Relation | None = None
        self._scene: Scene | None = None
        self._begin()

    def _begin(self) -> None:
        # Of tables that are seen as a whole.
        self._rows: dict[int, list[tuple[Scene, bytes]]] = {}
        # Of tables with conditions: those that some shape needs.
        self._steps: dict[int, list[_Step]] = {}
        self._tracks: dict[Candidate, _Track] = {}

    def see(self, row: RowMessage) -> int:
        """Look at one message; return about how many bytes of changes it makes.

        Raises DecodeError when it is not sound.
        """
        relation, message = row
        if relation is not self._relation:
            self._turn_to(relation)
        scene = self._scene
        if scene is None:
            return 0
        seen = len(scene.whole)
        if seen:
            self._rows.setdefault(relation.oid, []).append((scene, message))
        if scene.table.filtered:
            seen += self._judge(scene, message)
        return seen * len(message)

    def _turn_to(self, relation: Relation) -> None:
        self._relation = relation
        scene = self._scene = self._scene_of(relation)
        if scene is not None:
            for layout in scene.misfits:
                self.unfit.update(scene.table.by_layout[layout])

    def _judge(self, scene: Scene, message: bytes) -> int:
        lens, table = scene.lens, scene.table
        step = _Step(lens, message)
        rows = known_rows(step.change)
        found = table.filtered if rows is None else table.find(rows, lens.places)
        touched = sum(self._follow(candidate, scene, step) for candidate in found.values())
        if touched or scene.whole:
            self._steps.setdefault(lens.relation.oid, []).append(step)
        return touched

    def _follow(self, candidate: Candidate, scene: Scene, step: _Step) -> bool:
        """Note what a message means for a shape with a condition, and whether it means anything."""
        if candidate.id in self.unfit:
            return False
        places, view = scene.fits[candidate.layout]
        move = _move(candidate, places, step)
        if move is Move.ELSEWHERE:
            return False
        if move is not Move.UNKNOWN:
            effect = step.effect(view, move)
            if not (isinstance(effect, Enter) and UNCHANGED in effect.new):
                track = self._tracks.get(candidate)
                if track is None:
                    track = self._tracks[candidate] = _Track(view)
                track.view = view
                track.effects.append(effect)
                return True
        self.unfit.add(candidate.id)
        return False

    def take(self) -> dict[ShapeId, list[bytes]]:
        """Return the encoded changes of each shape, at most one for each row, and begin anew.

        Raises DecodeError when a row message is not sound.
        """
        changes: dict[ShapeId, list[bytes]] = {}
        try:
            for oid, rows in self._rows.items():
                self._take_whole(rows, self._steps.get(oid), changes)
            if self._tracks:
                self._take_filtered(changes)
        except UnicodeDecodeError:
            _blame(self._kept())
        self._begin()
        return changes

    def _kept(self) -> list[RowMessage]:
        rows = [(scene.lens.relation, data) for rows in self._rows.values() for scene, data in rows]
        steps = [step for steps in self._steps.values() for step in steps]
        return rows + [(step.lens.relation, step.message) for step in steps]

    def _take_whole(
        self,
        rows: list[tuple[Scene, bytes]],
        steps: list[_Step] | None,
        changes: dict[ShapeId, list[bytes]],
    ) -> None:
        last = rows[-1][0]
        table, unfit = last.table, self.unfit
        is_plain = all(message[0] == _INSERT and scene is last for scene, message in rows)
        read: list[Change] = []
        if not is_plain:
            read = [step.change for step in steps] if steps else list(map(_read, rows))
        for layout, view in last.whole:
            candidates = table.by_layout[layout]
            if unfit and not unfit.isdisjoint(candidates):
                continue
            if is_plain:
                insert = view.insert
                rendered = [b'["i",%b]' % insert(message) for _, message in rows]
            else:
                aspects = [scene.fits[layout][1].aspect for scene, _ in rows]
                effects = net_of(list(map(effect_of, read, aspects)), view.aspect.key_at)
                rendered = [change for change in map(view.render, effects) if change is not None]
            if rendered:
                for id in candidates:
                    changes[id] = rendered

    def _take_filtered(self, changes: dict[ShapeId, list[bytes]]) -> None:
        writers: dict[View, _Writer] = {}
        for candidate, track in self._tracks.items():
            if candidate.id in self.unfit:
                continue
            writer = writers.get(track.view)
            if writer is None:
                writer = writers[track.view] = _Writer(track.view)
            if rendered := writer.write(track.effects):
                changes[candidate.id] = rendered


def _move(candidate: Candidate, places: Places, step: _Step) -> Move:
    try:
        return move_of(step.change, candidate.judge(step.lens.relation), places.where)
    except (DecodeError, ValueError, ArithmeticError):
        # A value that the condition cannot read: a label, say, that its enum got later.
        return Move.UNKNOWN


def _read(row: tuple[Scene, bytes]) -> Change:
    scene, message = row
    return filled(scene.lens.decode(message))


def _blame(rows: Iterable[RowMessage]) -> NoReturn:
    """Name the place of the text that is not UTF-8: one of these messages has it.

    Raises DecodeError, always.
    """
    *others, last = [row for row in rows if row[1][0] in _ROWS]
    for relation, message in others:
        with suppress(AssertionError):  # that is what it says of a message that is sound
            explain(message, relation)
    explain(last[1], last[0])


class Seen(NamedTuple):
    """A transaction through shapes."""

    changes: dict[ShapeId, list[bytes]]
    """The encoded changes of each shape that it touches, at most one for each row."""
    unfit: frozenset[ShapeId]
    """Shapes that do not fit what was written here: they cannot be continued."""


_NONE: frozenset[ShapeId] = frozenset()


class Projection:
    """Look at transactions through the shapes of an index."""

    def __init__(self, index: ShapeIndex) -> None:
        self._index = index
        self._lenses: dict[int, list[Lens]] = {}

    def look(self, transaction: Transaction, shapes: Iterable[ShapeId] | None = None) -> Seen:
        """See a whole transaction at once, through all shapes or only through some.

        Raises DecodeError when a row message is not sound.
        """
        if transaction.rows == 1 and shapes is None:
            (row,) = transaction.messages
            if seen := self._look_at_one(row):
                return seen
        sight = Sight(self._scene) if shapes is None else self.sight(shapes)
        see = sight.see
        for row in transaction.messages:
            see(row)
        return Seen(sight.take(), frozenset(sight.unfit) if sight.unfit else _NONE)

    def _look_at_one(self, row: RowMessage) -> Seen | None:
        # Most transactions have one row, and most tables are seen as a whole: half of the time.
        relation, message = row
        scene = self._scene(relation)
        if scene is None:
            return Seen({}, _NONE)
        if scene.misfits or scene.table.filtered:
            return None
        changes: dict[ShapeId, list[bytes]] = {}
        try:
            for layout, view in scene.whole:
                if message[0] == _INSERT:
                    change: bytes | None = b'["i",%b]' % view.insert(message)
                else:
                    change = view.render(effect_of(_read((scene, message)), view.aspect))
                if change is not None:
                    for id in scene.table.by_layout[layout]:
                        changes[id] = [change]
        except UnicodeDecodeError:
            explain(message, relation)
        return Seen(changes, _NONE)

    def sight(self, shapes: Iterable[ShapeId]) -> Sight:
        """Begin to look through some shapes, message by message."""
        tables = self._index.select(shapes)
        scenes: dict[Lens, Scene] = {}

        def scene_of(relation: Relation) -> Scene | None:
            table = tables.get(relation.oid)
            if table is None:
                return None
            lens = self._lens(relation)
            if lens not in scenes:
                scenes[lens] = Scene(lens, table)
            return scenes[lens]

        return Sight(scene_of)

    def _scene(self, relation: Relation) -> Scene | None:
        table = self._index.tables.get(relation.oid)
        if table is None:
            self._lenses.pop(relation.oid, None)
            return None
        lens = self._lens(relation)
        if lens.scene is None or not lens.scene.is_of(table):
            lens.scene = Scene(lens, table)
        return lens.scene

    def _lens(self, relation: Relation) -> Lens:
        lenses = self._lenses.setdefault(relation.oid, [])
        for lens in lenses:
            if lens.relation is relation:
                return lens
        lenses.insert(0, Lens(relation))
        del lenses[_VERSIONS:]
        return lenses[0]
