"""The bench on which sessions and the hub are tested: tables, transactions, recorded connections.

Method: the real hub and the real sessions, with a spool in memory in place of the disk and a list
in place of the socket. Time is a number that the test passes; nothing runs by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from engine.tests.core import pgoutput
from engine.tests.core.spool import MemorySpool
from tidewire import limits
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import LSN_ZERO, Lsn, Xid, format_lsn
from tidewire.core.model.relation import Column, Identity, JsonForm, Relation
from tidewire.core.model.transaction import RowMessage, Transaction
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import encode
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.splice import Snapshot

Message: TypeAlias = dict[str, Any]
Wanted: TypeAlias = Sequence[tuple[frames.ShapeRequest, ShapeSpec]]

EPOCH = "epoch-1"
FLOOR = Lsn(0x100)
# A body so long that a few rows make a transaction too large for one frame.
LONG = "x" * (limits.COMMIT_PART_BYTES // 8)


class Table(NamedTuple):
    """A table with the columns `id` and `body`, as the stream and as the catalog know it."""

    relation: Relation
    spec: ShapeSpec

    @property
    def name(self) -> str:
        """What clients call it."""
        return self.relation.name

    def insert(self, id: int, body: str = "b") -> RowMessage:
        """Make the row message of a new row."""
        row = [str(id).encode(), body.encode()]
        row += [None] * (len(self.relation.columns) - 2)  # type: ignore[list-item]
        return self.relation, pgoutput.insert(self.relation.oid, row)


def make_table(name: str, oid: int, columns: Sequence[str] = ("id", "body")) -> Table:
    """Make a table whose key is its first column."""
    known = tuple(
        Column(column, 25 if i else 23, -1, i == 0, JsonForm.TEXT if i else JsonForm.NUMBER)
        for i, column in enumerate(columns)
    )
    seen = tuple(ShapeColumn(column, "text" if i else "int4") for i, column in enumerate(columns))
    relation = Relation(oid, "public", name, Identity.DEFAULT, known)
    return Table(relation, ShapeSpec(oid, "public", name, seen, (columns[0],)))


NOTES = make_table("notes", 1)
TASKS = make_table("tasks", 2)


def transaction(lsn: int, *rows: RowMessage, xid: int | None = None) -> Transaction:
    """Make a committed transaction that ends at `lsn`."""
    size = sum(len(message) for _, message in rows)
    return Transaction(Lsn(lsn), Xid(lsn if xid is None else xid), 1_000, rows, size, len(rows))


def large_transaction(lsn: int, *tables: Table, rows: int = 20) -> Transaction:
    """Make one that has to be sent in parts: long rows, `rows` in each of the tables."""
    return transaction(lsn, *(table.insert(i, LONG) for table in tables for i in range(rows)))


def cursor(lsn: int, *, epoch: str = EPOCH, xid: int | None = None, tag: str | None = None) -> Any:
    """Say where a client left off: behind the transaction that ends at `lsn`, if nothing else."""
    known = transaction(lsn, xid=xid).tag if tag is None else tag
    return frames.From(epoch=epoch, lsn=format_lsn(Lsn(lsn)), tag=known)


def seeing(last: int, *missing: int) -> Snapshot:
    """Make a snapshot that sees all transactions up to the xid `last`, but those `missing`."""
    return Snapshot(min([*missing, last + 1]), last + 1, frozenset(missing))


def rows_of(*ids: int) -> bytes:
    """Write rows as a copy brings them."""
    return b",".join(b'[%d,"b"]' % id for id in ids)


def payloads_of(frames: bytes) -> list[bytes]:
    """Strip the headers of WebSocket frames, each final, text, and not masked."""
    payloads = []
    while frames:
        assert frames[0] == 0x81, "a final text frame"
        length, start = frames[1], 2
        if length == 126:
            length, start = int.from_bytes(frames[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(frames[2:10], "big"), 10
        assert len(frames) >= start + length, "a whole frame"
        payloads.append(frames[start : start + length])
        frames = frames[start + length :]
    return payloads


def message_of(frame: bytes) -> Message:
    """Read what is in one frame."""
    (payload,) = payloads_of(frame)
    message: Message = json.loads(payload)
    return message


def write_to_none(descriptors: Sequence[int], frames: bytes) -> Mapping[int, int]:
    """Write to sockets, of which there are none: these sessions have no descriptor."""
    assert not descriptors, frames
    return {}


class Peer:
    """One connection of a server: a session, and all that it has asked its shell to do."""

    def __init__(
        self, id: str = "peer", now: float = 0.0, *, is_authenticated: bool = True
    ) -> None:
        self.written: list[bytes] = []
        self.flushes = 0
        self.pings = 0
        self.aborts: list[str] = []
        self.session = ServerSession(
            id,
            now,
            flush=self._flush,
            send_ping=self._ping,
            abort=self.aborts.append,
            authenticate=lambda token: token == "secret",
            is_authenticated=is_authenticated,
        )

        # As the shell does: what is handed out live goes past the outbox, to the socket.
        self.session.write = self._write

    def _write(self, frames: bytes) -> None:
        self.written.append(frames)

    @property
    def closed_as(self) -> str | None:
        """The name of the close code, if the session wants to close."""
        return self.session.closing[0].name if self.session.closing else None

    def take(self) -> list[bytes]:
        """Return what was written since the last call, frame by frame or joined."""
        written, self.written = self.written, []
        return written

    def heard(self) -> list[Message]:
        """Return the messages that were written since the last call."""
        return [json.loads(payload) for frames in self.take() for payload in payloads_of(frames)]

    def _flush(self) -> None:
        self.flushes += 1
        self.written += self.session.outbox.take()

    def _ping(self) -> None:
        self.pings += 1


class Node:
    """A hub at an empty log, and the turns that it asks for."""

    def __init__(self, spool: MemorySpool | None = None, *, log_bytes: int | None = None) -> None:
        self.now = 0.0
        self.turns_wanted = 0
        self.copies: list[tuple[Copy, ShapeSpec]] = []
        """What the hub wants to be copied, oldest first."""
        self.nudges = 0
        self.nudged_to = LSN_ZERO
        self.hub = Hub(
            spool or MemorySpool(),
            schedule=self._schedule,
            copy=lambda copy, spec: self.copies.append((copy, spec)),
            nudge=self._nudge,
            write_to_all=write_to_none,
            name="node",
            log_bytes=limits.LOG_BYTES if log_bytes is None else log_bytes,
        )
        self.hub.restart(EPOCH, FLOOR)

    def settle(self) -> None:
        """Run turns until none is wanted."""
        while self.turns_wanted:
            self.turns_wanted = 0
            self.hub.turn()

    def open(self, id: str = "peer") -> Peer:
        """Connect a peer that has said hello."""
        peer = Peer(id, self.now)
        self.hub.open(peer.session)
        self.say(peer, frames.Hello(client=id))
        return peer

    def say(self, peer: Peer, frame: frames.Frame) -> Sequence[frames.ShapeRequest]:
        """Let a peer send a message; return what the catalog has to resolve."""
        return self.hub.receive(peer.session, encode(frame), self.now)

    def ask(
        self,
        peer: Peer,
        *tables: Table,
        start: Any = None,
        prefix: str = "",
        initial: bool = False,
        resume: frames.Resume | None = None,
    ) -> Wanted:
        """Subscribe to tables under their own names; return what `hub.join` wants."""
        by_id = {prefix + table.name: table for table in tables}
        shapes = [
            frames.ShapeRequest(
                id=id, table=table.name, start=start, initial=initial, resume=resume
            )
            for id, table in by_id.items()
        ]
        asked = self.say(peer, frames.Subscribe(shapes=shapes))
        return [(request, by_id[request.id].spec) for request in asked]

    def join(self, peer: Peer, *tables: Table, **how: Any) -> None:
        """Subscribe to tables, as `ask` does; the catalog answers at once."""
        self.hub.join(peer.session, self.ask(peer, *tables, **how))

    def live(self, id: str, *tables: Table) -> Peer:
        """Connect a peer that is live with these tables, and whose first messages are read."""
        peer = self.open(id)
        self.join(peer, *tables)
        self.settle()
        assert peer.session.is_live
        peer.take()
        return peer

    def deliver(self, *transactions: Transaction) -> None:
        """Let transactions come from the stream; turns are left to `settle`."""
        self.hub.deliver(transactions, self.now)

    def acknowledge(self, peer: Peer) -> None:
        """Let a peer acknowledge all it was sent."""
        self.say(peer, frames.Ack(n=peer.session.outbox.count))

    def fill_window(self, peer: Peer) -> None:
        """Use up a peer's window, as if it had been sent much and had acknowledged nothing."""
        peer.session.outbox.push_counted(bytes(limits.WINDOW_BYTES))
        peer.session.outbox.take()

    def fill_log(self, count: int = 4, first: int = 0x200) -> list[int]:
        """Deliver commits of `notes`, one by one; return where they end."""
        ends = [first + 0x10 * i for i in range(count)]
        for end in ends:
            self.deliver(transaction(end, NOTES.insert(end)))
        return ends

    def copy_of(self, table: Table) -> Copy:
        """Return the newest copy of a table that the hub has asked for."""
        return [copy for copy, spec in self.copies if spec == table.spec][-1]

    def splice(
        self, table: Table, *, seen: int | None = None, missing: Sequence[int] = (), until: int = 0
    ) -> Copy:
        """Let the database take the snapshot of a table, of all that the log has if not told."""
        copy, progress = self.copy_of(table), self.hub.history.progress
        snapshot = seeing(progress if seen is None else seen, *missing)
        assert self.hub.splice(copy, snapshot, Lsn(until) or progress)
        return copy

    def bring(self, table: Table, *ids: int, **snapshot: Any) -> Copy:
        """Let the database copy a table in one go: rows with these ids, under one snapshot."""
        copy = self.splice(table, **snapshot)
        self.hub.copies.add_rows(copy, rows_of(*ids))
        self.hub.copies.add_rows(copy, b"", is_last=True)
        self.settle()
        return copy

    def _nudge(self, position: Lsn) -> None:
        self.nudges += 1
        self.nudged_to = position

    def _schedule(self) -> None:
        self.turns_wanted += 1


def lsns(messages: Sequence[Message]) -> list[int]:
    """Return where the commits among messages end; a commit in parts counts with its last."""
    return [
        position(message["lsn"])
        for message in messages
        if message["type"] == "commit" and message.get("last", True)
    ]


def position(text: str) -> int:
    """Read X/Y."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def kinds(messages: Sequence[Message]) -> list[str]:
    """Return the types of messages."""
    return [message["type"] for message in messages]
