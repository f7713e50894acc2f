"""What one row message of the write-ahead log says.

A row is a tuple of cells in the order of the relation's columns. A cell is the value's text as
PostgreSQL printed it (UTF-8 bytes), None for NULL, or `UNCHANGED` for a TOAST value that an update
did not touch and that therefore is not in the log.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from tidewire.core.model.relation import Relation


class Unchanged(enum.Enum):
    """Mark a cell that the log does not carry because the update did not touch it."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED

Cell: TypeAlias = bytes | Unchanged | None
Row: TypeAlias = tuple[Cell, ...]


class Insert(msgspec.Struct, frozen=True, gc=False):
    """A new row."""

    relation: Relation
    new: Row


class Update(msgspec.Struct, frozen=True, gc=False):
    """A changed row.

    `old` is the whole old row under REPLICA IDENTITY FULL (`old_is_whole`), only its identity
    columns (the others None) when one of them changed, and None otherwise.
    """

    relation: Relation
    old: Row | None
    new: Row
    old_is_whole: bool = False


class Delete(msgspec.Struct, frozen=True, gc=False):
    """A row that is gone; `old` holds at least its identity columns."""

    relation: Relation
    old: Row
    old_is_whole: bool = False


class Truncate(msgspec.Struct, frozen=True, gc=False):
    """A table that is empty now."""

    relation: Relation


Change: TypeAlias = Insert | Update | Delete | Truncate
