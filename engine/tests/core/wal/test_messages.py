"""The rare messages are read as the manual writes them, and refused when they are not so.

Method: `pgoutput.py` writes, the code reads; each refusal is pinned by message, field and offset.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core import pgoutput
from engine.tests.core.wal.tables import chance
from tidewire.core.model.relation import Column, Identity, JsonForm
from tidewire.core.wal.messages import read_begin, read_commit, read_relation, read_type
from tidewire.core.wal.values import TypeTable
from tidewire.errors import DecodeError

numbers = st.integers(0, 2**64 - 1)
oids = st.integers(0, 2**32 - 1)
times = st.integers(pgoutput.POSTGRES_EPOCH_US, 2**62)
names = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


def read_any_relation(data: bytes) -> object:
    return read_relation(data, TypeTable())


@chance
@given(numbers, times, oids)
def test_begin_tells_where_its_commit_record_starts(lsn: int, at: int, xid: int) -> None:
    assert read_begin(pgoutput.begin(xid, lsn, at)) == (lsn, at, xid)


@chance
@given(numbers, numbers, times)
def test_commit_tells_where_its_record_ends(start: int, end: int, at: int) -> None:
    assert read_commit(pgoutput.commit(start, end, at)) == (start, end, at)


@chance
@given(oids, names, names)
def test_type_names_a_base_type(oid: int, schema: str, name: str) -> None:
    found = read_type(pgoutput.type_name(oid, schema, name))
    assert found == (oid, schema or "pg_catalog", name)


@chance
@given(oids, names, names, st.sampled_from(Identity), st.integers(-(2**31), 2**31 - 1))
def test_relation_tells_name_identity_and_modifier(
    oid: int, schema: str, name: str, identity: Identity, modifier: int
) -> None:
    columns = [("id", pgoutput.INT4, True), ("é", pgoutput.TEXT, False)]
    data = pgoutput.relation(oid, schema, name, columns, identity.value, modifier)
    found = read_relation(data, TypeTable())
    assert (found.oid, found.schema, found.name) == (oid, schema or "pg_catalog", name)
    assert found.identity is identity
    assert found.columns == (
        Column("id", pgoutput.INT4, modifier, True, JsonForm.NUMBER),
        Column("é", pgoutput.TEXT, modifier, False, JsonForm.TEXT),
    )


def test_a_relation_may_have_no_columns() -> None:
    assert read_relation(pgoutput.relation(1, "s", "t", ()), TypeTable()).columns == ()


def test_columns_have_the_form_of_the_types_that_the_stream_has_named() -> None:
    types = TypeTable()
    types.learn(9000, "pg_catalog", "jsonb")
    found = read_relation(pgoutput.relation(1, "s", "t", [("d", 9000, False)]), types)
    assert found.columns[0].form is JsonForm.JSON


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (read_begin, pgoutput.begin()),
        (read_commit, pgoutput.commit()),
        (read_type, pgoutput.type_name(1, "s", "t")),
        (read_any_relation, pgoutput.relation(1, "s", "t")),
    ],
)
def test_a_message_that_is_cut_anywhere_or_too_long_is_refused(
    read: Callable[[bytes], object], data: bytes
) -> None:
    for end in range(1, len(data)):
        with pytest.raises(DecodeError) as caught:
            read(data[:end])
        assert 1 <= caught.value.offset <= end
    with pytest.raises(DecodeError, match=f"end at byte {len(data)}: 1 bytes left over"):
        read(data + b"\0")


# kind 1, oid 4, "s\0" 2, "t\0" 2: the letter of the identity is byte 9.
@pytest.mark.parametrize(
    ("read", "data", "place"),
    [
        (read_commit, pgoutput.commit(flags=1), ("Commit", "flags", 1)),
        (
            read_any_relation,
            pgoutput.relation(1, "s", "t", identity="x"),
            ("Relation", "identity", 9),
        ),
    ],
)
def test_a_value_that_cannot_be_is_named_at_its_own_offset(
    read: Callable[[bytes], object], data: bytes, place: tuple[str, str, int]
) -> None:
    with pytest.raises(DecodeError) as caught:
        read(data)
    assert (caught.value.message, caught.value.field, caught.value.offset) == place


def test_a_refused_identity_lists_the_right_ones() -> None:
    with pytest.raises(DecodeError, match="one of d n f i expected, 'x' found"):
        read_any_relation(pgoutput.relation(1, "s", "t", identity="x"))


@pytest.mark.parametrize(
    ("read", "data", "place"),
    [
        (read_type, b"Y\0\0\0\1s\0t\xff\0", ("Type", "name", 8)),
        (read_any_relation, b"R\0\0\0\1\xffs\0t\0d\0\0", ("Relation", "schema", 5)),
    ],
)
def test_a_name_that_is_not_utf8_is_refused(
    read: Callable[[bytes], object], data: bytes, place: tuple[str, str, int]
) -> None:
    with pytest.raises(DecodeError, match="not UTF-8") as caught:
        read(data)
    assert (caught.value.message, caught.value.field, caught.value.offset) == place
