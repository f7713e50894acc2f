"""What a file makes of batches, with dicts: the kit of all who test what is written down."""

from __future__ import annotations

from tidewire.core.saved import Batch, Entry, Numbers, Saved
from tidewire.core.store import Row, Table
from tidewire.core.stream.cursor import Cursor


class Paper:
    """Entries, rows by their numbers, and a cursor."""

    def __init__(self) -> None:
        self.cursor: Cursor | None = None
        self.entries: dict[str, Entry] = {}
        self.rows: dict[str, dict[int, Row]] = {}
        self._numbers: dict[str, Numbers] = {}

    def write(self, batch: Batch | None) -> list[str]:
        """Take a batch; return what it was about."""
        if batch is None:
            return []
        self.cursor = batch.cursor
        for id, layer, entry in batch.changes:
            if layer is None or layer.has_cleared:
                self.rows[id] = {}
                self.entries.pop(id, None)
            if layer is None:
                del self._numbers[id], self.rows[id]
                continue
            if entry is not None:
                self.entries[id] = entry
            numbers = self._numbers.setdefault(id, Numbers())
            for number in numbers.take(layer):
                del self.rows[id][number]
            self.rows[id].update(numbers.put(layer))
        assert self.entries.keys() == self.rows.keys()
        return [change.id for change in batch.changes]

    def read(self) -> Saved | None:
        """Return what another process finds."""
        if self.cursor is None:
            return None
        tables = []
        for id, entry in self.entries.items():
            table = Table()
            table.describe(entry.table, entry.columns, entry.key)
            rows = [tuple(row.values()) for _, row in sorted(self.rows[id].items())]
            table.rows = dict(table.read(rows))
            table.is_live = True
            self._numbers[id] = Numbers(zip(table.rows, sorted(self.rows[id]), strict=True))
            tables.append((entry, table))
        return Saved(self.cursor, tables)
