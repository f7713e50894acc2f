"""A model of PostgreSQL in which commits are written, flushed and seen in different orders.

::

    write ... commit record (LSN) ...... flushed: streamed, and survives a crash
                  '...................... seen: snapshots show it, its locks are gone

Method: a commit is flushed in the order of LSNs, and seen in any order: long after it was flushed
(a standby stalls) or before (`synchronous_commit = off`). Rows are locked by their keys, and tables
by TRUNCATE, until the transaction is *seen*: so what transactions do to one row follows the order
of the log. A crash forgets what was not flushed; LSNs and transaction numbers are given out again.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from engine.tests.simulation.tables import TABLES, VIEWS, Key, Row, Rows, Shown
from tidewire.core.model.lsn import Lsn, Xid
from tidewire.core.model.transaction import RowMessage, Transaction
from tidewire.core.stream.splice import Snapshot

FIRST_LSN = 0x1000
# Transaction numbers in the stream have 32 bits: in some runs they overflow early.
WRAP = 1 << 32


class Truth:
    """The rows at each position, by replay of the flushed commits in the order of the log."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.log: list[Transaction] = []
        self._ends: list[list[int]] = [[0] for _ in TABLES]
        self._rows: list[list[dict[Key, Row]]] = [[{}] for _ in TABLES]
        self._shown: dict[tuple[int, int], Shown] = {}

    def branch(self, epoch: str, until: int | None = None) -> Truth:
        """Return a history that is the same so far, or up to a position."""
        other = Truth(epoch)
        other.log = [commit for commit in self.log if until is None or commit.lsn <= until]
        for table, ends in enumerate(self._ends):
            count = len(ends) if until is None else bisect.bisect_right(ends, until)
            other._ends[table] = ends[:count]
            other._rows[table] = self._rows[table][:count]
        return other

    def add(self, commit: Transaction, writes: list[Writes]) -> None:
        self.log.append(commit)
        for table, its in enumerate(writes):
            if its.is_cleared or its.rows:
                self._ends[table].append(commit.lsn)
                self._rows[table].append(its.over(self._rows[table][-1]))

    def rows(self, table: int) -> dict[Key, Row]:
        """Return the newest rows of a table."""
        return self._rows[table][-1]

    def shown(self, view: int, position: int) -> Shown:
        """Return what a client should see through a view at a position."""
        table = VIEWS[view].table
        at = bisect.bisect_right(self._ends[table], position) - 1
        found = self._shown.get((view, at))
        if found is None:
            found = self._shown[view, at] = VIEWS[view].of(self._rows[table][at])
        return found

    def behind(self, position: int) -> int:
        """Return the place in the log of the first commit behind a position."""
        return bisect.bisect_right(self.log, position, key=lambda commit: commit.lsn)


@dataclass(slots=True)
class Writes:
    """What a transaction has done to one table, all in all."""

    rows: dict[Key, Row | None] = field(default_factory=dict)
    is_cleared: bool = False

    def over(self, rows: Rows) -> dict[Key, Row]:
        """Return the rows as they are after it."""
        after = {} if self.is_cleared else dict(rows)
        for key, row in self.rows.items():
            if row is None:
                after.pop(key, None)
            else:
                after[key] = row
        return after


class Work:
    """A transaction of the application."""

    def __init__(self, *, is_asynchronous: bool, is_stalled: bool) -> None:
        self.is_asynchronous = is_asynchronous
        self.is_stalled = is_stalled
        """It waits for a standby, long after it was flushed."""
        self.xid = 0
        """Zero until the first write."""
        self.lsn = 0
        """Zero until it is committed."""
        self.at = 0
        self.is_flushed = False
        self.writes = [Writes() for _ in TABLES]
        self.messages: list[RowMessage] = []
        self.is_silent = False
        """The stream says nothing of it, if it writes to unpublished tables only."""

    def transaction(self) -> Transaction:
        size = sum(len(message) for _, message in self.messages)
        xid = Xid(self.xid % WRAP)
        rows = tuple(self.messages)
        return Transaction(Lsn(self.lsn), xid, self.at, rows, size, len(rows))


