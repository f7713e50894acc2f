"""A row message becomes its change, or an error that names the place; nothing else can happen.

Method: messages of `pgoutput.py`, whole, cut at every byte and changed at any byte.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core import pgoutput
from engine.tests.core.wal.tables import Sample, chance, samples, table
from tidewire.core.model.change import UNCHANGED, Change, Delete, Insert, Row, Truncate, Update
from tidewire.core.model.relation import JsonForm
from tidewire.core.wal.decoder import RowDecoder, explain, read_truncate
from tidewire.errors import DecodeError

USERS = table(JsonForm.NUMBER, JsonForm.TEXT, names=("id", "body"))
NEW: Row = (b"1", b"hi")
OLD: Row = (b"0", b"ho")
KEY: Row = (b"0", None)


def decode(message: bytes) -> Change:
    return RowDecoder(USERS).decode(message)


def place(message: bytes) -> tuple[str, str, int]:
    with pytest.raises(DecodeError) as caught:
        decode(message)
    return caught.value.message, caught.value.field, caught.value.offset


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (pgoutput.insert(1, NEW), Insert(USERS, NEW)),
        (pgoutput.update(1, NEW), Update(USERS, None, NEW)),
        (pgoutput.update(1, NEW, KEY), Update(USERS, KEY, NEW)),
        (pgoutput.update(1, NEW, OLD, "O"), Update(USERS, OLD, NEW, old_is_whole=True)),
        (pgoutput.delete(1, KEY), Delete(USERS, KEY)),
        (pgoutput.delete(1, OLD, "O"), Delete(USERS, OLD, old_is_whole=True)),
        (b"T\0\0\0\1", Truncate(USERS)),
    ],
)
def test_every_kind_of_message_becomes_its_change(message: bytes, change: Change) -> None:
    assert decode(message) == change


@chance
@given(samples())
def test_any_row_of_any_relation_is_read_as_it_was_written(sample: Sample) -> None:
    row, relation = sample.cells, sample.relation
    decoder = RowDecoder(relation)
    assert decoder.decode(pgoutput.insert(1, row)) == Insert(relation, row)
    assert decoder.decode(pgoutput.update(1, row, row)) == Update(relation, row, row)
    assert decoder.decode(pgoutput.delete(1, row, "O")) == Delete(relation, row, True)


def test_a_table_may_have_as_many_columns_as_postgres_allows() -> None:
    wide = table(*[JsonForm.TEXT] * 1600)
    row = tuple(b"%d" % i for i in range(1600))
    assert RowDecoder(wide).decode(pgoutput.insert(1, row)) == Insert(wide, row)
    with pytest.raises(DecodeError, match="has 1600, 64 found"):
        RowDecoder(wide).decode(pgoutput.insert(1, row[:64]))


@pytest.mark.parametrize("cell", [None, b"", b"0", UNCHANGED])
def test_null_empty_text_and_unchanged_are_three_things(cell: bytes | None) -> None:
    change = decode(pgoutput.update(1, (b"1", cell)))
    assert isinstance(change, Update)
    assert change.new[1] is cell or change.new[1] == cell
    assert type(change.new[1]) is type(cell)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pgoutput.insert(1, (b"1", UNCHANGED)), "body.kind"),
        (pgoutput.delete(1, (UNCHANGED, None)), "id.kind"),
        (pgoutput.delete(1, (b"1", UNCHANGED), "O"), "body.kind"),
        (pgoutput.update(1, NEW, (b"1", UNCHANGED)), "body.kind"),
        (pgoutput.update(1, NEW, (b"1", UNCHANGED), "O"), "body.kind"),
    ],
)
def test_only_the_new_row_of_an_update_has_unchanged_cells(message: bytes, field: str) -> None:
    assert place(message)[1] == field


# An insert of NEW: kind 0, oid 1, tuple 5, columns 6, id 8 (length 9, value 13), body 14 (length
# 15, value 19), end 21.
@pytest.mark.parametrize(
    ("length", "field", "offset"),
    [
        (1, "oid", 1),
        (4, "oid", 1),
        (5, "tuple", 5),
        (6, "columns", 6),
        (7, "columns", 6),
        (8, "id.kind", 8),
        (9, "id.length", 9),
        (13, "id.value", 13),
        (14, "body.kind", 14),
        (18, "body.length", 15),
        (20, "body.value", 19),
    ],
)
def test_a_message_cut_short_is_named_by_its_first_missing_field(
    length: int, field: str, offset: int
) -> None:
    assert place(pgoutput.insert(1, NEW)[:length]) == ("Insert", field, offset)


def test_an_empty_message_is_refused() -> None:
    assert place(b"") == ("Row", "kind", 0)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (pgoutput.insert(1, NEW), "Insert"),
        (pgoutput.update(1, NEW), "Update"),
        (pgoutput.update(1, NEW, OLD, "O"), "Update"),
        (pgoutput.delete(1, KEY), "Delete"),
    ],
)
def test_bytes_left_over_are_named_with_their_place(message: bytes, name: str) -> None:
    assert place(message + b"\0\0") == (name, "end", len(message))


def test_a_length_that_reaches_over_the_end_is_refused() -> None:
    message = bytearray(pgoutput.insert(1, NEW))
    message[15:19] = b"\xff\xff\xff\xff"
    with pytest.raises(DecodeError, match="4294967295 bytes expected, 2 left") as caught:
        decode(bytes(message))
    assert (caught.value.field, caught.value.offset) == ("body.value", 19)


WRONG_VALUES = [
    (pgoutput.insert(1, NEW), 5, b"K", ("Insert", "tuple", 5), "one of N expected, 'K' found"),
    (pgoutput.delete(1, KEY), 5, b"N", ("Delete", "tuple", 5), "one of K O expected, 'N' found"),
    (pgoutput.update(1, NEW), 5, b"X", ("Update", "tuple", 5), "one of K O N expected, 'X' found"),
    (pgoutput.update(1, NEW, KEY), 15, b"K", ("Update", "tuple", 15), "one of N expected"),
    (pgoutput.insert(1, NEW), 7, b"\3", ("Insert", "columns", 6), r"public\.t has 2, 3 found"),
    (pgoutput.insert(1, NEW), 14, b"u", ("Insert", "body.kind", 14), "one of t n expected, 'u'"),
    (pgoutput.update(1, NEW), 14, b"b", ("Update", "body.kind", 14), "one of t n u expected, 'b'"),
]


@pytest.mark.parametrize(("message", "at", "byte", "where", "problem"), WRONG_VALUES)
def test_a_wrong_value_is_named_with_what_was_expected(
    message: bytes, at: int, byte: bytes, where: tuple[str, str, int], problem: str
) -> None:
    with pytest.raises(DecodeError, match=problem) as caught:
        decode(message[:at] + byte + message[at + 1 :])
    assert (caught.value.message, caught.value.field) == where[:2]


@pytest.mark.parametrize(("message", "at", "byte", "where", "problem"), WRONG_VALUES)
def test_a_wrong_value_is_named_at_its_own_offset(
    message: bytes, at: int, byte: bytes, where: tuple[str, str, int], problem: str
) -> None:
    assert place(message[:at] + byte + message[at + 1 :]) == where


@pytest.mark.parametrize("kind", [b"X", b"B", b"\0", b"\xff"])
def test_a_message_of_another_kind_is_refused(kind: bytes) -> None:
    with pytest.raises(DecodeError, match="one of I U D expected") as caught:
        decode(kind + pgoutput.insert(1, NEW)[1:])
    assert (caught.value.field, caught.value.offset) == ("kind", 0)


@pytest.mark.parametrize(
    ("message", "name", "offset"),
    [
        (pgoutput.insert(1, (b"1", b"h\xff")), "Insert", 20),
        (pgoutput.delete(1, (b"\xff", None)), "Delete", 13),
        (pgoutput.update(1, (b"1", b"hi\xc3")), "Update", 21),
    ],
)
def test_text_that_is_not_utf8_is_named_at_its_first_wrong_byte(
    message: bytes, name: str, offset: int
) -> None:
    with pytest.raises(DecodeError, match="not UTF-8") as caught:
        explain(message, USERS)
    assert caught.value.offset == offset
    assert caught.value.field in ("id.value", "body.value")
    assert caught.value.message == name


def test_a_message_that_decodes_but_was_called_broken_is_a_bug_of_ours() -> None:
    with pytest.raises(AssertionError, match=r"sound Update message of public\.t"):
        explain(pgoutput.update(1, (b"1", UNCHANGED), OLD, "O"), USERS)


MESSAGES = st.builds(
    lambda new, old, kind: {
        "I": pgoutput.insert(1, new),
        "U": pgoutput.update(1, new),
        "UK": pgoutput.update(1, new, old),
        "UO": pgoutput.update(1, new, old, "O"),
        "D": pgoutput.delete(1, old),
    }[kind],
    st.tuples(st.binary(max_size=3) | st.none(), st.binary(max_size=3) | st.none()),
    st.tuples(st.binary(max_size=3) | st.none(), st.binary(max_size=3) | st.none()),
    st.sampled_from(["I", "U", "UK", "UO", "D"]),
)


@chance
@given(MESSAGES)
def test_no_message_that_is_cut_decodes(message: bytes) -> None:
    for end in range(len(message)):
        with pytest.raises(DecodeError):
            decode(message[:end])


@chance
@given(MESSAGES, st.integers(0, 60), st.integers(0, 255))
def test_a_changed_byte_gives_a_change_or_a_decode_error(
    message: bytes, at: int, byte: int
) -> None:
    at %= len(message)
    try:
        change = decode(message[:at] + bytes((byte,)) + message[at + 1 :])
    except DecodeError as error:
        assert 0 <= error.offset <= len(message) + 1  # noqa: PT017
    else:
        assert isinstance(change, Insert | Update | Delete | Truncate)


@pytest.mark.parametrize("oids", [(), (1,), (1, 2, 4_000_000_000)])
@pytest.mark.parametrize("options", [0, 1, 3])
def test_truncate_names_its_tables(oids: tuple[int, ...], options: int) -> None:
    assert read_truncate(pgoutput.truncate(oids, options)) == oids


def test_truncate_that_is_cut_or_too_long_is_refused() -> None:
    message = pgoutput.truncate((1, 2))
    for end in range(1, len(message)):
        with pytest.raises(DecodeError, match="Truncate"):
            read_truncate(message[:end])
    with pytest.raises(DecodeError, match=r"Truncate\.end at byte 14: 1 bytes left over"):
        read_truncate(message + b"\0")


def test_truncate_of_more_tables_than_there_are_bytes_ends_at_once() -> None:
    with pytest.raises(DecodeError, match=r"Truncate\.oid at byte 10"):
        read_truncate(b"T\xff\xff\xff\xff\0\0\0\0\1")
