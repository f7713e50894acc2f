"""What a shape shows of rows and commits, as the reference server sees it, with its bugs.

The one rule: filters are judged here by a second, simpler reading of them, so that a mistake of the
oracle cannot hide behind the same mistake of the server.
"""

from __future__ import annotations

from decimal import Decimal

from tidelab.core.history.event import Clear, Patch, Put, Rekey, Remove, RowChange, Values
from tidelab.core.history.shape import (
    And,
    Between,
    Equal,
    Everything,
    Filter,
    IsNull,
    Not,
    OneOf,
    Or,
    Shape,
)
from tidelab.core.history.truth import Key, Row
from tidelab.selftest.bugs import Bug, Faults
from tidelab.selftest.database import TABLES, Commit

Effect = tuple[Row | None, Row | None]


def holds(filter: Filter, row: dict[str, str | None]) -> bool | None:
    """Judge a row with SQL's three values; the model's numbers are integers."""
    match filter:
        case Everything():
            return True
        case IsNull(column):
            return row[column] is None
        case Equal(column) | OneOf(column) | Between(column) if row[column] is None:
            return None
        case Equal(column, value):
            return row[column] == value
        case OneOf(column, values):
            return row[column] in values
        case Between(column, low, high):
            number = Decimal(row[column] or "")
            return Decimal(low or "-Infinity") <= number <= Decimal(high or "Infinity")
        case Not(part):
            inner = holds(part, row)
            return inner if inner is None else not inner
        case And(parts):
            found = {holds(part, row) for part in parts}
            return False if False in found else None if None in found else True
        case Or(parts):
            found = {holds(part, row) for part in parts}
            return True if True in found else None if None in found else False


class Projection:
    """See tables through one shape."""

    def __init__(self, shape: Shape, faults: Faults) -> None:
        self.shape = shape
        self._names = [column.name for column in TABLES[shape.table].columns]
        self._faults = faults

    def shows(self, row: Row | None) -> bool:
        """Tell whether the shape shows a row."""
        if row is None:
            return False
        return holds(self.shape.filter, dict(zip(self._names, row, strict=True))) is True

    def values(self, row: Row) -> Values:
        """Return what the shape shows of a row."""
        named = dict(zip(self._names, row, strict=True))
        return {name: named[name] for name in self.shape.columns}

    def changes(self, commit: Commit, after: dict[Key, Row]) -> list[RowChange]:
        """Return what a commit means for the shape."""
        table = self.shape.table
        if table in commit.truncated:
            if self._faults.has(Bug.IGNORES_TRUNCATE):
                return []
            return [Clear(), *(Put(self.values(row)) for row in after.values() if self.shows(row))]
        effects = dict(commit.effects[table])
        changes: list[RowChange] = []
        for old, new in commit.rekeyed[table]:
            changes += self._rekey(effects, old, new)
        for key, effect in effects.items():
            changes += self._change(key, *effect)
        if len(changes) > 1 and self._faults.strikes(Bug.DROPS_ROW_UNDER_LOAD, 0.5):
            changes.pop()
        return changes

    def _rekey(self, effects: dict[Key, Effect], old: Key, new: Key) -> list[RowChange]:
        """Tell of a row with a new key, if it was shown before and is shown after."""
        before, after = effects.get(old, (None, None)), effects.get(new, (None, None))
        if before[1] is not None or after[0] is not None or after[1] is None:
            return []
        if not (self.shows(before[0]) and self.shows(after[1])):
            return []
        del effects[old], effects[new]
        values = self.values(after[1])
        if self._faults.has(Bug.KEY_CHANGE_AS_INSERT):
            return [Put(values)]
        assert before[0] is not None
        was = self.values(before[0])
        return [Rekey(old, new, {k: v for k, v in values.items() if was[k] != v})]

    def _change(self, key: Key, old: Row | None, new: Row | None) -> list[RowChange]:
        faults = self._faults
        if new is None:
            is_told = self.shows(old) and not faults.has(Bug.FORGETS_DELETES)
            return [Remove(key)] * is_told
        if self.shows(new):
            if old is None or not self.shows(old):
                missed = old is not None and faults.has(Bug.MISSES_MOVE_IN)
                return [] if missed else [Put(self.values(new))]
            return self._update(key, old, new)
        if self.shows(old) and not faults.has(Bug.KEEPS_MOVED_OUT):
            return [Remove(key)]
        return [Put(self.values(new))] * faults.strikes(Bug.LEAKS_ROW)

    def _update(self, key: Key, old: Row, new: Row) -> list[RowChange]:
        was, values = self.values(old), self.values(new)
        changed = {name: value for name, value in values.items() if was[name] != value}
        if not changed:
            return []
        if self._faults.strikes(Bug.SENDS_STALE_VALUES):
            return [Patch(key, {name: was[name] for name in changed})]
        if "note" in values and "note" not in changed and self._faults.has(Bug.NULLS_UNTOUCHED):
            changed["note"] = None
        return [Patch(key, changed)]
