"""The rare messages of pgoutput (protocol version 1), each a type of its own.

Row messages (insert, update, delete, truncate) are far more frequent and have `decoder.py` to
themselves. The words on the fields are those of the PostgreSQL manual, "Logical Replication
Message Formats".
"""

from __future__ import annotations

from typing import NamedTuple

from tidewire.core.model.lsn import Lsn, Xid
from tidewire.core.model.relation import Column, Identity, Relation
from tidewire.core.wal.reader import Layout, Reader
from tidewire.core.wal.values import TypeTable
from tidewire.errors import DecodeError

# PostgreSQL counts microseconds from 2000-01-01, we count from 1970-01-01.
POSTGRES_EPOCH_US = 946_684_800_000_000

_BEGIN = Layout("Begin", final_lsn=8, commit_time=8, xid=4)
_COMMIT = Layout("Commit", flags=1, commit_lsn=8, end_lsn=8, commit_time=8)


class Begin(NamedTuple):
    """A transaction opens; `final_lsn` is the *start* of its commit record and stays in here."""

    final_lsn: int
    at: int
    xid: Xid


class Commit(NamedTuple):
    """A transaction is complete; `end_lsn` is the position that the whole system calls lsn."""

    commit_lsn: int
    end_lsn: Lsn
    at: int


class TypeName(NamedTuple):
    """The base type behind a type that is not built in (a domain names what it stands for)."""

    oid: int
    schema: str
    name: str


def read_begin(data: bytes) -> Begin:
    """Read a message `B`."""
    final_lsn, at, xid = _BEGIN.read(data)
    return Begin(final_lsn, at + POSTGRES_EPOCH_US, Xid(xid))


def read_commit(data: bytes) -> Commit:
    """Read a message `C`."""
    flags, commit_lsn, end_lsn, at = _COMMIT.read(data)
    if flags:
        raise DecodeError("Commit", "flags", 1, f"unused and zero expected, {flags} found")
    return Commit(commit_lsn, Lsn(end_lsn), at + POSTGRES_EPOCH_US)


def read_type(data: bytes) -> TypeName:
    """Read a message `Y`."""
    reader = Reader("Type", data, 1)
    oid = reader.unsigned("oid", 4)
    schema = reader.text("schema")
    name = reader.text("name")
    reader.end()
    return TypeName(oid, schema or "pg_catalog", name)


def read_relation(data: bytes, types: TypeTable) -> Relation:
    """Read a message `R`; `types` knows what the `Y` messages before it have said."""
    reader = Reader("Relation", data, 1)
    oid = reader.unsigned("oid", 4)
    schema = reader.text("schema") or "pg_catalog"
    name = reader.text("name")
    identity = _read_identity(reader)
    columns = tuple(_read_column(reader, types) for _ in range(reader.unsigned("columns", 2)))
    reader.end()
    return Relation(oid, schema, name, identity, columns)


def _read_identity(reader: Reader) -> Identity:
    letter = chr(reader.unsigned("identity", 1))
    try:
        return Identity(letter)
    except ValueError:
        raise reader.error("identity", f"one of d n f i expected, {letter!r} found") from None


def _read_column(reader: Reader, types: TypeTable) -> Column:
    flags = reader.unsigned("column.flags", 1)
    name = reader.text("column.name")
    type_oid = reader.unsigned("column.type_oid", 4)
    modifier = reader.signed32("column.type_modifier")
    return Column(name, type_oid, modifier, bool(flags & 1), types.form_of(type_oid))
