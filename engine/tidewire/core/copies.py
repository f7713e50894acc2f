"""The copies of a node: one per shape that somebody wants from the beginning.

A copy is started when the first client asks, read by all that ask for an equal shape, and kept for
a while after its last reader. While it has readers it follows the log, so that rows and commits
together are the table, however long a reader takes::

    (open) -> the shell takes a snapshot -> splice -> add_rows ... finish
                                              '-> follow: the commits that the snapshot misses
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from tidewire import limits
from tidewire.core.encoder import Encoder
from tidewire.core.model.lsn import Lsn
from tidewire.core.model.spool import Spool
from tidewire.core.model.transaction import Transaction
from tidewire.core.parts import CommitParts
from tidewire.core.protocol.codec import encode_chunk, encode_commit, text_frame
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import Shape, ShapeId, ShapeSpec
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.history import History
from tidewire.core.stream.splice import Snapshot
from tidewire.errors import DecodeError, SpoolError

# A copy is worth reading by newcomers while the commits in it are not more than its rows.
_COMMITS_ALWAYS_BYTES = limits.MIB

Start = Callable[[Copy, ShapeSpec], None]
Fail = Callable[[Copy, str, str], None]


class _Entry:
    """A copy with what it needs to follow the log."""

    __slots__ = ("part", "parts", "readers", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.readers: dict[ServerSession, None] = {}
        self.parts: CommitParts | None = None
        """The large commit that it is at, if it is at one."""
        self.part = 0


class Copies:
    """Open, feed and follow copies.

    `start` makes the shell read the table; it answers with `splice`, `add_rows` and `finish`, or
    with `fail`. `wake` is called for sessions whose copy has news, `fail` when there will be none.
    """

    def __init__(
        self,
        index: ShapeIndex,
        encoder: Encoder,
        spool: Spool,
        *,
        name: str,
        start: Start,
        wake: Callable[[ServerSession], None],
        fail: Fail,
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._spool = spool
        self._name = name
        self._start = start
        self._wake = wake
        self._fail = fail
        self._entries: dict[Copy, _Entry] = {}
        self._followed: dict[Copy, _Entry] = {}
        """Those that have a snapshot and readers; those that wait for one can be many."""
        self._read_by: dict[ServerSession, dict[Copy, None]] = {}
        self._newest: dict[ShapeId, Copy] = {}
        self._made = 0

    def __len__(self) -> int:
        return len(self._entries)

    # --- readers ---

    def open(self, shape: Shape, session: ServerSession, resume: str | None = None) -> Copy:
        """Return a copy of a shape for a session to read; give it back with `leave_all_but`."""
        copy = self._newest.get(shape.id)
        if copy is None or not (copy.id == resume or _is_worth_reading(copy)):
            copy = self._begin(shape)
        copy.idle_since = None
        entry = self._entries[copy]
        entry.readers[session] = None
        self._read_by.setdefault(session, {})[copy] = None
        if copy.snapshot is not None:
            self._followed[copy] = entry
        return copy

    def leave_all_but(self, copies: Collection[Copy], session: ServerSession) -> None:
        """Note which copies a session still reads."""
        read = self._read_by.get(session, {})
        for copy in [copy for copy in read if copy not in copies]:
            self._let_go(copy, session)
            entry = self._entries[copy]
            del entry.readers[session]
            if not entry.readers:
                self._followed.pop(copy, None)

    def _let_go(self, copy: Copy, session: ServerSession) -> None:
        read = self._read_by[session]
        del read[copy]
        if not read:
            del self._read_by[session]

    def awaiting(self) -> Iterable[ServerSession]:
        """Yield the sessions that have a copy with all its rows: the log has to come to it."""
        for copy, entry in self._followed.items():
            if copy.is_complete:
                yield from list(entry.readers)

    def readers(self, copy: Copy) -> list[ServerSession]:
        """Return the sessions that read a copy."""
        entry = self._entries.get(copy)
        return list(entry.readers) if entry else []

    def _begin(self, shape: Shape) -> Copy:
        self._made += 1
        copy = Copy(f"{self._name}.{self._made}", self._spool.create)
        self._index.acquire(shape.spec)
        self._entries[copy] = _Entry(shape)
        self._newest[shape.id] = copy
        self._start(copy, shape.spec)
        return copy

    # --- rows, from the shell ---

    def splice(self, copy: Copy, snapshot: Snapshot, until: Lsn, history: History) -> bool:
        """Join a snapshot, just taken, to the log; False when the log does not reach back to it."""
        unseen = history.unseen(snapshot)
        if unseen is None:
            return False
        copy.snapshot, copy.until = snapshot, until
        copy.backlog.extend(unseen)
        copy.number = history.next
        if (entry := self._entries.get(copy)) and entry.readers:
            self._followed[copy] = entry
        return True

    def add_rows(self, copy: Copy, rows: bytes, *, is_last: bool = False) -> None:
        """Add rows, as JSON arrays with commas between, or the end of them."""
        entry = self._entries.get(copy)
        if entry is None:
            return  # it was given up
        try:
            payload = encode_chunk(entry.shape.id, copy.id, copy.chunks, rows, is_last=is_last)
            copy.add_chunk(text_frame(payload))
        except SpoolError as error:
            self.give_up(copy, "unavailable", str(error))
            return
        copy.is_complete = is_last
        if copy.bytes - copy.commit_bytes > limits.COPY_BYTES:
            text = f"its rows are more than {limits.COPY_BYTES // limits.MIB} MiB"
            self.give_up(copy, "too_large", text)
            return
        for session in entry.readers:
            self._wake(session)

    def give_up(self, copy: Copy, code: str, text: str) -> None:
        """Tell all readers that there will be no rows."""
        if copy in self._entries:
            self._fail(copy, code, text)
            self._end(copy)

    # --- the log ---

    def follow(self, history: History, effort_max: int) -> int:
        """Let all copies that are read look at new commits; return how many were looked at."""
        effort = 0
        for copy, entry in list(self._followed.items()):
            before = effort
            while effort < effort_max and not copy.is_dead and _has_news(copy, history):
                effort += self._step(copy, entry, history)
                if copy.commit_bytes > limits.COPY_BYTES:
                    self._restart(copy)
            if effort > before and copy in self._followed:
                self._followed[copy] = self._followed.pop(copy)  # the others come first next time
        return effort

    def has_news(self, history: History) -> bool:
        """Tell whether `follow` has work left."""
        return any(_has_news(copy, history) for copy in self._followed)

    def _step(self, copy: Copy, entry: _Entry, history: History) -> int:
        number = copy.backlog[0] if copy.backlog else copy.number
        if number < history.first:
            self._restart(copy)  # the log was faster
            return 1
        transaction = history.at(number)
        assert copy.snapshot is not None
        is_visible = copy.snapshot.sees(transaction.xid)
        effort = 1
        if not copy.holds(transaction.lsn, is_visible=is_visible):
            try:
                effort, is_done = self._take(copy, entry, number, transaction)
            except (SpoolError, DecodeError) as error:
                self.give_up(copy, "unavailable", str(error))
                return 1
            if copy.is_dead or not is_done:
                return effort
        if copy.backlog:
            copy.backlog.popleft()
        else:
            copy.number += 1
        for session in entry.readers:
            self._wake(session)
        return effort

    def _take(
        self, copy: Copy, entry: _Entry, number: int, transaction: Transaction
    ) -> tuple[int, bool]:
        if transaction.size > limits.COMMIT_PART_BYTES:
            return self._take_part(copy, entry, number, transaction)
        encoded = self._encoder.recall(number, transaction)
        if entry.shape.id in encoded.unfit:
            self.give_up(copy, "schema_changed", "the table changed while it was copied")
        elif part := encoded.parts.get(entry.shape.id):
            copy.add_commit(number, text_frame(encode_commit(transaction, [part], stage=True)))
        return 1, True

    def _take_part(
        self, copy: Copy, entry: _Entry, number: int, transaction: Transaction
    ) -> tuple[int, bool]:
        if entry.parts is None:
            entry.parts = self._encoder.staged_parts(transaction, entry.shape.id)
            entry.part = 0
        parts = entry.parts
        parts.step()
        if parts.unfit:
            self.give_up(copy, "schema_changed", "the table changed while it was copied")
            return 1, True
        while entry.part < len(parts):
            copy.add_commit(number, parts.frame(entry.part))
            entry.part += 1
        if parts.is_complete:
            entry.parts = None
        return limits.CATCHUP_COMMITS, parts.is_complete

    # --- the end of copies ---

    def interrupt(self, progress: Lsn) -> None:
        """Drop copies that may show commits which the database has lost in a crash."""
        for copy in list(self._entries):
            if copy.snapshot is None or copy.until > progress:
                self._restart(copy)

    def discard(self, relation_oid: int) -> None:
        """Drop the copies of a table: not all that happened to it was streamed."""
        for copy, entry in list(self._entries.items()):
            if entry.shape.spec.relation_oid == relation_oid:
                self._restart(copy)

    def drop(self, shapes: Collection[ShapeId]) -> None:
        """Drop the copies of some shapes: their rows are others now."""
        for copy, entry in list(self._entries.items()):
            if entry.shape.id in shapes:
                self._restart(copy)

    def clear(self) -> None:
        """Drop all: they belong to a history that has ended."""
        for copy in list(self._entries):
            self._restart(copy)

    def tick(self, now: float) -> None:
        """Forget copies that nobody has read for a while."""
        for copy, entry in list(self._entries.items()):
            if entry.readers:
                continue
            if copy.idle_since is None:
                copy.idle_since = now
            elif now >= copy.idle_since + limits.COPY_KEEP_S:
                self._end(copy)

    def _restart(self, copy: Copy) -> None:
        """End a copy; its readers find it dead and open another."""
        readers = self.readers(copy)
        self._end(copy)
        for session in readers:
            self._wake(session)

    def _end(self, copy: Copy) -> None:
        entry = self._entries.pop(copy)
        self._followed.pop(copy, None)
        for session in entry.readers:
            self._let_go(copy, session)  # whoever holds its file holds the room that it takes
        copy.is_dead = True
        if self._newest.get(entry.shape.id) is copy:
            del self._newest[entry.shape.id]
        self._index.release(entry.shape)


def _has_news(copy: Copy, history: History) -> bool:
    return bool(copy.backlog) or copy.number < history.next


def _is_worth_reading(copy: Copy) -> bool:
    rows = copy.bytes - copy.commit_bytes
    return copy.commit_bytes <= max(rows, _COMMITS_ALWAYS_BYTES)
