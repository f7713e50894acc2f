"""The rows of a subscription as the application sees them: a mapping, and rows of its own type."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, is_typeddict

import msgspec

from tidewire.core.store import Table
from tidewire.errors import RowError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Row = TypeVar("Row", default=dict[str, Any])
else:
    from typing import TypeVar

    Row = TypeVar("Row")

_PATH = re.compile(r" - at `\$\.(\w+)")


class Rows(Mapping[Any, Row]):
    """The rows that a subscription holds, by their key; a read-only view that stays current.

    The key is the value of the key column, or a tuple for a key of several columns. Rows come in
    the order in which they arrived: first those of the copy, then those that were added; that is
    not an order of the database. A row is a dict by column, or of the `row_type` that was given;
    it is replaced when it changes, so one that you hold stays as it is. Treat it as read-only.

    Do not await while you iterate, or iterate over a copy: `list(orders.rows.values())`.
    """

    def __init__(self, table: Table, row_type: Callable[..., Row] | None) -> None:
        self._table = table
        self._row_type = row_type

    def __getitem__(self, key: Any) -> Row:
        row = self._table.rows[key]
        if self._row_type is None:
            return row  # type: ignore[return-value]
        return read_row(self._row_type, row, self._table.name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._table.rows)

    def __len__(self) -> int:
        return len(self._table.rows)

    def __contains__(self, key: object) -> bool:
        return key in self._table.rows

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self._table.name or 'a table'}>"


def read_row(row_type: Callable[..., Row], row: Mapping[str, object], table: str) -> Row:
    """Make a row of the application's type.

    Raises RowError, which names table and column, when the values do not fit.
    """
    try:
        if _is_described(row_type):
            found: Row = msgspec.convert(row, row_type)
            return found
        return row_type(**row)
    except msgspec.ValidationError as error:
        path = _PATH.search(str(error))
        column = path[1] if path else None
        problem = str(error).removesuffix("`").replace(" - at `$.", ", in column ")
        raise RowError(table, column, f"{_name(row_type)}: {problem}") from None
    except (TypeError, ValueError) as error:
        raise RowError(table, None, f"{_name(row_type)}: {error}") from error


def check_columns(row_type: Callable[..., object], columns: set[str], table: str) -> None:
    """Refuse a type that wants columns which the rows do not have.

    Raises RowError.
    """
    missing = sorted(_required(row_type) - columns)
    if missing:
        text = (
            f"{_name(row_type)} wants column {missing[0]!r}; there are {', '.join(sorted(columns))}"
        )
        raise RowError(table, missing[0], text)


def _is_described(row_type: Any) -> bool:
    """Tell whether msgspec knows how to fill the type from names."""
    is_struct = isinstance(row_type, type) and issubclass(row_type, msgspec.Struct)
    return is_struct or dataclasses.is_dataclass(row_type) or is_typeddict(row_type)


def _required(row_type: Any) -> set[str]:
    if isinstance(row_type, type) and issubclass(row_type, msgspec.Struct):
        fields = msgspec.structs.fields(row_type)
        return {field.encode_name for field in fields if field.required}
    if dataclasses.is_dataclass(row_type):
        none = dataclasses.MISSING
        return {
            field.name
            for field in dataclasses.fields(row_type)
            if field.init and field.default is none and field.default_factory is none
        }
    return set(getattr(row_type, "__required_keys__", ()))


def _name(row_type: Any) -> str:
    return str(getattr(row_type, "__name__", row_type))
