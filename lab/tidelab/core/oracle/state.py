"""The state of one table at every position since the baseline.

The one rule: a commit becomes its net effect, key by key: the row before and the row after it. All
else, the state at a position and what a shape makes of it, is read from that log of effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

from tidelab.core.history.position import Lsn, format_lsn
from tidelab.core.history.truth import (
    Deleted,
    Inserted,
    Key,
    Row,
    Table,
    TableChange,
    TableRows,
    Truncated,
    Updated,
)
from tidelab.errors import OracleError

Effects = Mapping[Key, tuple[Row | None, Row | None]]


class TableState:
    """Hold the rows of a table now, those of the baseline, and the effects of every commit."""

    def __init__(self, begin: TableRows) -> None:
        self.table: Table = begin.table
        self._key_indexes = [begin.table.index_of(name) for name in begin.table.key]
        self.baseline: dict[Key, Row] = {self.key_of(row): row for row in begin.rows}
        self.rows = dict(self.baseline)
        self.log: list[tuple[Lsn, Effects]] = []

    def key_of(self, row: Row) -> Key:
        """Return the key of a whole row."""
        return tuple([row[index] for index in self._key_indexes])

    def apply(self, lsn: Lsn, changes: Iterable[TableChange]) -> None:
        """Apply the changes that one commit made to this table.

        Raises OracleError when they do not fit: something was missed, and nothing can be trusted.
        """
        before: dict[Key, Row | None] = {}
        for change in changes:
            try:
                self._apply(change, before)
            except KeyError as error:
                raise OracleError(
                    f"{self.table.name} at {format_lsn(lsn)}: the oracle has no row {error}, "
                    "which the commit changes: it has missed something"
                ) from None
        effects = {key: (old, self.rows.get(key)) for key, old in before.items()}
        self.log.append((lsn, {key: pair for key, pair in effects.items() if pair[0] != pair[1]}))

    def _apply(self, change: TableChange, before: dict[Key, Row | None]) -> None:
        match change:
            case Inserted(_, row):
                self._put(row, before)
            case Updated(_, old_key, row, untouched):
                old = self._take(old_key, before)
                self._put(tuple(_filled(row, old, untouched)), before)
            case Deleted(_, key):
                self._take(key, before)
            case Truncated():
                for key in list(self.rows):
                    self._take(key, before)
            case _:
                assert_never(change)

    def _take(self, key: Key, before: dict[Key, Row | None]) -> Row:
        row = self.rows.pop(key)
        before.setdefault(key, row)
        return row

    def _put(self, row: Row, before: dict[Key, Row | None]) -> None:
        key = self.key_of(row)
        if key in self.rows:
            raise OracleError(f"{self.table.name} has a row {key} already: something was missed")
        before.setdefault(key, None)
        self.rows[key] = row


def _filled(row: Row, old: Row, untouched: tuple[int, ...]) -> list[str | None]:
    """Take the values that the update did not write again from the old row."""
    filled = list(row)
    for index in untouched:
        filled[index] = old[index]
    return filled
