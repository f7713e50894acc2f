"""Row messages of pgoutput become changes.

One function per version of a relation is generated (`compile_tuple`): it reads all its columns
without a loop and checks the bounds once, at the end. Slices never run over the end in Python, and
lengths are read as unsigned, so the offset only grows: whatever was cut short shows at the end.
When something is wrong the slow reader walks over the same bytes and names field and offset.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from tidewire.core.model.change import UNCHANGED, Change, Delete, Insert, Row, Truncate, Update
from tidewire.core.model.relation import Relation
from tidewire.core.wal.reader import Reader
from tidewire.errors import DecodeError

ReadTuple: TypeAlias = Callable[[bytes, int], tuple[Row, int]]

# Behind the kind byte and the oid of the relation.
BODY = 5
# The generated functions read kind and length of a cell at once; a NULL as the last cell has no
# length behind it, so the message is padded by that much.
PAD = b"\0\0\0\0"
KIND_AND_LENGTH = struct.Struct(">BI").unpack_from

# What the fast paths raise over bytes that are not as they should be.
BROKEN = (ValueError, IndexError, struct.error)

_CELL = """
    kind, length = unpack(data, at)
    if kind == 116:
        start = at + 5
        at = start + length
        v{i} = data[start:at]
    elif kind == 110:
        v{i} = None
        at += 1
{unchanged}    else:
        raise ValueError
"""
_UNCHANGED = """    elif kind == 117:
        v{i} = UNCHANGED
        at += 1
"""


def compile_tuple(columns: int, *, may_be_unchanged: bool) -> ReadTuple:
    """Make the function that reads a TupleData of so many columns from padded bytes.

    Only the new row of an update may have cells that are unchanged.
    """
    unchanged = _UNCHANGED if may_be_unchanged else ""
    cells = "".join(_CELL.replace("{unchanged}", unchanged).format(i=i) for i in range(columns))
    row = "".join(f"v{i}, " for i in range(columns))
    source = f"def read(data, at):\n{cells}\n    return ({row}), at\n"
    names: dict[str, object] = {"unpack": KIND_AND_LENGTH, "UNCHANGED": UNCHANGED}
    exec(compile(source, "<tuple of a relation>", "exec"), names)  # noqa: S102
    read: ReadTuple = names["read"]  # type: ignore[assignment]
    return read


class RowDecoder:
    """Decode the row messages of one version of a relation."""

    __slots__ = ("_count", "_read", "_read_updated", "_relation")

    def __init__(self, relation: Relation) -> None:
        self._relation = relation
        self._count = len(relation.columns)
        self._read = compile_tuple(self._count, may_be_unchanged=False)
        self._read_updated = compile_tuple(self._count, may_be_unchanged=True)

    def decode(self, message: bytes) -> Change:
        """Decode an insert, update, delete or truncate.

        Raises DecodeError when the bytes are not such a message of this relation.
        """
        try:
            return self._decode(message)
        except BROKEN:
            explain(message, self._relation)

    def _decode(self, message: bytes) -> Change:
        data = message + PAD
        kind = data[0]
        if kind == 73:  # I
            new, at = self._read(data, self._enter(data, BODY, b"N"))
            self._check_end(at, message)
            return Insert(self._relation, new)
        if kind == 85:  # U
            return self._decode_update(data, message)
        if kind == 68:  # D
            old, at = self._read(data, self._enter(data, BODY, b"KO"))
            self._check_end(at, message)
            return Delete(self._relation, old, data[BODY] == 79)
        if kind == 84:  # T, of which the assembler made one message per table
            return Truncate(self._relation)
        raise ValueError

    def _decode_update(self, data: bytes, message: bytes) -> Update:
        old, at = None, BODY
        if data[at] != 78:  # N
            old, at = self._read(data, self._enter(data, at, b"KO"))
        new, at = self._read_updated(data, self._enter(data, at, b"N"))
        self._check_end(at, message)
        return Update(self._relation, old, new, data[BODY] == 79)

    def _enter(self, data: bytes, at: int, markers: bytes) -> int:
        if data[at] not in markers or data[at + 1] << 8 | data[at + 2] != self._count:
            raise ValueError
        return at + 3

    def _check_end(self, at: int, message: bytes) -> None:
        if at != len(message):
            raise ValueError


def read_truncate(data: bytes) -> tuple[int, ...]:
    """Read a message `T`: the oids of the tables that are empty now."""
    reader = Reader("Truncate", data, 1)
    count = reader.unsigned("relations", 4)
    reader.unsigned("options", 1)
    oids = tuple(reader.unsigned("oid", 4) for _ in range(count))
    reader.end()
    return oids


def explain(message: bytes, relation: Relation) -> NoReturn:
    """Walk slowly over a row message that does not decode, and name the place.

    Raises DecodeError, always.
    """
    name = {73: "Insert", 85: "Update", 68: "Delete"}.get(message[0] if message else 0, "Row")
    reader = Reader(name, message)
    kind = chr(reader.unsigned("kind", 1))
    if kind not in "IUD":
        raise DecodeError(name, "kind", 0, f"one of I U D expected, {kind!r} found")
    reader.unsigned("oid", 4)
    markers = {"I": "N", "U": "KON", "D": "KO"}[kind]
    marker = _explain_tuple(reader, markers, relation, is_updated=kind == "U")
    if kind == "U" and marker != "N":
        _explain_tuple(reader, "N", relation, is_updated=True)
    reader.end()
    raise AssertionError(f"a sound {name} message of {relation.qualified_name} did not decode")


def _explain_tuple(reader: Reader, markers: str, relation: Relation, *, is_updated: bool) -> str:
    marker = chr(reader.unsigned("tuple", 1))
    if marker not in markers:
        raise reader.error("tuple", f"one of {' '.join(markers)} expected, {marker!r} found")
    count = reader.unsigned("columns", 2)
    if count != len(relation.columns):
        problem = f"{relation.qualified_name} has {len(relation.columns)}, {count} found"
        raise reader.error("columns", problem)
    kinds = "tnu" if is_updated and marker == "N" else "tn"
    for column in relation.columns:
        _explain_cell(reader, column.name, kinds)
    return marker


def _explain_cell(reader: Reader, name: str, kinds: str) -> None:
    kind = chr(reader.unsigned(f"{name}.kind", 1))
    if kind not in kinds:
        raise reader.error(f"{name}.kind", f"one of {' '.join(kinds)} expected, {kind!r} found")
    if kind == "t":
        reader.utf8(f"{name}.value", reader.unsigned(f"{name}.length", 4))
