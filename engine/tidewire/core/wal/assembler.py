"""Messages become transactions.

pgoutput sends whole committed transactions, one after another::

    idle --B--> open --(R Y I U D T O)*--> open --C--> idle, one Transaction

Row messages are kept as they came; a transaction that grows beyond its share of memory moves to the
spool. The assembler belongs to one replication connection: a new connection names all relations
again, and a transaction that was cut is sent again from its Begin.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NoReturn

from tidewire import limits
from tidewire.core.model.lsn import LSN_ZERO, Lsn
from tidewire.core.model.relation import Relation
from tidewire.core.model.spool import Spool, SpoolFile
from tidewire.core.model.transaction import RowMessage, RowMessages, Transaction
from tidewire.core.wal.decoder import read_truncate
from tidewire.core.wal.messages import (
    Begin,
    read_begin,
    read_commit,
    read_relation,
    read_type,
)
from tidewire.core.wal.publishing import Publishing
from tidewire.core.wal.reader import Reader
from tidewire.core.wal.values import TypeTable
from tidewire.errors import DecodeError

_OID = struct.Struct(">I").unpack_from
_OID_END = 4
_ROWS = frozenset(b"IUD")
_COMMIT = ord("C")
_RECORD = struct.Struct(">II")


class SpooledMessages:
    """Row messages in a spool file: records of relation number, length and bytes."""

    def __init__(self, file: SpoolFile) -> None:
        self._file = file
        self._relations: list[Relation] = []
        self._numbers: dict[int, int] = {}
        self._pending = bytearray()

    def append(self, row: RowMessage) -> None:
        """Add one message; it reaches the file at the latest with `flush`."""
        relation, message = row
        self._pending += _RECORD.pack(self._number(relation), len(message)) + message
        if len(self._pending) >= limits.SPOOL_BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        self._file.append(bytes(self._pending))
        self._pending.clear()

    def __iter__(self) -> Iterator[RowMessage]:
        """Walk all messages, a block at a time."""
        data, offset, at = b"", 0, 0
        while True:
            missing = _RECORD.size - (len(data) - at)
            if missing <= 0:
                number, length = _RECORD.unpack_from(data, at)
                end = at + _RECORD.size + length
                missing = end - len(data)
                if missing <= 0:
                    yield self._relations[number], data[at + _RECORD.size : end]
                    at = end
                    continue
            # A large row is read at once: block by block would copy it again and again.
            block = self._file.read(offset, max(missing, limits.SPOOL_BLOCK_BYTES))
            if not block:
                return
            data, at, offset = data[at:] + block, 0, offset + len(block)

    def _number(self, relation: Relation) -> int:
        number = self._numbers.get(id(relation))
        if number is None:
            number = self._numbers[id(relation)] = len(self._relations)
            self._relations.append(relation)
        return number


class Assembler:
    """Feed it the messages of one replication connection, one by one."""

    def __init__(
        self,
        spool: Spool,
        memory_bytes_max: int = limits.TRANSACTION_MEMORY_BYTES,
        *,
        publishing: Publishing | None = None,
    ) -> None:
        self._spool = spool
        self._memory_bytes_max = memory_bytes_max
        self._publishing = publishing or Publishing()
        self._absent: frozenset[int] = frozenset()
        """Tables of which nothing counts that the open transaction did."""
        self._types = TypeTable()
        self._relations: dict[int, Relation] = {}
        self._begin: Begin | None = None
        self._rows: list[RowMessage] = []
        self._spooled: SpooledMessages | None = None
        self._size = 0
        self._count = 0
        self._has_left_out = False

    @property
    def is_open(self) -> bool:
        """Tell whether a transaction has begun and is not complete."""
        return self._begin is not None

    def feed(self, messages: Iterable[bytes]) -> list[Transaction]:
        """Take messages in order; return the transactions that they complete.

        Raises DecodeError when a message makes no sense here; the connection is then of no use.
        """
        completed = []
        relations = self._relations
        for message in messages:
            kind = message[0] if message else 0
            if kind in _ROWS:
                # The hot path: most messages under load end in these three lines.
                relation = relations.get(_OID(message, 1)[0]) if len(message) > _OID_END else None
                if relation is not None and self._begin is not None:
                    self._keep(relation, message)
                    continue
                self._reject_row(message)
            elif kind == _COMMIT:
                transaction = self._commit(message)
                if transaction.rows or not self._has_left_out:
                    completed.append(transaction)
            else:
                self._rare(message)
        return completed

    def _reject_row(self, message: bytes) -> NoReturn:
        if self._begin is None:
            raise DecodeError("Row", "kind", 0, "a row outside of any transaction")
        oid = Reader("Row", message, 1).unsigned("relation", 4)
        raise DecodeError("Row", "relation", 1, f"relation {oid} was not announced")

    def _keep(self, relation: Relation, message: bytes) -> None:
        if self._absent and relation.oid in self._absent:
            assert self._begin is not None, "checked by the callers"
            self._publishing.leave_out(relation.oid, self._begin.xid)
            self._has_left_out = True
            return
        self._size += len(message)
        self._count += 1
        if self._spooled is not None:
            self._spooled.append((relation, message))
            return
        self._rows.append((relation, message))
        if self._size > self._memory_bytes_max:
            self._move_to_spool()

    def _move_to_spool(self) -> None:
        self._spooled = SpooledMessages(self._spool.create())
        for row in self._rows:
            self._spooled.append(row)
        self._rows = []

    def _rare(self, message: bytes) -> None:
        match kind := message[:1]:
            case b"B":
                self._open(message)
            case b"R":
                self._learn_relation(message)
            case b"Y":
                self._types.learn(*read_type(message))
            case b"T":
                self._add_truncate(message)
            case b"O" | b"M":
                pass  # where another server replicated it from; a message, ours for a heartbeat
            case _:
                raise DecodeError("Message", "kind", 0, f"{kind!r} is not of pgoutput, version 1")

    def _open(self, message: bytes) -> None:
        if self._begin is not None:
            raise DecodeError("Begin", "kind", 0, "the transaction before is not complete")
        self._begin = read_begin(message)
        self._absent, self._has_left_out = self._publishing.absent(self._begin.xid), False
        self._rows, self._spooled, self._size, self._count = [], None, 0, 0

    def _learn_relation(self, message: bytes) -> None:
        relation = read_relation(message, self._types)
        # The walsender repeats itself after every invalidation; the same version stays the same
        # object, so that whatever was compiled for it stays valid.
        if self._relations.get(relation.oid) != relation:
            self._relations[relation.oid] = relation

    def _add_truncate(self, message: bytes) -> None:
        if self._begin is None:
            raise DecodeError("Truncate", "kind", 0, "a truncate outside of any transaction")
        for oid in read_truncate(message):
            if oid in self._relations:
                self._keep(self._relations[oid], b"T" + oid.to_bytes(4, "big"))

    def _commit(self, message: bytes) -> Transaction:
        begin, commit = self._begin, read_commit(message)
        if begin is None:
            raise DecodeError("Commit", "kind", 0, "no transaction is open")
        if begin.final_lsn != commit.commit_lsn:
            raise DecodeError("Commit", "commit_lsn", 2, "not what Begin announced")
        self._begin = None
        return Transaction(
            lsn=_checked_end(commit.end_lsn),
            xid=begin.xid,
            at=commit.at,
            messages=self._take_messages(),
            size=self._size,
            rows=self._count,
            is_spooled=self._spooled is not None,
        )

    def _take_messages(self) -> RowMessages:
        if self._spooled is None:
            return tuple(self._rows)  # a list would be walked by every garbage collection
        self._spooled.flush()
        return self._spooled


def _checked_end(lsn: Lsn) -> Lsn:
    if lsn == LSN_ZERO:
        raise DecodeError("Commit", "end_lsn", 10, "a position expected, 0/0 found")
    return lsn
