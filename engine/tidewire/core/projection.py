"""What a transaction looks like through the shapes of this node.

Each row message is decoded and rendered once per shape that it touches, however many clients have
that shape. A message of a table that no shape covers is not even decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias, assert_never

from tidewire.core.model.relation import Identity, Relation
from tidewire.core.model.transaction import Transaction
from tidewire.core.shape.effect import Alter, Clear, Effect, Enter, Leave, Rekey, effect_of
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import Shape, ShapeId
from tidewire.core.wal.decoder import RowDecoder, explain
from tidewire.core.wal.transcoder import compile_insert
from tidewire.core.wal.values import RowRenderer

Render: TypeAlias = Callable[[bytes], bytes]
_INSERT = ord("I")


class _Lens(NamedTuple):
    """All shapes over one version of a relation, each with what makes JSON of a row message."""

    relation: Relation
    generation: int
    views: list[tuple[ShapeId, Render]]
    unfit: frozenset[ShapeId]


class Seen(NamedTuple):
    """A transaction through all shapes."""

    changes: dict[ShapeId, list[bytes]]
    """The encoded changes of each shape that it touches."""
    unfit: frozenset[ShapeId]
    """Shapes that this version of their table does not fit: they cannot be continued here."""


_NONE: frozenset[ShapeId] = frozenset()


class Projection:
    """Look at transactions through the shapes of an index."""

    def __init__(self, index: ShapeIndex) -> None:
        self._index = index
        self._lenses: dict[int, _Lens] = {}

    def look(self, transaction: Transaction) -> Seen:
        """See a whole transaction at once.

        Raises DecodeError when a row message is not sound.
        """
        found: dict[ShapeId, list[bytes]] = {}
        unfit = _NONE
        for relation, message in transaction.messages:
            lens = self._lens(relation)
            if lens.unfit:
                unfit |= lens.unfit
            for shape, render in lens.views:
                if shape in found:
                    found[shape].append(render(message))
                else:
                    found[shape] = [render(message)]
        return Seen(found, unfit)

    def walk(
        self, transaction: Transaction, shapes: frozenset[ShapeId], unfit: set[ShapeId]
    ) -> Iterator[tuple[ShapeId, bytes] | None]:
        """Yield the changes of these shapes one after another, and None where there is none.

        Adds to `unfit` the shapes that a version of their table does not fit.

        Raises DecodeError when a row message is not sound.
        """
        for relation, message in transaction.messages:
            lens = self._lens(relation)
            unfit |= lens.unfit & shapes
            is_touched = False
            for shape, render in lens.views:
                if shape in shapes:
                    is_touched = True
                    yield shape, render(message)
            if not is_touched:
                yield None

    def _lens(self, relation: Relation) -> _Lens:
        lens = self._lenses.get(relation.oid)
        if lens and lens.relation is relation and lens.generation == self._index.generation:
            return lens
        views: list[tuple[ShapeId, Render]] = []
        unfit = []
        for shape in self._index.touched_by(relation.oid):
            render = _render(relation, shape)
            if render is None:
                unfit.append(shape.id)
            else:
                views.append((shape.id, render))
        lens = _Lens(relation, self._index.generation, views, frozenset(unfit))
        self._lenses[relation.oid] = lens
        return lens


def _render(relation: Relation, shape: Shape) -> Render | None:
    places = {column.name: i for i, column in enumerate(relation.columns)}
    columns = tuple(places.get(column.name, -1) for column in shape.spec.columns)
    key = tuple(places.get(name, -1) for name in shape.spec.key)
    if -1 in columns or not all(_identifies(relation, i) for i in key):
        return None
    wanted = [column.type_oid for column in shape.spec.columns]
    if any(
        oid not in (0, relation.columns[i].type_oid) for oid, i in zip(wanted, columns, strict=True)
    ):
        return None
    return compile_change(relation, columns, key)


def _identifies(relation: Relation, column: int) -> bool:
    if column < 0:
        return False
    return relation.identity is Identity.FULL or relation.columns[column].in_identity


def compile_change(relation: Relation, columns: tuple[int, ...], key: tuple[int, ...]) -> Render:
    """Make the function that turns a row message into a change on the wire.

    It raises DecodeError when the message is not a sound one of this relation.
    """
    insert = compile_insert(relation, columns)
    decode = RowDecoder(relation).decode
    renderer = RowRenderer(relation, columns, key)

    def render(message: bytes) -> bytes:
        if message[0] == _INSERT:
            return b'["i",%b]' % insert(message)
        try:
            return encode_effect(effect_of(decode(message), key), renderer)
        except UnicodeDecodeError:
            explain(message, relation)

    return render


def encode_effect(effect: Effect, renderer: RowRenderer) -> bytes:
    """Write one change of a shape as the wire wants it: `["i", row]`, `["u", key, columns]`, ..."""
    match effect:
        case Enter(new=new):
            return b'["i",%b]' % renderer.row(new)
        case Alter(old=old, new=new):
            return b'["u",%b,%b]' % (renderer.key(new), renderer.changed(old, new))
        case Leave(old=old):
            return b'["d",%b]' % renderer.key(old)
        case Rekey(old=old, new=new, old_is_whole=whole):
            changed = renderer.changed(old if whole else None, new)
            return b'["k",%b,%b,%b]' % (renderer.key(old), renderer.key(new), changed)
        case Clear():
            return b'["t"]'
        case _:
            assert_never(effect)
