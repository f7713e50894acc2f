"""What a table is by the catalog, and what of that cannot be followed from one moment to the next.

DDL is not in the stream, and neither is what it does to rows. So the catalog is read again and
again, and two definitions of one table tell whether shapes over it can go on. Every rewrite of the
values of a column (`ALTER COLUMN ... TYPE ... USING`) writes the definition of this column, too;
what only moves rows (VACUUM FULL) and what the stream tells (TRUNCATE) does not.
"""

from __future__ import annotations

import msgspec

from tidewire.core.model.relation import Identity
from tidewire.core.shape.index import TableShapes
from tidewire.core.shape.layout import Layout
from tidewire.core.shape.shape import ShapeColumn, ShapeId, ShapeSpec


class Label(msgspec.Struct, frozen=True, array_like=True):
    """What values are printed with: a label of an enum, or the form of a composite type."""

    oid: int
    text: str


class ColumnDefinition(msgspec.Struct, frozen=True, array_like=True):
    """One column, as `pg_attribute` has it."""

    number: int
    """Another column of the same name has another number."""
    name: str
    type_oid: int
    written_by: int
    """The transaction that wrote this definition last."""
    labels: tuple[Label, ...] = ()


class Partition(msgspec.Struct, frozen=True, array_like=True):
    """A table in the tree of a partitioned one."""

    oid: int
    file: int
    """Where its rows are: another file has other rows, or the same in another order. 0 is none."""
    is_born: bool
    """It was made as a partition and not attached: what is in it came through the log."""
    attached_by: int = 0
    """The transaction that made it a part: while it was none, the log told nothing of it."""

    @property
    def came_empty(self) -> bool:
        """Tell whether no row can be in it that the log has not told of."""
        return self.is_born and self.file in (0, self.oid)


class Definition(msgspec.Struct, frozen=True):
    """What decides whether shapes over a table can go on."""

    oid: int
    schema: str
    name: str
    obstacle: str | None
    """Why nobody can follow it now."""
    publication: int | None
    """Its entry in the publication: another one when it was taken out and put back."""
    identity: Identity
    key: tuple[str, ...]
    file: int
    columns: tuple[ColumnDefinition, ...]
    partitions: tuple[Partition, ...] = ()

    @property
    def qualified_name(self) -> str:
        """Name the table with its schema, for messages to people."""
        return f"{self.schema}.{self.name}"

    @property
    def known(self) -> frozenset[str]:
        """Name the columns of an old row that the log carries."""
        match self.identity:
            case Identity.FULL:
                return frozenset(column.name for column in self.columns)
            case Identity.NOTHING:
                return frozenset()
            case _:
                return frozenset(self.key)

    @property
    def layout(self) -> Layout:
        """Return what a shape of all its columns and rows needs."""
        columns = tuple(ShapeColumn(each.name, "", each.type_oid) for each in self.columns)
        return Layout(ShapeSpec(self.oid, self.schema, self.name, columns, self.key))


def find_unfit(table: TableShapes, old: Definition, new: Definition) -> dict[ShapeId, str]:
    """Return the shapes that cannot go on, each with the reason."""
    found: dict[ShapeId, str] = {}
    for layout, candidates in table.by_layout.items():
        if fault := find_fault(layout, old, new):
            found.update(dict.fromkeys(candidates, fault))
    for id, candidate in table.all.items():
        if candidate.shape.spec.qualified_name != new.qualified_name:
            found[id] = f"it is called {new.qualified_name} now"
    return found


def find_fault(layout: Layout, old: Definition, new: Definition) -> str | None:
    """Say why shapes cannot go on over a table that was `old` and is `new`; None when they can."""
    faults = _table_fault, _partition_fault, _layout_fault, _values_fault, _growth_fault
    return next(filter(None, (find(layout, old, new) for find in faults)), None)


def _table_fault(_: Layout, old: Definition, new: Definition) -> str | None:
    if new.obstacle:
        return new.obstacle
    if new.publication is None or old.publication not in (None, new.publication):
        return "it was taken out of the publication"
    return None


def _partition_fault(_: Layout, old: Definition, new: Definition) -> str | None:
    before = {each.oid: each for each in old.partitions}
    after = {each.oid: each for each in new.partitions}
    if before.keys() - after.keys():
        return "a partition is gone"
    for oid, partition in after.items():
        if oid not in before and not partition.came_empty:
            return "a partition came with rows"
        if oid in before and partition.file != before[oid].file:
            return "a partition was truncated or rewritten"
        if oid in before and partition.attached_by != before[oid].attached_by:
            return "a partition was detached and came back"
    return None


def _layout_fault(layout: Layout, _: Definition, new: Definition) -> str | None:
    """Compare what shapes need with the table as it is now, whatever it was."""
    if layout.key != new.key:
        return "its key is another one"
    types = {column.name: column.type_oid for column in new.columns}
    for name, type_oid in layout.needs:
        if name not in types:
            return f"column {name} is gone"
        if type_oid not in (0, types[name]):
            return f"column {name} has another type"
    if unknown := {*layout.key, *(name for name, _ in layout.where)} - new.known:
        return f"{', '.join(sorted(unknown))} of an old row is not in the write-ahead log any more"
    return None


def _values_fault(layout: Layout, old: Definition, new: Definition) -> str | None:
    """Look for values that are others now, and that nobody was told of."""
    before = {column.name: column for column in old.columns}
    after = {column.name: column for column in new.columns}
    for name, _ in layout.needs:
        if name not in before:
            continue  # the shape came later than this definition
        was, now = before[name], after[name]
        if now.number != was.number:
            return f"column {name} was dropped and made again"
        if not _is_within(was.labels, now.labels):
            return f"values of column {name} are printed in another way"
        if new.file != old.file and now.written_by != was.written_by:
            return f"column {name} was rewritten"
    return None


def _growth_fault(layout: Layout, old: Definition, new: Definition) -> str | None:
    """Look for a column that was written into all rows: whoever has all columns wants it, too."""
    added = [each.name for each in new.columns if each.number not in _numbers(old)]
    has_all = {column.name for column in layout.columns} >= {each.name for each in old.columns}
    if has_all and added and new.file != old.file:
        return f"column {added[0]} came with values"
    return None


def _numbers(definition: Definition) -> set[int]:
    return {column.number for column in definition.columns}


def _is_within(some: tuple[Label, ...], more: tuple[Label, ...]) -> bool:
    """Tell whether all labels are there still, in the same order: new ones disturb nobody."""
    rest = iter(more)
    return all(label in rest for label in some)
