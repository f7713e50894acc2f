"""A model of a database: tables, transactions with positions, and snapshots.

The one rule: it is naive on purpose. A commit's effects are found by comparing all rows before with
all rows after it, and every state is kept. What took two lines cannot share the oracle's mistakes.

As in PostgreSQL, a commit reaches the log before snapshots can see it: a snapshot may miss the
newest commit although it has been streamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import (
    Baseline,
    Column,
    Committed,
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

Rows = dict[Key, Row]
State = dict[str, Rows]


def _table(name: str, key: str, columns: str) -> Table:
    pairs = [column.split(":") for column in columns.split()]
    return Table(name, tuple(key.split()), tuple(Column(*pair) for pair in pairs))


TABLES = {
    table.name: table
    for table in (
        _table("orders", "id", "id:int8 tenant:text quantity:int4 is_paid:bool note:text"),
        _table("items", "id", "id:int8 tenant:text quantity:int4 note:text"),
        _table("members", "tenant id", "tenant:text id:int4 quantity:numeric note:text"),
    )
}


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction: what was done, as the log has it, and what came of it."""

    lsn: Lsn
    truth: Committed
    effects: dict[str, dict[Key, tuple[Row | None, Row | None]]]
    rekeyed: dict[str, list[tuple[Key, Key]]]
    truncated: frozenset[str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a reader saw: all commits below `index`, but for one that it could not see yet."""

    index: int
    unseen: int | None
    rows: Rows


class Database:
    """Hold the log, and the state after each of its commits."""

    def __init__(self, begin: Lsn, state: State) -> None:
        self.begin = begin
        self.states: list[State] = [state]
        self.log: list[Commit] = []

    @property
    def now(self) -> State:
        """Return the newest state."""
        return self.states[-1]

    @property
    def baseline(self) -> Baseline:
        """Return the state that the run began with."""
        rows = self.states[0]
        tables = (TableRows(table, tuple(rows[name].values())) for name, table in TABLES.items())
        return Baseline(self.begin, tuple(tables))

    def lsn_at(self, index: int) -> Lsn:
        """Return the position of a reader that has read so many commits."""
        return self.log[index - 1].lsn if index else self.begin

    def index_of(self, lsn: Lsn) -> int:
        """Return how many commits lie at or below a position."""
        return sum(commit.lsn <= lsn for commit in self.log)

    def commit(self, lsn: Lsn, changes: Iterable[TableChange]) -> Committed:
        """Carry out a transaction."""
        truth = Committed(lsn, 1000 + len(self.log), tuple(changes))
        before = self.now
        after = {name: dict(rows) for name, rows in before.items()}
        rekeyed: dict[str, list[tuple[Key, Key]]] = {name: [] for name in TABLES}
        truncated: set[str] = set()
        for change in truth.changes:
            match change:
                case Inserted(table, row):
                    after[table][key_of(table, row)] = row
                case Updated(table, old_key, row):
                    del after[table][old_key]
                    after[table][key_of(table, row)] = row
                    if old_key != key_of(table, row):
                        rekeyed[table].append((old_key, key_of(table, row)))
                case Deleted(table, key):
                    del after[table][key]
                case Truncated(tables):
                    truncated |= set(tables)
                    for table in tables:
                        after[table].clear()
        effects = {name: compare(before[name], after[name]) for name in TABLES}
        self.log.append(Commit(lsn, truth, effects, rekeyed, frozenset(truncated)))
        self.states.append(after)
        return truth

    def snapshot(self, table: str, *, unseen: bool) -> Snapshot:
        """Read a table; `unseen` asks for a snapshot that cannot see the newest commit yet."""
        index = len(self.log)
        if unseen and index:
            return Snapshot(index, index - 1, self.states[index - 1][table])
        return Snapshot(index, None, self.now[table])


def key_of(table: str, row: Row) -> Key:
    """Return the key of a row."""
    return tuple(row[TABLES[table].index_of(name)] for name in TABLES[table].key)


def compare(before: Rows, after: Rows) -> dict[Key, tuple[Row | None, Row | None]]:
    """Return the rows that differ, key by key."""
    return {
        key: (before.get(key), after.get(key))
        for key in before | after
        if before.get(key) != after.get(key)
    }
