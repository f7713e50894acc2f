"""A small sync server in memory: copies, staged commits, live commits, positions, resuming.

The one rule: without bugs it keeps every promise, in the simplest way there is. A session is a
cursor into the log; live subscriptions get each commit once, in order; a copy is a snapshot in
chunks and then every commit that the snapshot did not see, up to the cursor: there it is live.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tidelab.core.history.event import (
    Claimed,
    ClientEvent,
    Copied,
    Part,
    Received,
    Reset,
    Subscribed,
    Values,
)
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Equal, Shape
from tidelab.selftest.bugs import Bug, Faults
from tidelab.selftest.database import Database, Snapshot
from tidelab.selftest.projection import Projection

CHUNK_ROWS = 8
FLOOR_COMMITS = 12  # a client that is further behind than this has fallen off the log


@dataclass(slots=True)
class Subscription:
    """One shape of a session; those with the same group become live together."""

    id: str
    projection: Projection
    group: int
    snapshot: Snapshot | None = None
    chunks: deque[tuple[Values, ...]] = field(default_factory=deque)
    is_live: bool = False
    is_forgotten: bool = False


class Server:
    """Serve a database; sessions share nothing but what bugs make them share."""

    def __init__(self, database: Database, bugs: frozenset[Bug], random: Random) -> None:
        self.database = database
        self.random = random
        self.faults = Faults(bugs, random)
        self.old_copies: dict[Shape, Snapshot] = {}

    def session(self, cursor: Lsn | None) -> Session:
        """Open a session, for a client that has been here before if it shows a cursor."""
        return Session(self, cursor)


class Session:
    """One connection: what it has to say collects in `outbox`."""

    def __init__(self, server: Server, cursor: Lsn | None) -> None:
        self.outbox: deque[ClientEvent] = deque()
        self._server = server
        self._database = server.database
        self._faults = server.faults
        self._subscriptions: dict[str, Subscription] = {}
        self._groups = 0
        self._late: list[Received] = []
        tail = len(self._database.log)
        self._cursor = tail if cursor is None else self._database.index_of(cursor)
        self._is_back = cursor is not None
        self._is_lagged = tail - self._cursor > FLOOR_COMMITS
        self._is_silent = self._is_back and self._faults.has(Bug.FALLS_SILENT)
        if self._is_lagged:
            self._cursor = tail
        elif self._is_back:
            self._misplace_cursor()

    @property
    def is_at_rest(self) -> bool:
        """Tell whether everything has been said."""
        copying = any(not each.is_live for each in self._subscriptions.values())
        return not self.outbox and not copying and self._cursor == len(self._database.log)

    def subscribe(self, wanted: Sequence[tuple[str, Shape]], *, resume: bool) -> None:
        """Take subscriptions, which become live together."""
        if self._faults.has(Bug.DOES_NOTHING):
            return
        self._groups += 1
        for index, (id, shape) in enumerate(wanted):
            projection = Projection(shape, self._faults)
            subscription = Subscription(id, projection, self._groups)
            self._subscriptions[id] = subscription
            if resume and (not self._is_lagged or self._faults.has(Bug.HIDES_RESET)):
                self._resume(subscription, index)
            else:
                if resume:
                    self.outbox.append(Reset("lagged", id))
                self.outbox.append(Subscribed(id, shape, "copy"))
                self._begin_copy(subscription)

    def unsubscribe(self, id: str) -> None:
        """Forget a subscription."""
        self._subscriptions.pop(id, None)

    def pump(self, commits_max: int) -> None:
        """Say what there is to say, but for commits only so many."""
        if self._faults.has(Bug.DOES_NOTHING) or self._is_silent:
            return
        if self._faults.strikes(Bug.CLAIMS_TOO_EARLY) and self._has_live():
            self._claim(len(self._database.log))
        end = min(len(self._database.log), self._cursor + commits_max)
        while self._cursor < end:
            self._swap_next(end)
            self._cursor += 1
            self._deliver(self._cursor - 1)
        for group in sorted({s.group for s in self._subscriptions.values() if not s.is_live}):
            self._copy([s for s in self._subscriptions.values() if s.group == group])
        if self._server.random.random() < 0.3:
            self.progress()

    def progress(self) -> None:
        """Say how far the client is."""
        if self._has_live() and not self._is_silent:
            self._flush_late()
            self._claim(self._cursor)
            if self._cursor > 2 and self._faults.strikes(Bug.CLAIMS_OLD_POSITION):
                self._claim(self._cursor - 2)

    # --- resuming ---

    def _misplace_cursor(self) -> None:
        """Put a client that comes back where it is not, if a bug wants it."""
        if self._faults.has(Bug.SKIPS_ONE_ON_RESUME):
            self._cursor = min(self._cursor + 1, len(self._database.log))
        if self._faults.has(Bug.REPEATS_LAST_ON_RESUME):
            self._cursor = max(0, self._cursor - 1)
        if self._faults.has(Bug.GOES_BACK_ON_RESUME):
            self._cursor = max(0, self._cursor - 3)

    def _resume(self, subscription: Subscription, index: int) -> None:
        subscription.is_live = True
        if index == 0 and self._faults.has(Bug.FORGETS_SUBSCRIPTION):
            subscription.is_forgotten = True
            return
        shape = subscription.projection.shape
        self.outbox.append(Subscribed(subscription.id, shape, "resume"))
        if self._faults.has(Bug.WRONG_TENANT_ON_RESUME):
            other = Shape(shape.table, shape.columns, Equal("tenant", "blue"))
            subscription.projection = Projection(other, self._faults)
        if self._faults.has(Bug.GOES_BACK_ON_RESUME):
            self._claim(self._cursor)

    # --- live commits ---

    def _has_live(self) -> bool:
        return any(s.is_live and not s.is_forgotten for s in self._subscriptions.values())

    def _swap_next(self, end: int) -> None:
        """Send the commit after the next one first, if the bug strikes."""
        if self._cursor + 2 <= end and self._faults.strikes(Bug.REORDERS_COMMITS, 0.4):
            self._deliver(self._cursor + 1)
            self._deliver(self._cursor)
            self._cursor += 2
            self._cursor -= self._cursor == end

    def _parts(self, index: int, subscriptions: Sequence[Subscription]) -> list[Part]:
        commit = self._database.log[index]
        parts = []
        for each in subscriptions:
            after = self._database.states[index + 1][each.projection.shape.table]
            if changes := each.projection.changes(commit, after):
                parts.append(Part(each.id, tuple(changes)))
        return parts

    def _deliver(self, index: int) -> None:
        """Tell all live subscriptions of one commit."""
        early = self._faults.has(Bug.TELLS_COPY_AS_LIVE)
        live = [
            s
            for s in self._subscriptions.values()
            if not s.is_forgotten and (s.is_live or (early and s.chunks))
        ]
        lsn = self._database.log[index].lsn
        parts = self._parts(index, live)
        if not parts or self._faults.strikes(Bug.DROPS_COMMIT):
            return
        for event in self._messages(lsn, parts):
            self.outbox.append(event)
            if self._faults.strikes(Bug.DELIVERS_TWICE):
                self.outbox.append(event)
        if self._faults.strikes(Bug.INVENTS_COMMIT):
            self.outbox.append(Received(Lsn(lsn + 1), tuple(parts)))

    def _messages(self, lsn: Lsn, parts: list[Part]) -> list[Received]:
        """Put a commit into one message, or into several that a bug makes of it."""
        if self._faults.has(Bug.TEARS_SUBSCRIPTIONS):
            return [Received(lsn, (part,)) for part in parts]
        if self._faults.has(Bug.SPLITS_TRANSACTION):
            return [
                Received(lsn, (Part(part.id, (change,)),))
                for part in parts
                for change in part.changes
            ]
        whole = Received(lsn, tuple(parts))
        if not self._faults.has(Bug.DELAYS_ONE_TABLE):
            return [whole]
        late = tuple(p for p in parts if self._table_of(p) == "items")
        now = tuple(p for p in parts if self._table_of(p) != "items")
        messages = [Received(lsn, now)] * bool(now) + self._late * bool(now)
        self._late = (self._late if not now else []) + [Received(lsn, late)] * bool(late)
        return messages

    def _table_of(self, part: Part) -> str:
        return self._subscriptions[part.id].projection.shape.table

    def _flush_late(self) -> None:
        self.outbox.extend(self._late)
        self._late = []

    def _claim(self, index: int, live: Sequence[str] = ()) -> None:
        self.outbox.append(Claimed(self._database.lsn_at(index), tuple(live)))

    # --- copies ---

    def _begin_copy(self, subscription: Subscription) -> None:
        projection = subscription.projection
        unseen = self._server.random.random() < 0.4
        snapshot = self._database.snapshot(projection.shape.table, unseen=unseen)
        if self._faults.has(Bug.SERVES_OLD_COPY):
            rows = self._server.old_copies.setdefault(projection.shape, snapshot).rows
            snapshot = Snapshot(snapshot.index, snapshot.unseen, rows)
        whole = self._faults.has(Bug.COPIES_WHOLE_TABLE)
        shown = [
            projection.values(row)
            for row in snapshot.rows.values()
            if whole or projection.shows(row)
        ]
        starts = range(0, max(1, len(shown)), CHUNK_ROWS)
        chunks = [tuple(shown[start : start + CHUNK_ROWS]) for start in starts]
        if self._faults.has(Bug.AGREES_TO_ALL):
            chunks = [()]
        if len(chunks) > 1 and self._faults.has(Bug.LOSES_CHUNK):
            del chunks[1]
        subscription.snapshot = snapshot
        subscription.chunks = deque(chunks)
        self.outbox.append(Copied(subscription.id, subscription.chunks.popleft(), begins=True))

    def _copy(self, group: Sequence[Subscription]) -> None:
        """Send a chunk of each copy; when all are sent, and the log has been read, join."""
        early = self._faults.has(Bug.SHOWS_COPY_EARLY)
        for each in group:
            if each.chunks:
                event = Copied(each.id, each.chunks.popleft())
                self.outbox.append(event)
                self.outbox.extend([event] * self._faults.has(Bug.REPEATS_CHUNK))
        read = all(s.snapshot is not None and s.snapshot.index <= self._cursor for s in group)
        done = read and not any(s.chunks for s in group)
        waits = self._server.random.random() < 0.4 or self._faults.has(Bug.NEVER_ENDS_COPY)
        if done and not waits:
            for each in group:
                if not early and not self._faults.has(Bug.AGREES_TO_ALL):
                    self._stage(each)
                each.is_live = True
            self._claim(self._cursor, [each.id for each in group])

    def _stage(self, subscription: Subscription) -> None:
        """Send what the snapshot did not see, up to the cursor."""
        snapshot = subscription.snapshot
        assert snapshot is not None
        unseen = [] if snapshot.unseen is None else [snapshot.unseen]
        if self._faults.has(Bug.FORGETS_UNSEEN_COMMIT):
            unseen = []
        since = list(range(snapshot.index, self._cursor))
        if self._faults.has(Bug.LOSES_TAIL):
            since = []
        if self._faults.has(Bug.STAGES_WHAT_COPY_HAS):
            first = snapshot.index if snapshot.unseen is None else snapshot.unseen
            unseen = [*range(max(0, first - 3), first), *unseen]
        for index in (*unseen, *since):
            parts = self._parts(index, [subscription])
            if parts:
                lsn = self._database.log[index].lsn
                self.outbox.append(Received(lsn, tuple(parts), is_staged=True))
