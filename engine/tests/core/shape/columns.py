"""Columns of every kind and rows of them, for the tests of conditions."""

from __future__ import annotations

from collections.abc import Mapping

from tidewire.core.model.change import Row
from tidewire.core.model.relation import Column, Identity, JsonForm, Relation
from tidewire.core.shape import ast
from tidewire.core.shape.evaluate import compile_tree
from tidewire.core.shape.types import KIND_BY_OID, ColumnType, Kind

OIDS = {kind: oid for oid, kind in KIND_BY_OID.items()}


def column_type(
    kind: Kind, *, is_deterministic: bool = True, is_bytewise: bool = True
) -> ColumnType:
    """Make a type; an enum has the labels b < a."""
    schema = "public" if kind is Kind.ENUM else "pg_catalog"
    name = "mood" if kind is Kind.ENUM else kind.value
    labels = ("b", "a") if kind is Kind.ENUM else ()
    return ColumnType(
        kind, OIDS.get(kind, 9999), schema, name, labels, is_deterministic, is_bytewise
    )


TYPES: Mapping[str, ColumnType] = {
    **{kind.value: column_type(kind) for kind in Kind},
    "other_text": column_type(Kind.TEXT),
    "icu": column_type(Kind.TEXT, is_bytewise=False),
    "lax": column_type(Kind.TEXT, is_deterministic=False),
    "other_enum": ColumnType(Kind.ENUM, 9998, "public", "other", ("b", "a")),
}


def relation(*names: str) -> Relation:
    """Make a table with some of these columns."""
    columns = (Column(n, TYPES[n].oid, -1, True, JsonForm.TEXT) for n in names)
    return Relation(1, "public", "t", Identity.FULL, tuple(columns))


def judged(tree: ast.Node, **cells: bytes | None) -> bool | None:
    """Return which of three truth values a bound tree has for the given cells."""
    places = {name: place for place, name in enumerate(cells)}
    row: Row = tuple(cells.values())
    is_true = compile_tree(tree, TYPES, places)(row)
    is_false = compile_tree(ast.Not(tree), TYPES, places)(row)
    assert not (is_true and is_false)
    return True if is_true else False if is_false else None


def value(text: str | None) -> ast.Value:
    """Make a bound constant."""
    return ast.Value(None if text is None else text.encode())


def compare(name: str, operator: str, other: str | None) -> ast.Compare:
    """Make a bound comparison with a constant."""
    return ast.Compare(ast.Column(name), ast.Operator(operator), value(other))
