"""Values of the wire as Python values, by the type that `subscribed.columns` names.

JSON-native types come as they are. A text that Python's type cannot hold (the timestamp `infinity`,
a date before Christ, an interval) stays text: nothing is rounded and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import TypeAlias
from uuid import UUID

Parse: TypeAlias = Callable[[str], object]


def _bytes(text: str) -> bytes:
    if not text.startswith("\\x"):
        raise ValueError("not the hex form")
    return bytes.fromhex(text[2:])


DOCUMENTS = frozenset({"json", "jsonb"})
PARSERS: dict[str, Parse] = {
    "int8": int,
    "numeric": Decimal,
    "float4": float,
    "float8": float,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timetz": time.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": datetime.fromisoformat,
    "uuid": UUID,
    "bytea": _bytes,
}


def parse_value(type_name: str, value: object) -> object:
    """Turn one value of the wire into Python's type for it."""
    parse = PARSERS.get(type_name)
    if parse is None or not isinstance(value, str):
        return value
    try:
        return parse(value)
    except (ValueError, InvalidOperation):
        return value
