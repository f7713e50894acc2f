"""The log: recent commits in order, from the floor to the tail.

::

    floor                         tail          progress
      |---(commit]---(commit]---(commit]- - - - - -|
      everything in here can be sent again          nothing committed in here

Readers address commits by number, which never changes: commit `n` is at `entries[n - first]`.
The newest commit is never dropped, so that a restarted server is sent it again and can compare its
tag with the cursors that clients bring.

A commit is streamed before snapshots of the database see it. One that has left the log without ever
having been seen is remembered as *unsettled*: a snapshot that does not see it cannot be continued
from this log, and the slot keeps it, so that a restarted server knows it too.
"""

from __future__ import annotations

import bisect
import enum
from collections import deque
from typing import NamedTuple

from tidewire import limits
from tidewire.core.model.lsn import LSN_ZERO, Lsn, Xid
from tidewire.core.model.transaction import Transaction
from tidewire.core.stream.splice import Snapshot


class Place(enum.Enum):
    """How a position and tag that a client brings relate to this log."""

    FOUND = "found"
    AHEAD = "ahead"
    """Beyond what this node has read: wait."""
    LOST = "lost"
    """Below the floor: what came after it is gone."""
    FOREIGN = "foreign"
    """Another history."""


# What a commit and a row of it take in memory beside their bytes (tuples, headers of objects).
_COMMIT_OVERHEAD_BYTES = 500
_ROW_OVERHEAD_BYTES = 120


class Mark(NamedTuple):
    """The last commit with rows that a position lies behind."""

    lsn: Lsn
    tag: str


class _Entry(NamedTuple):
    transaction: Transaction
    arrived: float
    weight: int
    tag: str
    """Of the last commit up to this one that has rows: all that clients can know."""
    after: Lsn
    """Between the commit before and here there is none."""


