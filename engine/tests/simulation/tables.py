"""The tables of the simulation, what clients ask of them, and how the stream tells their rows.

Method: a row is a tuple of texts, as PostgreSQL prints them; its messages are written by
`pgoutput.py` without any code of the engine. What a client should see of a table (`View.of`) is
computed from the rows themselves, never from messages, and its conditions are judged by Python.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from engine.tests.core import pgoutput
from tidewire.core.model.change import UNCHANGED, Cell
from tidewire.core.model.relation import Column, Identity, JsonForm, Relation
from tidewire.core.model.transaction import RowMessage
from tidewire.core.protocol import frames
from tidewire.core.shape import ast
from tidewire.core.shape.predicate import Predicate
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.core.shape.types import ColumnType, Kind

Text: TypeAlias = bytes | None
Row: TypeAlias = tuple[Text, ...]
Key: TypeAlias = tuple[Text, ...]
Rows: TypeAlias = Mapping[Key, Row]
Shown: TypeAlias = dict[object, dict[str, object]]

_TYPES = {
    pgoutput.INT4: ColumnType(Kind.INT4, pgoutput.INT4, "pg_catalog", "int4"),
    pgoutput.TEXT: ColumnType(Kind.TEXT, pgoutput.TEXT, "pg_catalog", "text"),
}
# A text of at least so many bytes is stored apart: an update that leaves it alone does not tell it.
_TOAST_BYTES = 12


class Table:
    """A table as the database has it."""

    def __init__(self, oid: int, name: str, columns: str, key: str, identity: Identity) -> None:
        self.name = name
        self.columns = columns.split()
        self.key_at = [self.columns.index(column) for column in key.split()]
        self.is_number = [column in {"id", "a", "rank"} for column in self.columns]
        types = [pgoutput.INT4 if number else pgoutput.TEXT for number in self.is_number]
        forms = [JsonForm.NUMBER if number else JsonForm.TEXT for number in self.is_number]
        known = tuple(
            Column(column, types[i], -1, i in self.key_at, forms[i])
            for i, column in enumerate(self.columns)
        )
        self.relation = Relation(oid, "public", name, identity, known)

    def key_of(self, row: Row) -> Key:
        return tuple(row[i] for i in self.key_at)

    def insert(self, row: Row) -> RowMessage:
        return self.relation, pgoutput.insert(self.relation.oid, row)

    def update(self, old: Row, new: Row) -> RowMessage:
        cells = tuple(map(_told, old, new))
        before, kind = self._before(old)
        if kind == "K" and self.key_of(old) == self.key_of(new):
            return self.relation, pgoutput.update(self.relation.oid, cells)
        return self.relation, pgoutput.update(self.relation.oid, cells, before, kind)

    def delete(self, old: Row) -> RowMessage:
        before, kind = self._before(old)
        return self.relation, pgoutput.delete(self.relation.oid, before, kind)

    def truncate(self) -> RowMessage:
        return self.relation, pgoutput.truncate([self.relation.oid])

    def _before(self, old: Row) -> tuple[Row, str]:
        if self.relation.identity is Identity.FULL:
            return old, "O"
        return tuple(cell if i in self.key_at else None for i, cell in enumerate(old)), "K"


def _told(old: Text, new: Text) -> Cell:
    is_apart = new is not None and len(new) >= _TOAST_BYTES
    return UNCHANGED if is_apart and old == new else new


TABLES = (
    Table(1, "notes", "id body big", "id", Identity.DEFAULT),
    Table(2, "tasks", "id grp rank big", "id", Identity.FULL),
    Table(3, "pairs", "a b body", "a b", Identity.DEFAULT),
)


class Condition(NamedTuple):
    """A comparison of one column, and Python's own judgement of it."""

    column: str
    operator: ast.Operator
    value: bytes
    holds: Callable[[bytes], bool]


class View:
    """What a client may ask for."""

    def __init__(self, table: int, columns: str, condition: Condition | None = None) -> None:
        its = TABLES[table]
        self.table = table
        self.columns = columns.split()
        self.condition = condition
        self._at = [its.columns.index(column) for column in self.columns]
        self._where_at = its.columns.index(condition.column) if condition else None
        self._key = [its.columns[i] for i in its.key_at]
        self.spec = ShapeSpec(
            its.relation.oid,
            "public",
            its.name,
            tuple(
                ShapeColumn(self.columns[i], "int4" if its.is_number[at] else "text")
                for i, at in enumerate(self._at)
            ),
            tuple(self._key),
            where=self._predicate(its) if condition else None,
        )

    def _predicate(self, table: Table) -> Predicate:
        assert self.condition is not None
        name, operator, value, _ = self.condition
        oid = table.relation.columns[table.columns.index(name)].type_oid
        tree = ast.Compare(ast.Column(name), operator, ast.Value(value))
        return Predicate(tree=tree, types=((name, _TYPES[oid]),))

    def request(self, id: str, number: int, *, initial: bool) -> frames.ShapeRequest:
        """Ask for it, by its number in `VIEWS`."""
        return frames.ShapeRequest(id=id, table=f"{number}", initial=initial)

    def admits(self, row: Row) -> bool:
        if self.condition is None:
            return True
        assert self._where_at is not None
        cell = row[self._where_at]
        return cell is not None and self.condition.holds(cell)

    def of(self, rows: Rows) -> Shown:
        """Return what a client sees of the rows of the table."""
        return dict(self.show(row) for row in rows.values() if self.admits(row))

    def json(self, rows: Rows) -> list[bytes]:
        """Write the rows as PostgreSQL would for a snapshot."""
        return [self.write(row) for row in rows.values() if self.admits(row)]

    @functools.lru_cache(maxsize=100_000)  # noqa: B019 - views live as long as the module
    def show(self, row: Row) -> tuple[object, dict[str, object]]:
        its = TABLES[self.table]
        values = {
            name: None
            if row[at] is None
            else int(row[at] or b"")
            if its.is_number[at]
            else (row[at] or b"").decode()
            for name, at in zip(self.columns, self._at, strict=True)
        }
        key = tuple(values[name] for name in self._key)
        name: object = key[0] if len(key) == 1 else key
        return name, dict(values)

    @functools.lru_cache(maxsize=100_000)  # noqa: B019 - views live as long as the module
    def write(self, row: Row) -> bytes:
        its = TABLES[self.table]
        cells = [
            b"null"
            if row[at] is None
            else (row[at] or b"")
            if its.is_number[at]
            else b'"%b"' % (row[at] or b"")
            for at in self._at
        ]
        return b"[%b]" % b",".join(cells)


_EQ, _GE, _LT = ast.Operator.EQ, ast.Operator.GE, ast.Operator.LT
VIEWS = (
    View(0, "id body big"),
    View(0, "id big"),
    View(0, "id body"),
    View(1, "id grp rank big"),
    View(1, "id grp rank big", Condition("grp", _EQ, b"red", lambda cell: cell == b"red")),
    View(1, "id big", Condition("grp", _EQ, b"blue", lambda cell: cell == b"blue")),
    View(1, "id rank", Condition("rank", _GE, b"10", lambda cell: int(cell) >= 10)),
    View(1, "id grp big", Condition("rank", _LT, b"9", lambda cell: int(cell) < 9)),
    View(2, "a b body"),
    View(2, "b a"),
)
