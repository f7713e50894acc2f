"""What of a definition a client shows when it comes back: the server may not know it any more.

A server that was started again knows tables as they are now. So a client keeps, beside its cursor,
the fingerprint of the definition that its rows fit. It answers the questions of `find_fault`, with
one rule: who is in doubt says no, and the rows are copied again. ::

    newest.file.same.written

    same     digest of what must not change: the table, its key, its columns by number and type
    newest   what has a greater oid came later: labels and partitions may, if nothing was in them
    file     another file has other values only where ...
    written  ... columns were defined anew, too
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from tidewire.core.shape.definition import ColumnDefinition, Definition
from tidewire.core.shape.layout import Layout

# Hexadecimal, of 64 bits: a client that makes up a fingerprint deceives itself only.
_DIGEST_CHARS = 16


class _Fingerprint(NamedTuple):
    newest: int
    file: int
    same: str
    written: str


def fingerprint(layout: Layout, definition: Definition) -> str:
    """Return the fingerprint of a table for shapes that fit it."""
    oids = [each.oid for each in definition.partitions]
    oids += [label.oid for column in definition.columns for label in column.labels]
    newest, file, same, written = _take(layout, definition, max(oids, default=0))
    return f"{newest:x}.{file:x}.{same}.{written}"


def is_of(text: str, layout: Layout, definition: Definition) -> bool:
    """Tell whether rows that fitted the definition of this fingerprint fit this one, too."""
    try:
        newest, file, same, written = text.split(".")
        old = _Fingerprint(int(newest, 16), int(file, 16), same, written)
    except ValueError:
        return False  # none of ours
    new = _take(layout, definition, old.newest)
    came_later = (each for each in definition.partitions if each.oid > old.newest)
    return (
        old.same == new.same
        and (old.file == new.file or old.written == new.written)
        and all(each.came_empty for each in came_later)
    )


def _take(layout: Layout, definition: Definition, newest: int) -> _Fingerprint:
    needed = dict(layout.needs)
    columns = [each for each in definition.columns if each.name in needed]
    partitions = [each for each in definition.partitions if each.oid <= newest]
    same = [
        definition.oid,
        definition.publication,
        definition.key,
        [_identity(each, newest) for each in columns],
        [(each.oid, each.file, each.attached_by) for each in partitions],
    ]
    written = _digest([each.written_by for each in columns])
    return _Fingerprint(newest, definition.file, _digest(same), written)


def _identity(column: ColumnDefinition, newest: int) -> object:
    labels = [label for label in column.labels if label.oid <= newest]
    return column.number, column.name, column.type_oid, labels


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:_DIGEST_CHARS]