class History:
    """The commits of the last minutes, bounded in bytes and time."""

    def __init__(
        self,
        floor: Lsn = LSN_ZERO,
        *,
        bytes_max: int = limits.LOG_BYTES,
        seconds_max: float = limits.LOG_S,
    ) -> None:
        self.epoch = ""
        """Names the history that all positions here belong to."""
        self.floor = floor
        """Where the log begins: the slot may move to here, and no further."""
        self._solid = Mark(floor, "")
        """Behind here nothing with rows was dropped: a client that is here has missed nothing."""
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._entries: list[_Entry] = []
        self._ends: list[Lsn] = []
        self._first = 0
        self._bytes = 0
        self._paused_at: float | None = None
        self._paused_s = 0.0
        """Time that did not count."""
        self._progress = floor
        self._horizon = 0
        self._unsettled: deque[tuple[Lsn, Xid]] = deque()
        """Dropped commits in order, from the first on that no snapshot has seen."""
        self._settled = floor

    def restart(
        self, epoch: str, floor: Lsn, horizon: int = 0, *, solid: Mark | None = None
    ) -> None:
        """Begin another history, with nothing in it; its commits get new numbers.

        Transactions before `horizon` may have been committed before the log begins, and yet be
        visible only later: a snapshot has to see them. `solid` is the last commit with rows before
        the floor, where that is known.
        """
        self._horizon = horizon
        self._first = self.next
        self.epoch, self.floor, self._solid = epoch, floor, solid or Mark(floor, "")
        self._entries, self._ends, self._bytes = [], [], 0
        self._progress = self._settled = floor
        self._unsettled.clear()

    @property
    def first(self) -> int:
        """Number of the oldest commit that is kept."""
        return self._first

    @property
    def next(self) -> int:
        """Number that the next commit will get: a reader there is at the tail."""
        return self._first + len(self._entries)

    @property
    def bytes(self) -> int:
        """Bytes that the log takes, in memory and in the spool."""
        return self._bytes

    @property
    def progress(self) -> Lsn:
        """Every commit that ends at or below is known: in the log, or below its floor."""
        return self._progress

    @property
    def tag(self) -> str:
        """Tag of the last commit with rows at or below `progress`."""
        return self._entries[-1].tag if self._entries else self._solid.tag

    @property
    def newest(self) -> Lsn:
        """Position of the newest commit, or where the log begins."""
        return self._ends[-1] if self._ends else self.floor

    @property
    def has_unsettled(self) -> bool:
        """Tell whether commits were dropped that may not be visible in the database yet."""
        return bool(self._unsettled)

    @property
    def quiet(self) -> Mark | None:
        """The last commit with rows, if none is in the log and all are visible to everybody.

        Then the log tells nobody where they are, unless this is remembered.
        """
        is_quiet = not self._unsettled and self.tag == self._solid.tag
        return self._solid if is_quiet else None

    @property
    def settled(self) -> Lsn:
        """Position that the slot may move to: all before it was dropped and is visible."""
        return self._settled if self._unsettled else self.floor

    def settle(self, snapshot: Snapshot) -> None:
        """Note what the database shows by now."""
        while self._unsettled and snapshot.sees(self._unsettled[0][1]):
            self._settled, _ = self._unsettled.popleft()

    def unseen(self, snapshot: Snapshot) -> list[int] | None:
        """Return the numbers of all commits that a snapshot does not see; None if it misses more.

        Commits are visible in another order than that of the log, so all are looked at.
        """
        if snapshot.xmin < self._horizon:
            return None
        if not all(snapshot.sees(xid) for _, xid in self._unsettled):
            return None
        sees = snapshot.sees
        return [
            number
            for number, entry in enumerate(self._entries, self._first)
            if not sees(entry.transaction.xid)
        ]

    def at(self, number: int) -> Transaction:
        """Return the commit with this number, which must be in the log."""
        return self._entries[number - self._first].transaction

    def has(self, transaction: Transaction) -> bool:
        """Tell whether the log has this commit with as many rows, or is past it."""
        if transaction.lsn <= self.floor:
            return True
        place = bisect.bisect_left(self._ends, transaction.lsn)
        found = self._entries[place].transaction if place < len(self._ends) else None
        return found is not None and _identity(found) == _identity(transaction)

    def before(self, number: int) -> tuple[Lsn, str]:
        """Return position and tag of a reader that has seen all kept commits below `number`."""
        if number <= self._first:
            return self.floor, self._solid.tag
        entry = self._entries[number - 1 - self._first]
        return entry.transaction.lsn, entry.tag

    def reached(self, number: int) -> tuple[Lsn, str]:
        """Return the last position, and its tag, at which such a reader has seen everything.

        It may have been told of any position before its next commit.
        """
        position, tag = self.before(number)
        if number == self.next:
            return self._progress, tag
        return Lsn(max(position, self.at(number).lsn - 1)), tag

    def append(self, transaction: Transaction, now: float) -> int:
        """Add a commit behind all others and return its number."""
        assert transaction.lsn > self.newest, "commits in order"
        weight = _weight(transaction)
        tag = transaction.tag if transaction.rows else self.tag
        self._entries.append(_Entry(transaction, now - self._paused_s, weight, tag, self._progress))
        self._ends.append(transaction.lsn)
        self._bytes += weight
        self.advance(transaction.lsn)
        self._trim_bytes()
        return self.next - 1

    def advance(self, progress: Lsn) -> None:
        """Note that no further commit will end at or below this position."""
        self._progress = max(self._progress, progress)

    def pause(self, now: float) -> None:
        """Grow no older until `resume`: nobody reads, and nothing comes."""
        self._paused_at = now

    def resume(self, now: float) -> None:
        """Go on where the log was when it was paused."""
        assert self._paused_at is not None, "paused before"
        self._paused_s += now - self._paused_at
        self._paused_at = None

    def expire(self, now: float) -> None:
        """Drop commits that are older than the window."""
        if self._paused_at is not None:
            return
        limit = now - self._paused_s - self._seconds_max
        count = 0
        # A commit without rows is of use only to the slot, which may move to it at once.
        while count < len(self._entries) - 1 and (
            self._entries[count].arrived < limit or not self._entries[count].transaction.rows
        ):
            count += 1
        self._drop(count)

    def shed(self, below: Lsn) -> None:
        """Drop commits that end at or below a position: the database cannot keep them so long."""
        self._drop(min(bisect.bisect_right(self._ends, below), max(len(self._entries) - 1, 0)))

    def locate(self, lsn: Lsn, tag: str) -> tuple[Place, int]:
        """Find the number of the first commit behind a position that a client brings."""
        if lsn > self._progress:
            return Place.AHEAD, 0
        if lsn < self._solid.lsn:
            return Place.LOST, 0
        number = self._first + bisect.bisect_right(self._ends, lsn)
        _, expected = self.before(number)
        return (Place.FOUND, number) if tag == expected else (Place.FOREIGN, 0)

    def _trim_bytes(self) -> None:
        count, bytes_left = 0, self._bytes
        while count < len(self._entries) - 1 and bytes_left > self._bytes_max:
            bytes_left -= self._entries[count].weight
            count += 1
        self._drop(count)

    def _drop(self, count: int) -> None:
        if not count:
            return
        dropped = self._entries[:count]
        self.floor = self._entries[count].after  # the newest is never dropped
        self._bytes -= sum(entry.weight for entry in dropped)
        gone = [entry.transaction for entry in dropped]
        self._unsettled.extend((transaction.lsn, transaction.xid) for transaction in gone)
        solid = (Mark(each.lsn, each.tag) for each in gone if each.rows)
        self._solid = max(solid, default=self._solid)
        del self._entries[:count]
        del self._ends[:count]
        self._first += count


def _identity(transaction: Transaction) -> tuple[Lsn, str, int]:
    return transaction.lsn, transaction.tag, transaction.rows


def _weight(transaction: Transaction) -> int:
    objects = 0 if transaction.is_spooled else transaction.rows * _ROW_OVERHEAD_BYTES
    return transaction.size + objects + _COMMIT_OVERHEAD_BYTES
