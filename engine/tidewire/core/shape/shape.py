"""A shape: which rows and columns of which table a client sees.

Equal shapes are one shape, under one short name on the wire,
so that one encoded frame serves all its subscribers.
"""

from __future__ import annotations

from typing import NewType

import msgspec

from tidewire.core.shape.predicate import Predicate

ShapeId = NewType("ShapeId", str)


class ShapeColumn(msgspec.Struct, frozen=True):
    """One column as clients see it: a name and the name of its type, for their parsers.

    `type_oid` is that of the catalog, to notice when the column gets another type; 0 is any.
    `as_text` tells that a snapshot has to cast it, to read the same as in the write-ahead log.
    """

    name: str
    type_name: str
    type_oid: int = 0
    as_text: bool = False


class ShapeSpec(msgspec.Struct, frozen=True):
    """What makes two shapes equal, as the catalog resolved it."""

    relation_oid: int
    schema: str
    table: str
    columns: tuple[ShapeColumn, ...]
    key: tuple[str, ...]
    is_partitioned: bool = False
    where: Predicate | None = None
    """None: all rows."""

    @property
    def qualified_name(self) -> str:
        """Name the table with its schema, as clients are told."""
        return f"{self.schema}.{self.table}"


class Shape(msgspec.Struct, frozen=True):
    """A shape with the name that it has on the wire."""

    id: ShapeId
    spec: ShapeSpec
