"""Make one step of a commit that came in parts.

The one rule: parts are applied one after another, the changes of one part together. What comes out
is applied together and leaves the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tidelab.core.history.event import Clear, Patch, Put, Rekey, Remove, RowChange, Values
from tidelab.core.history.truth import Key


def by_key(
    changes: tuple[RowChange, ...], key_columns: tuple[str, ...], columns: frozenset[str]
) -> tuple[RowChange, ...]:
    """Say by key what was said by row: a key whose row goes is not gone when another row gets it.

    Rows are taken out and put in together, so a row that goes and a new one are as good as one
    that gets another key; and a row that comes whole under a key is as good as new values for it.
    """
    put = {_key_of(change, key_columns) for change in changes}
    replaced = [c.key for c in changes if isinstance(c, Remove) and c.key in put]
    for key in replaced:
        changes = _replace(key, changes, key_columns, columns)
    return changes


def _replace(
    key: Key, changes: tuple[RowChange, ...], key_columns: tuple[str, ...], columns: frozenset[str]
) -> tuple[RowChange, ...]:
    others = [change for change in changes if change != Remove(key)]
    for index, change in enumerate(others):
        if isinstance(change, Put):
            new = tuple(change.row[name] for name in key_columns)
            others[index] = Patch(key, change.row) if new == key else Rekey(key, new, change.row)
            return tuple(others)
    for index, change in enumerate(others):
        if isinstance(change, Rekey) and change.key == key and columns <= change.values.keys():
            others[index : index + 1] = [Patch(key, change.values), Remove(change.old)]
            return tuple(others)
    return changes


def _key_of(change: RowChange, key_columns: tuple[str, ...]) -> Key | None:
    """Return the key under which a change puts a row."""
    match change:
        case Put(row):
            return tuple(row[name] for name in key_columns)
        case Patch(key) | Rekey(_, key):
            return key
        case _:
            return None


@dataclass(slots=True)
class _Entry:
    """A row as it will be: a new one, or values laid over the row that `origin` was."""

    values: Values
    origin: Key | None


@dataclass(slots=True)
class Net:
    """Gather the changes of one commit for one subscription whose key has these columns."""

    key_columns: tuple[str, ...]
    _is_cleared: bool = False
    _entries: dict[Key, _Entry] = field(default_factory=dict)
    _gone: dict[Key, None] = field(default_factory=dict)

    def apply(self, changes: Iterable[RowChange]) -> None:
        """Add one part."""
        changes = tuple(changes)
        if any(isinstance(change, Clear) for change in changes):
            self._is_cleared = True
            self._entries.clear()
            self._gone.clear()
        coming = [self._take(change) for change in changes]
        self._entries.update(pair for pair in coming if pair is not None)

    def changes(self) -> tuple[RowChange, ...]:
        """Return the net effect of all parts."""
        found: list[RowChange] = [Clear()] * self._is_cleared
        kept = set()
        for key, entry in self._entries.items():
            if entry.origin is None:
                found.append(Put(entry.values))
                continue
            kept.add(entry.origin)
            is_same = entry.origin == key
            found.append(
                Patch(key, entry.values) if is_same else Rekey(entry.origin, key, entry.values)
            )
        found += [Remove(key) for key in self._gone if key not in kept]
        return tuple(found)

    def _take(self, change: RowChange) -> tuple[Key, _Entry] | None:
        """Take the old row out, and return what is put in."""
        match change:
            case Put(row):
                key = tuple(row[name] for name in self.key_columns)
                return key, _Entry(dict(row), None)
            case Patch(key, values):
                return key, self._moved(key, values)
            case Rekey(old, key, values):
                entry = self._moved(old, values)
                if entry.origin is None:
                    entry.values.update(zip(self.key_columns, key, strict=True))
                return key, entry
            case Remove(key):
                self._remove(key)
        return None

    def _moved(self, key: Key, values: Values) -> _Entry:
        """Lay values over a row, whether it was there before the commit or came with it."""
        entry = self._entries.pop(key, None)
        if entry is None:
            self._gone[key] = None
            return _Entry(dict(values), key)
        return _Entry({**entry.values, **values}, entry.origin)

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            self._gone[key] = None
