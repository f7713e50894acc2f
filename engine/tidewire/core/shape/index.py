"""Which shapes does a change of this relation touch?

So far one lookup by relation; filters will make it a tree of lookups by column and value.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidewire.core.shape.shape import Shape, ShapeId, ShapeSpec


class ShapeIndex:
    """All shapes of a node, counted by their subscribers."""

    def __init__(self) -> None:
        self._by_spec: dict[ShapeSpec, Shape] = {}
        self._by_relation: dict[int, list[Shape]] = {}
        self._subscribers: dict[ShapeId, int] = {}
        self._made = 0
        self.generation = 0
        """Grows with every change, so that whatever was derived from the index can be renewed."""

    def __len__(self) -> int:
        return len(self._by_spec)

    def acquire(self, spec: ShapeSpec) -> Shape:
        """Return the shape for this spec, new or shared; give it back with `release`."""
        shape = self._by_spec.get(spec)
        if shape is None:
            self._made += 1
            self.generation += 1
            shape = Shape(ShapeId(f"s{self._made}"), spec)
            self._by_spec[spec] = shape
            self._by_relation.setdefault(spec.relation_oid, []).append(shape)
            self._subscribers[shape.id] = 0
        self._subscribers[shape.id] += 1
        return shape

    def release(self, shape: Shape) -> None:
        """Give back one subscription; a shape that nobody has is forgotten."""
        self._subscribers[shape.id] -= 1
        if self._subscribers[shape.id]:
            return
        self.generation += 1
        del self._subscribers[shape.id], self._by_spec[shape.spec]
        shapes = self._by_relation[shape.spec.relation_oid]
        shapes.remove(shape)
        if not shapes:
            del self._by_relation[shape.spec.relation_oid]

    def touched_by(self, relation_oid: int) -> Sequence[Shape]:
        """Return the shapes that a change of this relation may concern."""
        return self._by_relation.get(relation_oid, ())
