"""What a change of a table means for a client of a shape.

::

    change                    effect
    insert                    Enter(new)
    update, same key          Alter(old if known, new)
    update, another key       Rekey(old, new)
    delete                    Leave(old)
    truncate                  Clear

Filters will add the rows that enter and leave a shape because they changed.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from tidewire.core.model.change import (
    UNCHANGED,
    Change,
    Delete,
    Insert,
    Row,
    Truncate,
    Update,
)
from tidewire.core.model.relation import Relation
from tidewire.errors import DecodeError


class Enter(msgspec.Struct, frozen=True, gc=False):
    """The shape has a row that it did not have."""

    new: Row


class Alter(msgspec.Struct, frozen=True, gc=False):
    """A row of the shape changed; `old` is None when the log does not carry it."""

    old: Row | None
    new: Row


class Rekey(msgspec.Struct, frozen=True, gc=False):
    """A row of the shape got another key; `old` holds at least the old one."""

    old: Row
    new: Row
    old_is_whole: bool


class Leave(msgspec.Struct, frozen=True, gc=False):
    """The shape lost a row; `old` holds at least its key."""

    old: Row


class Clear(msgspec.Struct, frozen=True, gc=False):
    """The shape lost all its rows."""


Effect: TypeAlias = Enter | Alter | Rekey | Leave | Clear


def effect_of(change: Change, key: tuple[int, ...]) -> Effect:
    """Tell what a change means for a whole-table shape with the given key columns.

    Raises DecodeError when the key of an update is not in the log.
    """
    match change:
        case Insert(new=new):
            return Enter(new)
        case Update(old=None, new=new):
            _insist_on_key(change.relation, new, key)
            return Alter(None, new)
        case Update(old=old, new=new, old_is_whole=old_is_whole):
            assert old is not None
            new = _filled(old, new, None if old_is_whole else key)
            if any(old[i] != new[i] for i in key):
                return Rekey(old, new, old_is_whole)
            return Alter(old if old_is_whole else None, new)
        case Delete(old=old):
            return Leave(old)
        case Truncate():
            return Clear()
        case _:
            assert_never(change)


def _insist_on_key(relation: Relation, new: Row, key: tuple[int, ...]) -> None:
    # PostgreSQL sends the old key when a large key value was not touched.
    for i in key:
        if new[i] is UNCHANGED:
            name = relation.columns[i].name
            raise DecodeError(
                "Update", f"{name}.kind", 0, "a key that is not told, nor the old row"
            )


def _filled(old: Row, new: Row, known: tuple[int, ...] | None) -> Row:
    """Take unchanged cells from those columns of the old row that are known (None: all)."""
    if UNCHANGED not in new:
        return new
    return tuple(
        old[i] if cell is UNCHANGED and (known is None or i in known) else cell
        for i, cell in enumerate(new)
    )