class Postgres:
    """The database: transactions, locks, the end of the log, and what snapshots see."""

    def __init__(self, first_xid: int) -> None:
        self.truth = Truth("epoch-0")
        self.truths = {self.truth.epoch: self.truth}
        self.open: list[Work] = []
        self.unflushed: list[Work] = []
        """Committed, in the order of the log."""
        self.unseen: list[Work] = []
        """Committed, and not in snapshots yet."""
        self.inserted = self.flushed = FIRST_LSN
        self._seen: list[dict[Key, Row]] = [{} for _ in TABLES]
        self._locks: dict[tuple[int, Key], Work] = {}
        self._table_locks: dict[int, Work] = {}
        self._next_xid = self._first_xid = first_xid
        self._completed = first_xid - 1
        self._durable_xid = first_xid - 1
        self._clock = 0

    # --- transactions ---

    def begin(self, *, is_asynchronous: bool, is_stalled: bool) -> Work:
        work = Work(is_asynchronous=is_asynchronous, is_stalled=is_stalled)
        self.open.append(work)
        return work

    def rows(self, work: Work, table: int) -> dict[Key, Row]:
        """Return the rows of a table as a statement of this transaction sees them."""
        return work.writes[table].over(self._seen[table])

    def may_write(self, work: Work, table: int, *keys: Key) -> bool:
        """Tell whether nobody holds a lock on the table or on these keys."""
        owner = self._table_locks.get(table)
        if owner not in {None, work}:
            return False
        return all(self._locks.get((table, key)) in {None, work} for key in keys)

    def may_truncate(self, work: Work, table: int) -> bool:
        others = [each for each in (*self.open, *self.unseen) if each is not work]
        is_used = any(each.writes[table].rows or each.writes[table].is_cleared for each in others)
        return not is_used

    def note(self, work: Work) -> None:
        """Give a transaction its number, at its first write."""
        if not work.xid:
            work.xid = self._next_xid
            self._next_xid += 1

    def insert(self, work: Work, table: int, row: Row) -> None:
        key = TABLES[table].key_of(row)
        self._lock(work, table, key)
        work.writes[table].rows[key] = row
        work.messages.append(TABLES[table].insert(row))

    def update(self, work: Work, table: int, old: Row, new: Row) -> None:
        before, key = TABLES[table].key_of(old), TABLES[table].key_of(new)
        self._lock(work, table, before, key)
        if before != key:
            work.writes[table].rows[before] = None
        work.writes[table].rows[key] = new
        work.messages.append(TABLES[table].update(old, new))

    def delete(self, work: Work, table: int, old: Row) -> None:
        key = TABLES[table].key_of(old)
        self._lock(work, table, key)
        work.writes[table].rows[key] = None
        work.messages.append(TABLES[table].delete(old))

    def truncate(self, work: Work, table: int) -> None:
        self.note(work)
        self._table_locks[table] = work
        work.writes[table] = Writes(is_cleared=True)
        work.messages.append(TABLES[table].truncate())

    def _lock(self, work: Work, table: int, *keys: Key) -> None:
        self.note(work)
        for key in keys:
            self._locks[table, key] = work

    def roll_back(self, work: Work) -> None:
        self.open.remove(work)
        self._complete(work)

    def commit(self, work: Work, bytes: int) -> None:
        """Write the commit record."""
        self.open.remove(work)
        if not work.xid:
            return
        self.inserted += bytes
        self._clock += 1
        work.lsn, work.at = self.inserted, self._clock
        self.unflushed.append(work)
        self.unseen.append(work)

    def flush(self, position: int) -> None:
        """Make the log safe up to a position; from then on it is streamed."""
        self.flushed = max(self.flushed, position)
        while self.unflushed and self.unflushed[0].lsn <= self.flushed:
            work = self.unflushed.pop(0)
            work.is_flushed = True
            self._durable_xid = max(self._durable_xid, work.xid)
            if work.messages or not work.is_silent:
                self.truth.add(work.transaction(), work.writes)

    def may_be_seen(self) -> list[Work]:
        return [work for work in self.unseen if work.is_flushed or work.is_asynchronous]

    def see(self, work: Work) -> None:
        """Let snapshots show a commit, and others have its rows."""
        self.unseen.remove(work)
        for table, writes in enumerate(work.writes):
            if writes.rows or writes.is_cleared:
                self._seen[table] = writes.over(self._seen[table])
        self._complete(work)

    def _complete(self, work: Work) -> None:
        self._completed = max(self._completed, work.xid)
        self._locks = {key: owner for key, owner in self._locks.items() if owner is not work}
        self._table_locks = {
            key: owner for key, owner in self._table_locks.items() if owner is not work
        }

    # --- snapshots ---

    def may_snapshot(self, table: int) -> bool:
        """Tell whether LOCK TABLE ... IN ACCESS SHARE MODE would not wait."""
        return table not in self._table_locks

    def snapshot(self) -> Snapshot:
        """Say what `pg_current_snapshot()` does."""
        xmax = self._completed + 1
        running = (work.xid for work in (*self.open, *self.unseen))
        between = frozenset(xid for xid in running if 0 < xid < xmax)
        return Snapshot(min(between, default=xmax), xmax, between)

    def read(self, view: int) -> list[bytes]:
        """Return the rows that a snapshot taken now shows, as JSON."""
        return VIEWS[view].json(self._seen[VIEWS[view].table])

    def judge(self) -> None:
        """Hold the two ways to the same rows against each other, when all is flushed and seen."""
        for table, rows in enumerate(self._seen):
            assert rows == self.truth.rows(table), "the model does not agree with itself"

    # --- disasters ---

    def crash(self, skipped_xids: int) -> None:
        """Forget what was not flushed; its positions and numbers are given out again."""
        self.open, self.unflushed, self.unseen = [], [], []
        self._locks, self._table_locks = {}, {}
        self.inserted = self.flushed
        self._seen = [dict(self.truth.rows(table)) for table in range(len(TABLES))]
        self._next_xid = self._durable_xid + 1 + skipped_xids
        self._completed = self._next_xid - 1

    def new_epoch(self, *, rewound_to: int | None = None) -> None:
        """Begin another history: a new slot, or (rewound) a backup that was put in place."""
        if rewound_to is not None:
            self.crash(0)
            self.inserted = self.flushed = rewound_to
        self.truth = self.truth.branch(f"epoch-{len(self.truths)}", rewound_to)
        self.truths[self.truth.epoch] = self.truth
        if rewound_to is not None:
            xids = [commit.xid for commit in self.truth.log]
            wide = [self._widen(xid) for xid in xids]
            self._durable_xid = max(wide, default=self._first_xid - 1)
            self.crash(0)

    def _widen(self, xid: int) -> int:
        return self._first_xid + (xid - self._first_xid) % WRAP
