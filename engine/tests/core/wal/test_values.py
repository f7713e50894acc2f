"""Each form of a type becomes the JSON that the wire promises, in rows, keys and changes.

Method: texts as PostgreSQL prints them, read back with the JSON reader of the standard library.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from engine.tests.core.wal.tables import Sample, chance, samples, table
from tidewire.core.model.change import UNCHANGED, Row
from tidewire.core.model.relation import JsonForm
from tidewire.core.wal.values import RENDER, RowRenderer, TypeTable, compile_row, render_text

USERS = table(JsonForm.NUMBER, JsonForm.TEXT, JsonForm.BOOL, names=("id", 'na"me', "ok"))


@pytest.mark.parametrize(
    ("oid", "form"),
    [
        (16, JsonForm.BOOL),
        (21, JsonForm.NUMBER),
        (23, JsonForm.NUMBER),
        (700, JsonForm.FLOAT),
        (701, JsonForm.FLOAT),
        (114, JsonForm.JSON),
        (3802, JsonForm.JSON),
        (20, JsonForm.TEXT),  # int8: JavaScript would round it
        (1700, JsonForm.TEXT),  # numeric
        (26, JsonForm.TEXT),  # oid
        (1082, JsonForm.TEXT),  # date
        (99_999, JsonForm.TEXT),
    ],
)
def test_built_in_types_have_the_form_that_the_wire_promises(oid: int, form: JsonForm) -> None:
    assert TypeTable().form_of(oid) is form


@pytest.mark.parametrize(
    ("schema", "name", "form"),
    [
        ("pg_catalog", "bool", JsonForm.BOOL),
        ("pg_catalog", "int2", JsonForm.NUMBER),
        ("pg_catalog", "int4", JsonForm.NUMBER),
        ("pg_catalog", "float4", JsonForm.FLOAT),
        ("pg_catalog", "float8", JsonForm.FLOAT),
        ("pg_catalog", "json", JsonForm.JSON),
        ("pg_catalog", "jsonb", JsonForm.JSON),
        ("pg_catalog", "int8", JsonForm.TEXT),
        ("public", "int4", JsonForm.TEXT),
    ],
)
def test_a_domain_has_the_form_of_the_built_in_type_that_it_stands_for(
    schema: str, name: str, form: JsonForm
) -> None:
    types = TypeTable()
    types.learn(9000, schema, name)
    assert types.form_of(9000) is form
    assert TypeTable().form_of(9000) is JsonForm.TEXT


def test_a_type_that_is_named_again_has_its_last_form() -> None:
    types = TypeTable()
    types.learn(9000, "pg_catalog", "int4")
    types.learn(9000, "public", "mood")
    assert types.form_of(9000) is JsonForm.TEXT


@pytest.mark.parametrize(
    ("form", "text", "written"),
    [
        (JsonForm.TEXT, b'a"\\\n', b'"a\\"\\\\\\n"'),
        (JsonForm.TEXT, b"", b'""'),
        (JsonForm.NUMBER, b"-7", b"-7"),
        (JsonForm.FLOAT, b"1.5e+300", b"1.5e+300"),
        (JsonForm.FLOAT, b"-0", b"-0"),
        (JsonForm.FLOAT, b"NaN", b'"NaN"'),
        (JsonForm.FLOAT, b"Infinity", b'"Infinity"'),
        (JsonForm.FLOAT, b"-Infinity", b'"-Infinity"'),
        (JsonForm.BOOL, b"t", b"true"),
        (JsonForm.BOOL, b"f", b"false"),
        (JsonForm.JSON, b'{"a" :1}', b'{"a" :1}'),
    ],
)
def test_a_value_is_written_in_its_form(form: JsonForm, text: bytes, written: bytes) -> None:
    assert RENDER[form](text) == written
    assert compile_row(table(form), (0,))((text,)) == b"[%b]" % written


def test_text_is_quoted_as_json() -> None:
    assert render_text("\N{WATER WAVE}".encode()) == '"\N{WATER WAVE}"'.encode()


def test_text_that_is_not_utf8_does_not_become_json() -> None:
    with pytest.raises(UnicodeDecodeError):
        render_text(b"\xff")


@chance
@given(samples())
def test_a_row_is_a_json_array_of_the_chosen_columns(sample: Sample) -> None:
    written = compile_row(sample.relation, sample.columns)(sample.cells)
    assert json.loads(written) == sample.expected


@chance
@given(samples())
def test_changes_from_nothing_known_are_all_chosen_columns(sample: Sample) -> None:
    renderer = RowRenderer(sample.relation, sample.columns, ())
    names = [sample.relation.columns[i].name for i in sample.columns]
    written = json.loads(renderer.changed(None, sample.cells))
    assert written == dict(zip(names, sample.expected, strict=True))


def test_a_key_is_written_in_the_order_of_the_key_columns() -> None:
    renderer = RowRenderer(USERS, (0, 1, 2), (1, 0))
    assert renderer.key((b"1", b"ada", None)) == b'["ada",1]'
    assert renderer.key_columns == (1, 0)


OLD: Row = (b"1", b"ada", b"t")


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        (OLD, OLD, {}),
        (OLD, (b"1", b"eve", b"t"), {'na"me': "eve"}),
        (OLD, (b"1", None, b"f"), {'na"me': None, "ok": False}),
        ((b"1", None, b"t"), (b"1", b"", b"t"), {'na"me': ""}),
        ((b"1", None, b"t"), (b"1", None, b"t"), {}),
        (OLD, (b"1", UNCHANGED, b"f"), {"ok": False}),
        (None, (b"1", UNCHANGED, b"f"), {"id": 1, "ok": False}),
        (None, (b"1", UNCHANGED, None), {"id": 1, "ok": None}),
    ],
)
def test_only_what_is_in_the_log_and_differs_counts_as_changed(
    old: Row | None, new: Row, changed: dict[str, object]
) -> None:
    assert json.loads(RowRenderer(USERS, (0, 1, 2), (0,)).changed(old, new)) == changed


def test_columns_that_were_not_chosen_do_not_count_as_changed() -> None:
    assert RowRenderer(USERS, (0,), (0,)).changed(OLD, (b"1", b"eve", b"f")) == b"{}"
