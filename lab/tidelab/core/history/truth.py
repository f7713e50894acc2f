"""What the database says happened: tables, their rows when the run began, and every commit since.

The one rule: values are PostgreSQL's own text (DateStyle ISO, time zone UTC), None is NULL, and
rows have the columns of their table in its order.
"""

from __future__ import annotations

from msgspec import Struct

from tidelab.core.history.position import Lsn

Row = tuple[str | None, ...]
Key = tuple[str | None, ...]


class Column(Struct, frozen=True):
    """A column and PostgreSQL's name of its type."""

    name: str
    type: str


class Table(Struct, frozen=True):
    """A table as the run found it; generated columns are left out."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def index_of(self, column: str) -> int:
        """Return where a column stands in rows; ValueError if there is none."""
        return [each.name for each in self.columns].index(column)


class TableRows(Struct, frozen=True):
    """A table and the rows it held when the run began."""

    table: Table
    rows: tuple[Row, ...]


class Inserted(Struct, frozen=True, tag="insert"):
    """A new row."""

    table: str
    row: Row


class Updated(Struct, frozen=True, tag="update"):
    """A row that changed; `untouched` are the indexes of large values not written again."""

    table: str
    old_key: Key
    row: Row
    untouched: tuple[int, ...] = ()


class Deleted(Struct, frozen=True, tag="delete"):
    """A row that went."""

    table: str
    key: Key


class Truncated(Struct, frozen=True, tag="truncate"):
    """All rows of some tables went."""

    tables: tuple[str, ...]


TableChange = Inserted | Updated | Deleted | Truncated


class Baseline(Struct, frozen=True, tag="baseline"):
    """The state of all tables at one position: the beginning of the truth."""

    lsn: Lsn
    tables: tuple[TableRows, ...]


class Committed(Struct, frozen=True, tag="committed"):
    """A transaction, as it was written; `lsn` is the end of its commit record."""

    lsn: Lsn
    xid: int
    changes: tuple[TableChange, ...]


class Fenced(Struct, frozen=True, tag="fenced"):
    """The oracle has read everything that ends at or below `lsn`."""

    lsn: Lsn


Truth = Baseline | Committed | Fenced
