"""An inserted row becomes JSON in one step, without the tuple in between.

Inserts are what bulk loads consist of, and nothing has to be known about the row when its shape has
no filter. One function per version of a relation and choice of columns is generated; it says the
same as `RowDecoder` followed by `RowRenderer.row`, in half the time, and a test holds the two
together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tidewire.core.model.relation import Column, Relation
from tidewire.core.wal.decoder import BROKEN, KIND_AND_LENGTH, PAD, explain
from tidewire.core.wal.values import EXPRESSION_NAMES, EXPRESSIONS
from tidewire.errors import DecodeError

Transcode: TypeAlias = Callable[[bytes], bytes]

_HEAD = """
def transcode(message):
    data = message + PAD
    if message[0] != 73 or message[5:8] != head:
        raise ValueError
    at = 8
"""
_CELL = """
    kind, length = unpack(data, at)
    if kind == 116:
        start = at + 5
        at = start + length
        v{i} = {expression}
    elif kind == 110:
        v{i} = null
        at += 1
    else:
        raise ValueError
"""
_TAIL = """
    if at != len(message):
        raise ValueError
    return template % ({cells})
"""


def compile_insert(relation: Relation, columns: tuple[int, ...]) -> Transcode:
    """Make the function that turns an Insert message into a JSON array of the given columns.

    It raises DecodeError when the message is not an insert of this relation. Nothing of the table's
    own text enters the generated source.
    """
    wanted = set(columns)
    cells = "".join(
        _CELL.format(i=i, expression=_expression(column) if i in wanted else "null")
        for i, column in enumerate(relation.columns)
    )
    values = "".join(f"v{i}, " for i in columns)
    names: dict[str, object] = {
        **EXPRESSION_NAMES,
        "PAD": PAD,
        "unpack": KIND_AND_LENGTH,
        "head": b"N" + len(relation.columns).to_bytes(2, "big"),
        "null": b"null",
        "template": b"[" + b",".join(b"%b" for _ in columns) + b"]",
    }
    source = _HEAD + cells + _TAIL.format(cells=values)
    exec(compile(source, "<insert of a relation>", "exec"), names)  # noqa: S102
    transcode: Transcode = names["transcode"]  # type: ignore[assignment]

    def checked(message: bytes) -> bytes:
        try:
            return transcode(message)
        except BROKEN:
            if message[:1] != b"I":
                problem = f"I expected, {message[:1]!r} found"
                raise DecodeError("Insert", "kind", 0, problem) from None
            explain(message, relation)

    return checked


def _expression(column: Column) -> str:
    return EXPRESSIONS[column.form].format(v="data[start:at]")
