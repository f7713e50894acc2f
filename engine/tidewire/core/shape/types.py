"""What can be asked of a column, by its type, and how the text of a cell becomes comparable.

The list is closed. A type is on it when the oracle test (`integration/test_condition.py`) shows
that our answers are PostgreSQL's own; of all others only NULL can be asked for.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from decimal import Decimal
from typing import TypeAlias

import msgspec

from tidewire.errors import DecodeError


class Kind(enum.Enum):
    """A type that conditions know, by PostgreSQL's name for it."""

    BOOL = "bool"
    INT2 = "int2"
    INT4 = "int4"
    INT8 = "int8"
    NUMERIC = "numeric"
    FLOAT4 = "float4"
    FLOAT8 = "float8"
    TEXT = "text"
    VARCHAR = "varchar"
    BPCHAR = "bpchar"
    UUID = "uuid"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    TIME = "time"
    BYTEA = "bytea"
    ENUM = "enum"
    COMPOSITE = "composite"
    OTHER = "other"


# OIDs of built-in types and of their arrays never change (pg_type.dat).
KIND_BY_OID = {
    16: Kind.BOOL,
    21: Kind.INT2,
    23: Kind.INT4,
    20: Kind.INT8,
    1700: Kind.NUMERIC,
    700: Kind.FLOAT4,
    701: Kind.FLOAT8,
    25: Kind.TEXT,
    1043: Kind.VARCHAR,
    1042: Kind.BPCHAR,
    2950: Kind.UUID,
    1082: Kind.DATE,
    1114: Kind.TIMESTAMP,
    1184: Kind.TIMESTAMPTZ,
    1083: Kind.TIME,
    17: Kind.BYTEA,
}
KIND_BY_ARRAY_OID = {
    1000: Kind.BOOL,
    1005: Kind.INT2,
    1007: Kind.INT4,
    1016: Kind.INT8,
    1231: Kind.NUMERIC,
    1021: Kind.FLOAT4,
    1022: Kind.FLOAT8,
    1009: Kind.TEXT,
    1015: Kind.VARCHAR,
    1014: Kind.BPCHAR,
    2951: Kind.UUID,
    1182: Kind.DATE,
    1115: Kind.TIMESTAMP,
    1185: Kind.TIMESTAMPTZ,
    1183: Kind.TIME,
    1001: Kind.BYTEA,
}
KIND_BY_NAME = {kind.value: kind for kind in KIND_BY_OID.values()}

INTEGERS = frozenset({Kind.INT2, Kind.INT4, Kind.INT8})
STRINGS = frozenset({Kind.TEXT, Kind.VARCHAR})
_NULL_ONLY = frozenset({Kind.OTHER, Kind.COMPOSITE})
_SEVERAL_TEXTS = frozenset({Kind.NUMERIC, Kind.FLOAT4, Kind.FLOAT8, Kind.BPCHAR})


class ColumnType(msgspec.Struct, frozen=True):
    """The type of a column as conditions see it; a domain is its base type.

    `oid` is that of the column as it stands in the stream, the domain's own if it is one.
    `is_deterministic` and `is_bytewise` tell of its collation: whether equal texts have equal
    bytes, and whether texts have the order of their bytes.
    """

    kind: Kind
    oid: int
    schema: str
    name: str
    labels: tuple[str, ...] = ()
    """The values of an enum in their order."""
    is_deterministic: bool = True
    is_bytewise: bool = True

    @property
    def has_one_text(self) -> bool:
        """Tell whether equal values always print the same."""
        return self.kind not in _SEVERAL_TEXTS

    @property
    def family(self) -> Kind:
        """Name the type as which a column is compared with another column."""
        if self.kind in INTEGERS:
            return Kind.INT8
        return Kind.TEXT if self.kind in STRINGS else self.kind


def null_fault(type: ColumnType) -> str | None:
    """Say why the column cannot be asked for NULL, if so."""
    if type.kind is Kind.COMPOSITE:
        return "is a row, which IS NULL asks for its fields"
    return None


def equality_fault(type: ColumnType) -> str | None:
    """Say why values of the type cannot be told apart here, if so."""
    if type.kind in _NULL_ONLY:
        return f"has type {type.name}, of which only IS [NOT] NULL can be followed"
    if not type.is_deterministic:
        return "has a nondeterministic collation: equal texts may differ in their bytes"
    return None


def order_fault(type: ColumnType) -> str | None:
    """Say why values of the type cannot be ordered here, if so."""
    if fault := equality_fault(type):
        return fault
    if type.kind is Kind.BPCHAR:
        return "has type char(n), of which only equality can be followed: use text"
    if not type.is_bytewise:
        return (
            "is ordered by the rules of a language, which the write-ahead log does not know: "
            'only columns with COLLATE "C" (or C.UTF-8, in a UTF8 database) have an order here'
        )
    return None


def like_fault(type: ColumnType) -> str | None:
    """Say why LIKE cannot be followed for the type, if so."""
    if fault := equality_fault(type):
        return fault
    if type.kind not in STRINGS:
        return f"has type {type.name}: LIKE is for text and varchar"
    return None


Key: TypeAlias = Callable[[bytes], object]


def key_of(type: ColumnType) -> Key | None:
    """Return what makes the text of a value comparable; None: the bytes are as they stand.

    Raises DecodeError, when called, for a label that the enum did not have when it was bound.
    """
    if type.kind is Kind.ENUM:
        return _label_key(type)
    return _KEYS.get(type.kind)


def _label_key(type: ColumnType) -> Key:
    places = {label.encode(): place for place, label in enumerate(type.labels)}

    def key(text: bytes) -> object:
        if text not in places:
            raise DecodeError("Row", type.name, 0, f"the enum has a new label {text!r}")
        return places[text]

    return key


def _number_key(number: float | Decimal) -> object:
    # For PostgreSQL, NaN equals itself and is larger than all other numbers.
    return (1, 0) if number != number else (0, number)


def _float_key(text: bytes) -> object:
    return _number_key(float(text))


def _numeric_key(text: bytes) -> object:
    return _number_key(Decimal(text.decode()))


def _blank_key(text: bytes) -> bytes:
    return text.rstrip(b" ")


def _date_key(text: bytes) -> object:
    """Order ISO dates and times, of which years before Christ and beyond 9999 are not by text."""
    if text.endswith(b"infinity"):
        return (-1 if text.startswith(b"-") else 1, 0, b"")
    is_before_christ = text.endswith(b" BC")
    year, _, rest = text.removesuffix(b" BC").partition(b"-")
    return (0, -int(year) if is_before_christ else int(year), rest)


def _zoned_key(text: bytes) -> object:
    if not text.endswith((b"+00", b"+00 BC", b"infinity")):
        raise DecodeError("Row", "timestamptz", 0, f"not in UTC: {text!r}")
    # Where others have a fraction, "+00" is in order: a plus comes before a point and digits.
    return _date_key(text)


_KEYS: dict[Kind, Key] = {
    Kind.INT2: int,
    Kind.INT4: int,
    Kind.INT8: int,
    Kind.NUMERIC: _numeric_key,
    Kind.FLOAT4: _float_key,
    Kind.FLOAT8: _float_key,
    Kind.BPCHAR: _blank_key,
    Kind.DATE: _date_key,
    Kind.TIMESTAMP: _date_key,
    Kind.TIMESTAMPTZ: _zoned_key,
}
