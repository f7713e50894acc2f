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


class Projection:
    """Look at transactions through the shapes of an index."""

    def __init__(self, index: ShapeIndex) -> None:
        self._index = index
        self._lenses: dict[int, _Lens] = {}
        self.broken: set[Shape] = set()
        """Shapes that a new version of their table no longer fits; the hub takes them away."""

    def changes(self, transaction: Transaction) -> dict[ShapeId, list[bytes]]:
        """Return the encoded changes of each shape that the transaction touches.

        Raises DecodeError when a row message is not sound.
        """
        found: dict[ShapeId, list[bytes]] = {}
        for relation, message in transaction.messages:
            for shape, render in self._lens(relation).views:
                if shape in found:
                    found[shape].append(render(message))
                else:
                    found[shape] = [render(message)]
        return found

    def walk(self, transaction: Transaction) -> Iterator[tuple[ShapeId, bytes] | None]:
        """Yield change after change, and None for each message that touches no shape.

        Raises DecodeError when a row message is not sound.
        """
        for relation, message in transaction.messages:
            views = self._lens(relation).views
            if not views:
                yield None
            for shape, render in views:
                yield shape, render(message)

    def _lens(self, relation: Relation) -> _Lens:
        lens = self._lenses.get(relation.oid)
        if lens and lens.relation is relation and lens.generation == self._index.generation:
            return lens
        views = [
            (shape.id, render)
            for shape in self._index.touched_by(relation.oid)
            if (render := self._render(relation, shape))
        ]
        lens = self._lenses[relation.oid] = _Lens(relation, self._index.generation, views)
        return lens

    def _render(self, relation: Relation, shape: Shape) -> Render | None:
        places = {column.name: i for i, column in enumerate(relation.columns)}
        columns = tuple(places.get(column.name, -1) for column in shape.spec.columns)
        key = tuple(places.get(name, -1) for name in shape.spec.key)
        if -1 in columns or not all(_identifies(relation, i) for i in key):
            self.broken.add(shape)
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
