"""Goal: messages become commits, exactly.

Method: messages made byte by byte, and cut at every byte.

That PostgreSQL sends such messages is tested with a real one, in `integration/test_truth.py`.
"""

from __future__ import annotations

import struct

import pytest

from tidelab.core.history.truth import (
    Column,
    Committed,
    Deleted,
    Inserted,
    Table,
    Truncated,
    Updated,
)
from tidelab.core.oracle.pgoutput import Decoder
from tidelab.errors import DecodeError

POINTS = Table(
    "points", ("id",), (Column("id", "int8"), Column("x", "float8"), Column("s", "text"))
)
TABLES = {"points": POINTS, "app.points": Table("app.points", ("id",), (Column("id", "int8"),))}
BEGIN = b"B" + bytes(16) + struct.pack(">I", 77)
COMMIT = b"C" + bytes(9) + struct.pack(">Qq", 4096, 0)
Value = str | None | bytes


def relation(oid: int, name: str, *columns: str, schema: str = "public") -> bytes:
    described = b"".join(b"\1" + c.encode() + b"\0" + bytes(8) for c in columns)
    head = f"{schema}\0{name}\0d".encode()
    return b"R" + struct.pack(">I", oid) + head + struct.pack(">H", len(columns)) + described


def row(*values: Value) -> bytes:
    parts = [struct.pack(">H", len(values))]
    for value in values:
        if isinstance(value, str):
            text = value.encode()
            parts.append(b"t" + struct.pack(">I", len(text)) + text)
        else:
            parts.append(b"n" if value is None else value)
    return b"".join(parts)


def change(kind: bytes, *tuples: bytes, oid: int = 1) -> bytes:
    return kind + struct.pack(">I", oid) + b"".join(tuples)


RELATION = relation(1, "points", "s", "id", "generated", "x")
ROW = b"N" + row("hello", "1", "g", "1e+15")


def decode(*messages: bytes) -> Committed:
    decoder = Decoder(TABLES)
    results = [decoder.receive(message) for message in (BEGIN, *messages, COMMIT)]
    assert results[:-1] == [None] * (len(results) - 1)
    assert results[-1] is not None
    return results[-1]


def test_a_commit_has_its_end_position_and_number() -> None:
    assert decode() == Committed(4096, 77, ())  # type: ignore[arg-type]


def test_columns_are_put_into_our_order_and_writing() -> None:
    assert decode(RELATION, change(b"I", ROW)).changes == (
        Inserted("points", ("1", "1000000000000000.0", "hello")),
    )


@pytest.mark.parametrize("marker", [b"K", b"O"])
def test_an_old_tuple_gives_the_old_key(marker: bytes) -> None:
    old = marker + row(None, "7", None, None)
    commit = decode(RELATION, change(b"U", old, ROW), change(b"D", old))
    assert commit.changes == (
        Updated("points", ("7",), ("1", "1000000000000000.0", "hello")),
        Deleted("points", ("7",)),
    )


def test_without_an_old_tuple_the_key_is_the_same() -> None:
    new = b"N" + row(b"u", "1", None, None)
    assert decode(RELATION, change(b"U", new)).changes == (
        Updated("points", ("1",), ("1", None, None), untouched=(2,)),
    )


def test_truncate_names_the_tables_that_are_followed() -> None:
    other = relation(2, "unfollowed", "id")
    both = b"T" + struct.pack(">IbII", 2, 0, 1, 2)
    nothing = b"T" + struct.pack(">IbI", 1, 0, 2)
    assert decode(RELATION, other, both, nothing).changes == (Truncated(("points",)),)


def test_other_schemas_are_part_of_the_name() -> None:
    app = relation(3, "points", "id", schema="app")
    new = change(b"I", b"N" + row("1"), oid=3)
    assert decode(app, new).changes == (Inserted("app.points", ("1",)),)


def test_what_is_not_followed_is_passed_over() -> None:
    other = relation(2, "unfollowed", "id")
    new = change(b"I", b"N" + row("1"), oid=2)
    assert decode(other, new, b"Oabc", b"Yabc", b"Mabc").changes == ()


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([b"X"], "b'X' is unknown"),
        ([b""], "is unknown"),
        ([COMMIT], "without a begin"),
        ([RELATION, change(b"I", ROW)], "without a begin"),
        ([BEGIN, change(b"I", ROW)], "names table 1, which was never described"),
        ([relation(1, "points", "id")], "describes points without column 'x'"),
        ([BEGIN, RELATION, change(b"I", b"?")], "unexpected tuple b'\\?'"),
        ([BEGIN, RELATION, change(b"D", ROW)], "unexpected tuple b'N'"),
        ([BEGIN, RELATION, change(b"I", b"N" + row(b"b"))], "unknown kind b'b'"),
    ],
)
def test_what_cannot_be_is_named(messages: list[bytes], words: str) -> None:
    decoder = Decoder(TABLES)
    for message in messages[:-1]:
        decoder.receive(message)
    with pytest.raises(DecodeError, match=words):
        decoder.receive(messages[-1])


@pytest.mark.parametrize("message", [BEGIN, RELATION, change(b"I", ROW), COMMIT[:-8]])
def test_a_message_that_is_cut_off_is_named(message: bytes) -> None:
    for end in range(1, len(message)):
        decoder = Decoder(TABLES)
        for before in (BEGIN, RELATION):
            decoder.receive(before)
        with pytest.raises(DecodeError, match="is cut off"):
            decoder.receive(message[:end])
