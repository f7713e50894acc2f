"""The fast way from an insert to JSON says the same as the slow one, and always says JSON.

Method: any relation, any choice of columns, any row; expectations come with the drawn values.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.tests.core import pgoutput
from engine.tests.core.wal.tables import Sample, Value, chance, samples, table
from tidewire.core.model.change import UNCHANGED, Insert
from tidewire.core.model.relation import JsonForm
from tidewire.core.wal.decoder import RowDecoder
from tidewire.core.wal.transcoder import compile_insert
from tidewire.core.wal.values import RowRenderer
from tidewire.errors import DecodeError

NASTY = 'quote " backslash \\ slash / nul \0 line\n tab\t del \x7f \u2028 wave \N{WATER WAVE} é'
NASTY_ROW = Sample(
    table(*JsonForm, JsonForm.FLOAT, JsonForm.FLOAT, JsonForm.BOOL),
    (4, 0, 1, 2, 3, 5, 6, 7),
    (
        Value(NASTY.encode(), NASTY),
        Value(b"-2147483648", -(2**31)),
        Value(b"NaN", "NaN"),
        Value(b"t", True),
        Value(b'{"a": [1, "\\"\\\\"], "b": null}', {"a": [1, '"\\'], "b": None}),
        Value(b"-Infinity", "-Infinity"),
        Value(b"1e-07", 1e-07),
        Value(None, None),
    ),
)
USERS = table(JsonForm.NUMBER, JsonForm.TEXT, names=("id", "body"))


@chance
@given(samples())
@example(NASTY_ROW)
@example(Sample(table(), (), ()))
def test_the_json_of_a_row_is_what_postgres_held(sample: Sample) -> None:
    transcode = compile_insert(sample.relation, sample.columns)
    assert json.loads(transcode(pgoutput.insert(1, sample.cells))) == sample.expected


@chance
@given(samples())
@example(NASTY_ROW)
def test_it_says_the_same_as_decoder_and_renderer(sample: Sample) -> None:
    message = pgoutput.insert(1, sample.cells)
    change = RowDecoder(sample.relation).decode(message)
    assert isinstance(change, Insert)
    slow = RowRenderer(sample.relation, sample.columns, ()).row(change.new)
    assert compile_insert(sample.relation, sample.columns)(message) == slow


@chance
@given(samples(), st.data())
def test_cut_or_changed_it_gives_bytes_or_a_decode_error(
    sample: Sample, data: st.DataObject
) -> None:
    transcode = compile_insert(sample.relation, sample.columns)
    message = pgoutput.insert(1, sample.cells)
    at = data.draw(st.integers(1, len(message) - 1))
    with pytest.raises(DecodeError):
        transcode(message[:at])
    changed = bytearray(message)
    changed[at] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(transcode(bytes(changed)), bytes)
    except DecodeError as error:
        assert error.offset <= len(message)  # noqa: PT017


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ((b"1", b"h\xff"), "body.value"),
        ((b"1", UNCHANGED), "body.kind"),
        ((b"1",), "columns"),
        ((b"1", b"2", b"3"), "columns"),
    ],
)
def test_a_row_that_is_not_of_the_relation_is_refused(row: tuple[bytes, ...], field: str) -> None:
    with pytest.raises(DecodeError) as caught:
        compile_insert(USERS, (0, 1))(pgoutput.insert(1, row))
    assert caught.value.field == field


def test_bytes_left_over_are_refused() -> None:
    with pytest.raises(DecodeError, match=r"Insert\.end at byte 21: 1 bytes left over"):
        compile_insert(USERS, (0, 1))(pgoutput.insert(1, (b"1", b"hi")) + b"\0")


def test_a_column_that_nobody_wants_is_not_looked_into() -> None:
    message = pgoutput.insert(1, (b"1", b"\xff"))
    assert compile_insert(USERS, (0,))(message) == b"[1]"


@pytest.mark.parametrize(
    "message",
    [pgoutput.update(1, (b"1", b"hi")), pgoutput.update(1, (b"1", UNCHANGED))],
)
def test_an_update_is_not_taken_for_an_insert(message: bytes) -> None:
    with pytest.raises(DecodeError):
        compile_insert(USERS, (0, 1))(message)


def test_names_of_a_table_do_not_become_code() -> None:
    hostile = table(JsonForm.TEXT, names=('{0}"]); raise SystemExit #\n',))
    assert compile_insert(hostile, (0,))(pgoutput.insert(1, (b"a",))) == b'["a"]'
