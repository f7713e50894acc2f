"""The form of a subscription's rows: its columns and its key, and how the wire is read by them."""

from __future__ import annotations

from tidewire.core.model.lsn import Lsn, parse_lsn
from tidewire.core.protocol.events import Key, RowChange
from tidewire.core.protocol.parsers import parse_value
from tidewire.errors import ProtocolError


class Form:
    """Read rows and changes of one shape, as `subscribed` described them.

    Raises ProtocolError from every method when the server does not keep to its own description.
    """

    __slots__ = ("_key_types", "_types", "columns", "key")

    def __init__(self, columns: list[tuple[str, str]], key: list[str]) -> None:
        self.columns = tuple((name, type_name) for name, type_name in columns)
        self.key = tuple(key)
        self._types = dict(self.columns)
        if not key or not self._types.keys() >= set(key):
            raise ProtocolError("bad_frame", "a key that is none of the columns")
        if len(self._types) != len(self.columns):
            raise ProtocolError("bad_frame", "two columns of one name")
        self._key_types = [self._types[name] for name in key]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Form):
            return NotImplemented
        return (self.columns, self.key) == (other.columns, other.key)

    def __hash__(self) -> int:
        return hash((self.columns, self.key))

    def read_row(self, row: list[object]) -> tuple[object, ...]:
        """Return the values of a row, in the order of the columns."""
        if len(row) != len(self.columns):
            text = f"a row of {len(row)} values where `subscribed` named {len(self.columns)}"
            raise ProtocolError("bad_frame", text)
        pairs = zip(self.columns, row, strict=True)
        return tuple(parse_value(type_name, value) for (_, type_name), value in pairs)

    def read_change(self, change: list[object]) -> RowChange:
        """Return what happened to one row."""
        match change:
            case ["i", list(row)]:
                values = dict(zip(self._types, self.read_row(row), strict=True))
                return RowChange("insert", tuple(values[name] for name in self.key), values)
            case ["u", list(key), dict(values)]:
                return RowChange("update", self._read_key(key), self._read_values(values))
            case ["d", list(key)]:
                return RowChange("delete", self._read_key(key), {})
            case ["k", list(old), list(new), dict(values)]:
                before, now = self._read_key(old), self._read_key(new)
                return RowChange("rekey", now, self._read_values(values), before)
            case ["t"]:
                return RowChange("truncate", (), {})
            case _:
                raise ProtocolError("bad_frame", "a change of no known form")

    def _read_key(self, key: list[object]) -> Key:
        if len(key) != len(self.key):
            raise ProtocolError("bad_frame", "a key of another length than `subscribed` said")
        return tuple(map(parse_value, self._key_types, key))

    def _read_values(self, values: dict[str, object]) -> dict[str, object]:
        try:
            return {name: parse_value(self._types[name], its) for name, its in values.items()}
        except KeyError as error:
            text = f"a column that `subscribed` did not name: {error.args[0]!r}"
            raise ProtocolError("bad_frame", text[:200]) from None


def read_lsn(text: str) -> Lsn:
    """Return a position.

    Raises ProtocolError.
    """
    try:
        return parse_lsn(text)
    except ValueError as error:
        raise ProtocolError("bad_frame", str(error)) from None
