"""Rows as text, for whoever keeps them, and back: what is read is what was written, type and all.

It is the form of the wire: JSON where that is exact, else PostgreSQL's text. JSON documents are
texts of their own, because a strict writer has no word for all that PostgreSQL puts into them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

import msgspec

from tidewire.core.protocol.codec import whole_number
from tidewire.core.protocol.parsers import DOCUMENTS, parse_value

_decode = msgspec.json.Decoder(list[object]).decode


class Record:
    """Write and read the rows of one shape."""

    __slots__ = ("_columns",)

    def __init__(self, columns: Iterable[tuple[str, str]]) -> None:
        self._columns = tuple(columns)

    def write(self, row: Mapping[str, object]) -> str:
        """Return the text of a row."""
        values = [_write_value(type_name, row[name]) for name, type_name in self._columns]
        return msgspec.json.encode(values).decode()

    def read(self, text: str) -> tuple[object, ...]:
        """Return the values of a row, in the order of the columns.

        Raises ValueError when the text was not written here.
        """
        pairs = zip(self._columns, _decode(text), strict=True)
        return tuple([_read_value(type_name, value) for (_, type_name), value in pairs])


def _write_value(type_name: str, value: object) -> object:
    if value is not None and type_name in DOCUMENTS:
        return _write_document(value)
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case bytes():
            return f"\\x{value.hex()}"
        case Decimal() | UUID():
            return str(value)
        case date() | datetime() | time():
            return value.isoformat()
        case _:
            return value


def _read_value(type_name: str, value: object) -> object:
    if type_name in DOCUMENTS and isinstance(value, str):
        return json.loads(value, parse_int=whole_number)
    return parse_value(type_name, value)


def _write_document(value: object) -> str:
    try:
        return json.dumps(value)
    except TypeError:  # somewhere in it is a number that was too long for an int
        return _write_tree(value)


def _write_tree(value: object) -> str:
    match value:
        case dict():
            return f"{{{','.join(f'{json.dumps(k)}:{_write_tree(v)}' for k, v in value.items())}}}"
        case list():
            return f"[{','.join(map(_write_tree, value))}]"
        case Decimal():
            return format(value, "f")
        case _:
            return json.dumps(value)
