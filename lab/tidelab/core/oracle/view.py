"""What one shape shows, at every position.

The one rule: a view follows its table's log of effects lazily, and remembers the digest after each
commit that changed it. So the digest at a position is a bisection, and rows are put together only
when somebody needs to see them.
"""

from __future__ import annotations

from bisect import bisect_right

from tidelab.core.history.position import Lsn, format_lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import Key, Row
from tidelab.core.oracle.digest import digest_of, with_row, without_row
from tidelab.core.oracle.filter import compile_shape
from tidelab.core.oracle.state import Effects, TableState
from tidelab.errors import OracleError

NO_EFFECTS: Effects = {}


class View:
    """Answer what a shape shows of its table at a position."""

    def __init__(self, shape: Shape, state: TableState, begin: Lsn) -> None:
        self.shape = shape
        self.table = state.table
        self._state = state
        self._seen = compile_shape(shape, state.table)
        self._key_indexes = [shape.columns.index(name) for name in state.table.key]
        first = {key: seen for key, row in state.baseline.items() if (seen := self._seen(row))}
        self._versions: dict[Key, list[tuple[Lsn, Row | None]]] = {
            key: [(begin, row)] for key, row in first.items()
        }
        self._lsns = [begin]
        self._digests = [digest_of(first.values())]
        self._effects: dict[Lsn, Effects] = {}
        self._read = 0

    def key_of(self, row: Row) -> Key:
        """Return the key of a row as the shape shows it."""
        return tuple([row[index] for index in self._key_indexes])

    def digest_at(self, lsn: Lsn) -> int:
        """Return the digest of the rows shown at a position.

        Raises OracleError if the position lies before the baseline.
        """
        self._advance()
        return self._digests[self._index_at(lsn)]

    def row_at(self, key: Key, lsn: Lsn) -> Row | None:
        """Return the row of a key as shown at a position, None if it is not shown."""
        self._advance()
        versions = self._versions.get(key, ())
        index = bisect_right(versions, lsn, key=lambda version: version[0])
        return versions[index - 1][1] if index else None

    def rows_at(self, lsn: Lsn) -> dict[Key, Row]:
        """Return all rows shown at a position; this walks over all that were ever shown."""
        self._advance()
        shown = ((key, self.row_at(key, lsn)) for key in self._versions)
        return {key: row for key, row in shown if row is not None}

    def versions_of(self, key: Key) -> list[tuple[Lsn, Row | None]]:
        """Return when a key was shown how; None is where it went."""
        self._advance()
        return self._versions.get(key, [])

    def effects_at(self, lsn: Lsn) -> Effects:
        """Return what the commit at a position changed in the view; nothing if there is none."""
        self._advance()
        return self._effects.get(lsn, NO_EFFECTS)

    def commits_between(self, after: Lsn, upto: Lsn) -> list[Lsn]:
        """Return the commits that changed the view, above one position and up to another."""
        self._advance()
        first = max(1, bisect_right(self._lsns, after))
        return self._lsns[first : bisect_right(self._lsns, upto)]

    def _index_at(self, lsn: Lsn) -> int:
        if lsn < self._lsns[0]:
            begin = format_lsn(self._lsns[0])
            raise OracleError(f"{format_lsn(lsn)} lies before {begin}, where the oracle began")
        return bisect_right(self._lsns, lsn) - 1

    def _advance(self) -> None:
        """Take in what the table's log has got since the last question."""
        log = self._state.log
        while self._read < len(log):
            lsn, effects = log[self._read]
            self._read += 1
            shown = {key: (self._see(old), self._see(new)) for key, (old, new) in effects.items()}
            if changed := {key: pair for key, pair in shown.items() if pair[0] != pair[1]}:
                self._take_in(lsn, changed)

    def _see(self, row: Row | None) -> Row | None:
        return None if row is None else self._seen(row)

    def _take_in(self, lsn: Lsn, effects: Effects) -> None:
        digest = self._digests[-1]
        for key, (old, new) in effects.items():
            digest = digest if old is None else without_row(digest, old)
            digest = digest if new is None else with_row(digest, new)
            self._versions.setdefault(key, []).append((lsn, new))
        self._lsns.append(lsn)
        self._digests.append(digest)
        self._effects[lsn] = effects
