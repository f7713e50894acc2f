"""The rows of one subscription, rebuilt from what the client was told.

The one rule: the changes of one commit are applied together: first a clear, then what is removed or
gets another key is taken out, then rows are put in. The digest follows row by row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from tidelab.core.history.event import Clear, Patch, Put, Rekey, Remove, RowChange, Values
from tidelab.core.history.truth import Key, Row
from tidelab.core.oracle.digest import EMPTY, with_row, without_row
from tidelab.core.oracle.view import View

ABSENT = "\0absent"  # stands for a column that was not sent; no text of PostgreSQL holds a zero


class Replica:
    """Hold rows by key, and the digest of all of them."""

    def __init__(self, view: View) -> None:
        self._columns = view.shape.columns
        self._key_of = view.key_of
        self._key_columns = view.table.key
        self.rows: dict[Key, Row] = {}
        self.digest = EMPTY

    def copy_in(self, rows: Iterable[Values]) -> list[Key]:
        """Take in rows of a copy; return the keys that were there already."""
        return [key for key in map(self._put, map(self.row_of, rows)) if key]

    def clear(self) -> None:
        """Forget all rows."""
        self.rows.clear()
        self.digest = EMPTY

    def apply(self, changes: Iterable[RowChange]) -> list[Key]:
        """Apply what one commit does; return the keys that rows got although they were taken."""
        if any(isinstance(change, Clear) for change in changes):
            self.clear()
        coming: list[Row] = []
        for change in changes:
            match change:
                case Put(row):
                    coming.append(self.row_of(row))
                case Patch(key, values):
                    coming.append(self._patched(self._take(key), key, values))
                case Rekey(old, key, values):
                    coming.append(self._patched(self._take(old), key, values))
                case Remove(key):
                    self._take(key)
                case Clear():
                    continue
                case _:
                    assert_never(change)
        return [key for key in map(self._put, coming) if key]

    def row_of(self, values: Values) -> Row:
        """Bring values into the order of the shape's columns."""
        return tuple([values.get(name, ABSENT) for name in self._columns])

    def _patched(self, old: Row | None, key: Key, values: Values) -> Row:
        """Lay values over a row; what the client never had shows as absent."""
        row = dict(zip(self._columns, old, strict=True)) if old is not None else {}
        row.update(zip(self._key_columns, key, strict=True))
        return self.row_of({**row, **values})

    def _take(self, key: Key) -> Row | None:
        row = self.rows.pop(key, None)
        if row is not None:
            self.digest = without_row(self.digest, row)
        return row

    def _put(self, row: Row) -> Key | None:
        """Put a row in; return its key if it took the place of another."""
        key = self._key_of(row)
        old = self._take(key)
        self.rows[key] = row
        self.digest = with_row(self.digest, row)
        return None if old is None else key
