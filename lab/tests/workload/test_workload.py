"""Goal: chance is repeatable and stays within what the oracle can judge. Method: many draws."""

from __future__ import annotations

from random import Random

from tidelab.core.history.shape import Everything
from tidelab.core.history.truth import Column, Table
from tidelab.core.oracle.filter import compile_shape
from tidelab.core.oracle.rendering import render_where
from tidelab.workload.shapes import make_shape
from tidelab.workload.tables import KINDS
from tidelab.workload.transactions import Transaction, Transactions

TYPES = {
    ("events", "id"): "uuid",
    ("orders", "price"): "numeric",
    ("orders", "is_paid"): "bool",
    ("orders", "day"): "date",
}
NUMBERS = {"id", "order_id", "line", "quantity", "kind", "amount"}


def table(name: str) -> Table:
    kind = next(kind for kind in KINDS if kind.name == name)
    columns = [
        Column(column, TYPES.get((name, column), "int4" if column in NUMBERS else "text"))
        for column in (*kind.key, *kind.values)
    ]
    return Table(name, tuple(kind.key), tuple(columns))


def draw(seed: int, count: int = 300) -> list[Transaction]:
    transactions = Transactions(Random(seed), 1)
    return [transactions.draw() for _ in range(count)]


def test_a_seed_is_a_load() -> None:
    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_all_kinds_of_transactions_come() -> None:
    found = [each for seed in range(5) for each in draw(seed)]
    text = "\n".join(query.as_string() for each in found for query, _ in each.statements)
    for word in (
        "INSERT INTO",
        "DELETE FROM",
        "TRUNCATE",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "generate_series",
        "UPDATE notes SET id",
        "hashtext",
        "synchronous_commit",
        "pg_sleep",
    ):
        assert word in text, word
    assert {each.is_committed for each in found} == {True, False}
    tables = [
        {kind.name for kind in KINDS if f'"{kind.name}"' in q.as_string()}
        for each in found
        for q, _ in each.statements
    ]
    assert set().union(*tables) == {"notes", "orders", "items", "events"}


def test_placeholders_and_values_fit() -> None:
    for seed in range(3):
        for each in draw(seed):
            for query, values in each.statements:
                assert query.as_string().count("%s") == len(values)


def test_shapes_can_be_judged_and_written_as_sql() -> None:
    random = Random(1)
    drawn = [make_shape(random) for _ in range(500)]
    for shape, _ in drawn:
        compile_shape(shape, table(shape.table))
        where = render_where(shape, table(shape.table))
        assert (where is None) == (shape.filter == Everything())
    assert {has_rows for _, has_rows in drawn} == {True, False}
    assert {shape.table for shape, _ in drawn} == {kind.name for kind in KINDS}


def test_a_table_without_full_identity_is_filtered_by_its_key_only() -> None:
    for kind in KINDS:
        is_full = kind.name in ("orders", "items")
        assert is_full or set(kind.filters) <= set(kind.key)
