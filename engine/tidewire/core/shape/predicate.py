"""A condition on the rows of one table, bound to the types of its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from tidewire.core.model.change import Row
from tidewire.core.model.relation import Relation
from tidewire.core.shape.ast import Among, And, Column, Compare, Node, Operator, Value, columns_of
from tidewire.core.shape.evaluate import compile_tree
from tidewire.core.shape.types import ColumnType
from tidewire.errors import SyncError


class Equality(NamedTuple):
    """Only rows whose column has one of these texts can satisfy the condition."""

    column: str
    values: frozenset[bytes]


class Predicate(msgspec.Struct, frozen=True, cache_hash=True):
    """What a row must satisfy; equal predicates are one.

    `tree` is bound and canonical, `types` are those of its columns, by name and sorted.
    """

    tree: Node
    types: tuple[tuple[str, ColumnType], ...]

    @property
    def columns(self) -> frozenset[str]:
        """Name the columns that it looks at."""
        return frozenset(column.name for column in columns_of(self.tree))

    @property
    def equality(self) -> Equality | None:
        """Tell by which column and values an index finds this predicate, if any."""
        types = dict(self.types)
        found = [each for each in _equalities(self.tree) if types[each.column].has_one_text]
        return min(found, key=lambda each: (len(each.values), each.column), default=None)

    def compile(self, relation: Relation) -> Callable[[Row], bool]:
        """Make the function that judges rows of one version of the table.

        It is true only where SQL says true: NULL is not. The cells of `columns` must be known.
        Raises SyncError when the columns are not there or have other types than they were bound to;
        the function raises DecodeError for labels that an enum got later, if their order matters.
        """
        oids = {column.name: column.type_oid for column in relation.columns}
        for name, type in self.types:
            if oids.get(name) != type.oid:
                raise SyncError(
                    "unknown_column",
                    f"column {name!r} of {relation.qualified_name} is not what it was",
                )
        places = {column.name: place for place, column in enumerate(relation.columns)}
        return compile_tree(self.tree, dict(self.types), places)


def _equalities(tree: Node) -> Iterator[Equality]:
    """Walk over what all rows of a tree have in common."""
    match tree:
        case And(operands=operands):
            for operand in operands:
                yield from _equalities(operand)
        case Compare(left=Column(name=name), operator=Operator.EQ, right=Value(text=text)):
            yield Equality(name, frozenset() if text is None else frozenset((text,)))
        case Among(column=Column(name=name), items=items):
            texts = (item.text for item in items if isinstance(item, Value))
            yield Equality(name, frozenset(text for text in texts if text is not None))
        case _:
            pass
