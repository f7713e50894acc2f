"""Where the columns of a shape are in one version of its table, if the shape fits that version.

A version that lacks what a shape needs ends the shape: it cannot be continued over rows that were
written so. What counts is the version in force when a row was written, never today's catalog.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tidewire.core.model.relation import Identity, Relation
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec

Needs: TypeAlias = tuple[tuple[str, int], ...]
"""Columns by name, with the oid of the type that they must have; 0 is any."""


class Places(NamedTuple):
    """The positions, in the rows of one version, of what a shape needs."""

    columns: tuple[int, ...]
    key: tuple[int, ...]
    where: tuple[int, ...]


class Layout:
    """What shapes need of their table; those that differ only in values have the same."""

    __slots__ = ("__weakref__", "columns", "is_filter", "key", "where")

    def __init__(self, spec: ShapeSpec) -> None:
        self.columns: tuple[ShapeColumn, ...] = spec.columns
        self.key: tuple[str, ...] = spec.key
        self.is_filter = spec.where is not None
        self.where: Needs = ()
        if spec.where is not None:
            self.where = tuple((name, column.oid) for name, column in spec.where.types)

    @property
    def needs(self) -> Needs:
        """Return all columns that the shapes need, to tell rows or to judge them."""
        return (*((column.name, column.type_oid) for column in self.columns), *self.where)

    def fit(self, relation: Relation) -> Places | None:
        """Find the columns in a version of the table; None when the shapes do not fit it.

        Key and condition must be known of the old row too, so they need identity columns.
        """
        is_full = relation.identity is Identity.FULL
        places = {column.name: i for i, column in enumerate(relation.columns)}
        known = {c.name for c in relation.columns if is_full or c.in_identity}
        has_all = all(
            name in places and oid in (0, relation.columns[places[name]].type_oid)
            for name, oid in self.needs
        )
        where = [name for name, _ in self.where]
        if not (has_all and self.key and known.issuperset((*self.key, *where))):
            return None
        return Places(
            columns=tuple(places[column.name] for column in self.columns),
            key=tuple(places[name] for name in self.key),
            where=tuple(places[name] for name in where),
        )
