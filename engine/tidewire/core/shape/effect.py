"""What a change of a table means for a client of a shape.

::

    change                    before -> after the change, is the row in the shape?
                              in -> in               in -> out     out -> in    out -> out
    insert                                                         Enter(new)   nothing
    update, same key          Alter(old if known, new)  Leave(old) Enter(new)   nothing
    update, another key       Rekey(old, new)        Leave(old)    Enter(new)   nothing
    delete                                           Leave(old)                 nothing
    truncate                  Clear

A shape without a condition has every row. What is known of the old row is judged by what the
message itself carries (the whole row, its identity columns, or nothing because these did not
change), and by the version of the table in force then.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, assert_never

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
from tidewire.core.model.relation import Identity, Relation
from tidewire.errors import DecodeError

Judge: TypeAlias = Callable[[Row], bool]


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


class Move(enum.Enum):
    """How a change moves its row with respect to a condition."""

    STAYS = "stays"
    ENTERS = "enters"
    LEAVES = "leaves"
    ELSEWHERE = "elsewhere"
    """The row was not in the shape, and is not."""
    UNKNOWN = "unknown"
    """The log does not carry what the condition looks at."""


class Aspect(NamedTuple):
    """What a shape shows of a row: its columns in its order, then its key, from `key_at` on.

    So rows of different versions of a table become rows of one form.
    """

    pick: Callable[[Row], Row]
    key_at: int


def filled(change: Change) -> Change:
    """Take the unchanged cells of an updated row from what the message tells of the old row."""
    if not isinstance(change, Update) or change.old is None or UNCHANGED not in change.new:
        return change
    old, is_whole, columns = change.old, change.old_is_whole, change.relation.columns
    has_identity = not _is_full(change.relation)
    new = tuple(
        old[i]
        if cell is UNCHANGED and (is_whole or (has_identity and column.in_identity))
        else cell
        for i, (cell, column) in enumerate(zip(change.new, columns, strict=True))
    )
    return Update(change.relation, old, new, is_whole)


def known_rows(change: Change) -> tuple[Row, ...] | None:
    """Return the rows, old and new, that tell which conditions a change concerns.

    An old row that is left out has the same identity columns as the new one. None is the answer
    when it may be any condition.
    """
    if isinstance(change, Insert):
        return (change.new,)
    if isinstance(change, Truncate):
        return None
    if not change.old_is_whole and _is_full(change.relation):
        return None  # such a message does not belong to this version: it tells too little
    if isinstance(change, Delete):
        return (change.old,)
    return (change.new,) if change.old is None else (change.old, change.new)


def _is_full(relation: Relation) -> bool:
    return relation.identity is Identity.FULL


def move_of(change: Change, judge: Judge, where: tuple[int, ...]) -> Move:
    """Tell what a filled change means for a condition over the columns `where`."""
    rows = known_rows(change)
    if rows is None:
        return Move.STAYS if isinstance(change, Truncate) else Move.UNKNOWN
    if isinstance(change, Insert):
        return Move.ENTERS if judge(rows[0]) else Move.ELSEWHERE
    if isinstance(change, Delete):
        return Move.LEAVES if judge(rows[0]) else Move.ELSEWHERE
    new = rows[-1]
    if UNCHANGED in new and any(new[i] is UNCHANGED for i in where):
        return Move.UNKNOWN
    is_in = judge(new)
    return _MOVES[is_in if len(rows) == 1 else judge(rows[0]), is_in]


_MOVES = {
    (True, True): Move.STAYS,
    (True, False): Move.LEAVES,
    (False, True): Move.ENTERS,
    (False, False): Move.ELSEWHERE,
}


def effect_of(change: Change, aspect: Aspect, move: Move = Move.STAYS) -> Effect:
    """Tell what a filled change means for a shape, given how it moves the row.

    Raises DecodeError when the key of an update is not in the log.
    """
    # Chains of isinstance, because this runs for each row, and `match` takes twice as long.
    if isinstance(change, Update):
        return _effect_of_update(change, aspect, move)
    if isinstance(change, Insert):
        return Enter(aspect.pick(change.new))
    if isinstance(change, Delete):
        return Leave(aspect.pick(change.old))
    if isinstance(change, Truncate):
        return Clear()
    assert_never(change)


def _effect_of_update(change: Update, aspect: Aspect, move: Move) -> Effect:
    pick, key_at = aspect
    old, new = change.old, pick(change.new)
    if UNCHANGED in new[key_at:]:
        # PostgreSQL sends the old key when a large key value was not touched.
        raise DecodeError("Update", "key", 0, "a key that is not told, nor the old row")
    if move is Move.ENTERS:
        return Enter(new)
    if old is None:
        return Alter(None, new)
    old = pick(old)
    if move is Move.LEAVES:
        return Leave(old)
    if old[key_at:] != new[key_at:]:
        return Rekey(old, new, change.old_is_whole)
    return Alter(old if change.old_is_whole else None, new)
