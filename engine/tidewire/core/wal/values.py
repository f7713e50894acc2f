"""How the text of a value becomes JSON.

The rule of the wire: native JSON for bool, int2, int4, float4 and float8 (finite), json and jsonb
and for domains over these; PostgreSQL's own output text, as a JSON string, for all else. So a value
never loses digits, and a row reads the same whether it came with the snapshot or with a commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from tidewire.core.model.change import UNCHANGED, Row
from tidewire.core.model.relation import JsonForm, Relation

# OIDs of built-in types never change (pg_type.dat).
BUILT_IN_FORMS = {
    16: JsonForm.BOOL,
    21: JsonForm.NUMBER,  # int2
    23: JsonForm.NUMBER,  # int4
    700: JsonForm.FLOAT,  # float4
    701: JsonForm.FLOAT,  # float8
    114: JsonForm.JSON,
    3802: JsonForm.JSON,  # jsonb
}
_FORM_BY_NAME = {
    "bool": JsonForm.BOOL,
    "int2": JsonForm.NUMBER,
    "int4": JsonForm.NUMBER,
    "float4": JsonForm.FLOAT,
    "float8": JsonForm.FLOAT,
    "json": JsonForm.JSON,
    "jsonb": JsonForm.JSON,
}


class TypeTable:
    """The types of one replication stream: the built-in ones and those that it has named."""

    def __init__(self) -> None:
        self._forms = dict(BUILT_IN_FORMS)

    def learn(self, oid: int, schema: str, name: str) -> None:
        """Remember the base type that the stream names for a type that is not built in."""
        is_built_in = schema == "pg_catalog"
        self._forms[oid] = _FORM_BY_NAME.get(name, JsonForm.TEXT) if is_built_in else JsonForm.TEXT

    def form_of(self, oid: int) -> JsonForm:
        """Tell how values of the type become JSON; text if nothing else is known."""
        return self._forms.get(oid, JsonForm.TEXT)


RenderCell: TypeAlias = Callable[[bytes], bytes]
RenderRow: TypeAlias = Callable[[Row], bytes]

_encode = msgspec.json.encode


def render_text(value: bytes) -> bytes:
    """Quote a text as JSON."""
    return _encode(value.decode())


def _render_float(value: bytes) -> bytes:
    # PostgreSQL prints NaN, Infinity and -Infinity: the only float texts with a capital letter
    # or a leading "-I"; JSON has no numbers for them.
    return b'"%b"' % value if value[-1:] in (b"N", b"y") else value


def _render_bool(value: bytes) -> bytes:
    return b"true" if value == b"t" else b"false"


def _render_native(value: bytes) -> bytes:
    return value


RENDER: dict[JsonForm, RenderCell] = {
    JsonForm.TEXT: render_text,
    JsonForm.NUMBER: _render_native,
    JsonForm.FLOAT: _render_float,
    JsonForm.BOOL: _render_bool,
    JsonForm.JSON: _render_native,
}

# Pieces of generated functions: the fastest expression for a cell `v` that is not NULL.
EXPRESSIONS = {
    JsonForm.TEXT: "encode({v}.decode())",
    JsonForm.NUMBER: "{v}",
    JsonForm.FLOAT: "float_({v})",
    JsonForm.BOOL: "bool_({v})",
    JsonForm.JSON: "{v}",
}

EXPRESSION_NAMES: dict[str, object] = {
    "encode": _encode,
    "float_": _render_float,
    "bool_": _render_bool,
}


def compile_row(relation: Relation, columns: tuple[int, ...]) -> RenderRow:
    """Make the function that writes the given columns of a whole row as a JSON array.

    It is generated source, because a loop over columns costs three times as much; nothing of the
    table's own text enters that source, only column numbers.
    """
    cells = [_cell_source(i, relation.columns[i].form) for i in columns]
    template = b"[" + b",".join(b"%b" for _ in cells) + b"]"
    source = f"def render(row):\n    return template % ({''.join(c + ', ' for c in cells)})\n"
    names = {"template": template, **EXPRESSION_NAMES}
    exec(compile(source, "<row of a relation>", "exec"), names)  # noqa: S102
    render: RenderRow = names["render"]  # type: ignore[assignment]
    return render


def _cell_source(index: int, form: JsonForm) -> str:
    expression = EXPRESSIONS[form].format(v=f"row[{index}]")
    return f'(b"null" if row[{index}] is None else {expression})'


class RowRenderer:
    """Write rows of one version of a relation as the wire wants them: whole, as key, as changes."""

    __slots__ = ("_cells", "_columns", "key", "key_columns", "row")

    def __init__(self, relation: Relation, columns: tuple[int, ...], key: tuple[int, ...]) -> None:
        self.row = compile_row(relation, columns)
        self.key = compile_row(relation, key)
        self.key_columns = key
        self._cells = [RENDER[column.form] for column in relation.columns]
        self._columns = [(i, _encode(relation.columns[i].name) + b":") for i in columns]

    def changed(self, old: Row | None, new: Row) -> bytes:
        """Write the columns of `new` that the log carries and that differ from a known old row."""
        parts = []
        for index, prefix in self._columns:
            cell = new[index]
            if cell is UNCHANGED or (old is not None and old[index] == cell):
                continue
            assert not isinstance(cell, type(UNCHANGED))
            parts.append(prefix + (b"null" if cell is None else self._cells[index](cell)))
        return b"{%b}" % b",".join(parts)
