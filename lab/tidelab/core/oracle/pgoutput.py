"""Read logical replication messages of the plugin pgoutput, protocol version 1, text format.

The one rule: bytes in, commits out, each value in its one writing (`history/value.py`). A message
that is cut off or unknown is an error that names it. The layout is that of the manual's chapter
"Logical Replication Message Formats":

    B  begin      final position, time, xid
    C  commit     flags, position, end position, time
    R  relation   oid, schema, name, identity, columns (flags, name, type, modifier)
    I  insert     oid, 'N' row
    U  update     oid, ['K' key | 'O' old row], 'N' row
    D  delete     oid, 'K' key | 'O' old row
    T  truncate   count, flags, oids
    O Y M         origin, type, message: nothing for us

`test_decoding` would be easier to read but does not print every value as PostgreSQL does.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import (
    Committed,
    Deleted,
    Inserted,
    Key,
    Row,
    Table,
    TableChange,
    Truncated,
    Updated,
)
from tidelab.core.history.value import canonical
from tidelab.errors import DecodeError

_IGNORED = frozenset(b"OYM")


@dataclass(frozen=True, slots=True)
class _Relation:
    """A table as the stream describes it: where each of our columns stands in its tuples."""

    table: Table
    order: tuple[int, ...]
    key: tuple[int, ...]


@dataclass(slots=True)
class _Tuple:
    values: list[str | None] = field(default_factory=list)
    untouched: set[int] = field(default_factory=set)


class _Reader:
    """Read the fields of one message, never beyond its end."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = 1

    def number(self, layout: str) -> int:
        """Read one number of a `struct` layout."""
        try:
            (value,) = struct.unpack_from(layout, self._message, self._at)
        except struct.error:
            raise self.error("is cut off") from None
        self._at += struct.calcsize(layout)
        return int(value)

    def bytes(self, count: int) -> bytes:
        """Read so many bytes."""
        part = self._message[self._at : self._at + count]
        if len(part) < count:
            raise self.error("is cut off")
        self._at += count
        return part

    def string(self) -> str:
        """Read a text that a zero byte ends."""
        end = self._message.find(b"\0", self._at)
        if end < 0:
            raise self.error("is cut off")
        text = self._message[self._at : end].decode()
        self._at = end + 1
        return text

    def error(self, what: str) -> DecodeError:
        """Make an error that names the message."""
        return DecodeError(f"message {self._message[:1]!r} {what} at byte {self._at}")


class Decoder:
    """Turn messages into commits; tables that are not followed are passed over."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._relations: dict[int, _Relation | None] = {}
        self._open: tuple[int, list[TableChange]] | None = None

    def receive(self, message: bytes) -> Committed | None:
        """Take in one message; return the commit that it completes.

        Raises DecodeError.
        """
        reader = _Reader(message)
        match message[:1]:
            case b"B":
                reader.bytes(16)  # the position of the commit record's begin, and the time
                self._open = (reader.number(">I"), [])
            case b"C":
                return self._commit(reader)
            case b"R":
                self._relation(reader)
            case b"I" | b"U" | b"D" | b"T":
                self._change(message[:1], reader)
            case kind if not kind or kind[0] not in _IGNORED:
                raise reader.error("is unknown")
        return None

    def _commit(self, reader: _Reader) -> Committed:
        if self._open is None:
            raise reader.error("comes without a begin")
        (xid, changes), self._open = self._open, None
        reader.bytes(9)  # flags, and the position of the commit record's begin
        return Committed(Lsn(reader.number(">Q")), xid, tuple(changes))

    def _relation(self, reader: _Reader) -> None:
        oid = reader.number(">I")
        schema, name = reader.string(), reader.string()
        reader.bytes(1)  # the identity: old tuples tell by themselves what they hold
        names = [self._column(reader) for _ in range(reader.number(">H"))]
        table = self._tables.get(name if schema == "public" else f"{schema}.{name}")
        self._relations[oid] = None if table is None else _relation(table, names, reader)

    @staticmethod
    def _column(reader: _Reader) -> str:
        reader.bytes(1)
        name = reader.string()
        reader.bytes(8)
        return name

    def _change(self, kind: bytes, reader: _Reader) -> None:
        if self._open is None:
            raise reader.error("comes without a begin")
        change = self._truncated(reader) if kind == b"T" else self._changed(kind, reader)
        if change is not None:
            self._open[1].append(change)

    def _truncated(self, reader: _Reader) -> TableChange | None:
        count = reader.number(">I")
        reader.bytes(1)
        relations = [self._relation_of(reader) for _ in range(count)]
        names = tuple(relation.table.name for relation in relations if relation is not None)
        return Truncated(names) if names else None

    def _changed(self, kind: bytes, reader: _Reader) -> TableChange | None:
        relation = self._relation_of(reader)
        if relation is None:
            return None
        name = relation.table.name
        marker = reader.bytes(1)
        old: Key | None = None
        if marker in (b"K", b"O"):
            old = _key(_read_tuple(reader), relation)
            if kind == b"D":
                return Deleted(name, old)
            marker = reader.bytes(1)
        if marker != b"N" or kind == b"D":
            raise reader.error(f"has an unexpected tuple {marker!r}")
        new = _read_tuple(reader)
        row, untouched = _row(new, relation)
        if kind == b"I":
            return Inserted(name, row)
        return Updated(name, _key(new, relation) if old is None else old, row, untouched)

    def _relation_of(self, reader: _Reader) -> _Relation | None:
        oid = reader.number(">I")
        if oid not in self._relations:
            raise reader.error(f"names table {oid}, which was never described,")
        return self._relations[oid]


def _relation(table: Table, names: list[str], reader: _Reader) -> _Relation:
    """Find our columns in the tuples of the stream."""
    if missing := [column.name for column in table.columns if column.name not in names]:
        raise reader.error(f"describes {table.name} without column {missing[0]!r}")
    order = tuple(names.index(column.name) for column in table.columns)
    return _Relation(table, order, tuple(names.index(name) for name in table.key))


def _read_tuple(reader: _Reader) -> _Tuple:
    found = _Tuple()
    for index in range(reader.number(">H")):
        match reader.bytes(1):
            case b"n":
                found.values.append(None)
            case b"u":
                found.values.append(None)
                found.untouched.add(index)
            case b"t":
                found.values.append(reader.bytes(reader.number(">I")).decode())
            case kind:
                raise reader.error(f"has a value of unknown kind {kind!r}")
    return found


def _key(found: _Tuple, relation: _Relation) -> Key:
    return tuple([found.values[index] for index in relation.key])


def _row(found: _Tuple, relation: _Relation) -> tuple[Row, tuple[int, ...]]:
    columns = relation.table.columns
    row = tuple(
        [canonical(c.type, found.values[i]) for c, i in zip(columns, relation.order, strict=True)]
    )
    return row, tuple(i for i, index in enumerate(relation.order) if index in found.untouched)
