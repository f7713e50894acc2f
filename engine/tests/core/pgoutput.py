"""Messages of pgoutput (protocol version 1) as bytes, for tests: what a walsender would send.

Method: each function writes one message from the words of the PostgreSQL manual, "Logical
Replication Message Formats", without any code of the engine, so that writer and reader are two
opinions. Times are microseconds since 1970.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from tidewire.core.model.change import UNCHANGED, Cell

Cells = Sequence[Cell]
ColumnInput = tuple[str, int, bool]
"""Name, oid of the type, and whether the column belongs to the replica identity."""

POSTGRES_EPOCH_US = 946_684_800_000_000
AT_US = 1_700_000_000_000_000
# What lies between the start of a commit record and its end, here.
COMMIT_BYTES = 0x30

BOOL, INT2, INT4, INT8, TEXT = 16, 21, 23, 20, 25
JSON, JSONB, FLOAT4, FLOAT8, NUMERIC = 114, 3802, 700, 701, 1700


def begin(xid: int = 7, final_lsn: int = 0x100, at_us: int = AT_US) -> bytes:
    """Open a transaction; `final_lsn` is where its commit record starts."""
    return b"B" + struct.pack(">QQI", final_lsn, at_us - POSTGRES_EPOCH_US, xid)


def commit(
    commit_lsn: int = 0x100, end_lsn: int | None = None, at_us: int = AT_US, flags: int = 0
) -> bytes:
    """Complete a transaction; `end_lsn` is where its commit record ends."""
    end = commit_lsn + COMMIT_BYTES if end_lsn is None else end_lsn
    return b"C" + struct.pack(">BQQQ", flags, commit_lsn, end, at_us - POSTGRES_EPOCH_US)


def relation(
    oid: int,
    schema: str,
    name: str,
    columns: Sequence[ColumnInput] = (("id", INT4, True),),
    identity: str = "d",
    modifier: int = -1,
) -> bytes:
    """Announce a version of a table; its columns are (name, type oid, in identity)."""
    head = struct.pack(">I", oid) + _text(schema) + _text(name) + identity.encode("latin-1")
    body = b"".join(
        bytes((in_identity,)) + _text(column) + struct.pack(">Ii", type_oid, modifier)
        for column, type_oid, in_identity in columns
    )
    return b"R" + head + struct.pack(">H", len(columns)) + body


def type_name(oid: int, schema: str, name: str) -> bytes:
    """Name the type behind an oid that is not built in."""
    return b"Y" + struct.pack(">I", oid) + _text(schema) + _text(name)


def origin(name: str = "elsewhere", commit_lsn: int = 1) -> bytes:
    """Name the server on which the transaction was born."""
    return b"O" + struct.pack(">Q", commit_lsn) + _text(name)


def insert(oid: int, row: Cells) -> bytes:
    """Add a row."""
    return b"I" + struct.pack(">I", oid) + b"N" + tuple_data(row)


def update(oid: int, new: Cells, old: Cells | None = None, old_kind: str = "K") -> bytes:
    """Change a row; `old_kind` is K for the identity columns only, O for the whole old row."""
    before = b"" if old is None else old_kind.encode() + tuple_data(old)
    return b"U" + struct.pack(">I", oid) + before + b"N" + tuple_data(new)


def delete(oid: int, old: Cells, kind: str = "K") -> bytes:
    """Remove a row; `kind` as in `update`."""
    return b"D" + struct.pack(">I", oid) + kind.encode() + tuple_data(old)


def truncate(oids: Sequence[int], options: int = 0) -> bytes:
    """Empty some tables."""
    return b"T" + struct.pack(">IB", len(oids), options) + struct.pack(f">{len(oids)}I", *oids)


def transaction_messages(
    lsn: int, rows: Iterable[bytes], xid: int = 7, at_us: int = AT_US
) -> list[bytes]:
    """Return a whole transaction around messages of any kind; `lsn` is its end."""
    start = lsn - COMMIT_BYTES if lsn > COMMIT_BYTES else lsn - 1
    return [begin(xid, start, at_us), *rows, commit(start, lsn, at_us)]


def tuple_data(row: Cells) -> bytes:
    """Write the TupleData of a row."""
    return struct.pack(">H", len(row)) + b"".join(map(_cell, row))


def _cell(value: Cell) -> bytes:
    if value is None:
        return b"n"
    if value is UNCHANGED:
        return b"u"
    assert isinstance(value, bytes)
    return b"t" + struct.pack(">I", len(value)) + value


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
