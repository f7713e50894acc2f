"""Goal: a table needs no more than what decides whether it can be followed."""

from __future__ import annotations

from engine.tests.core.diagnosis.patient import FACTS, TABLE
from tidewire.core.diagnosis.facts import Facts, Table


def test_what_only_helps_with_the_remedy_may_be_missing() -> None:
    fields = (
        "name",
        "kind",
        "persistence",
        "identity",
        "key",
        "is_partition",
        "hides_rows",
        "role",
    )
    table = Table(**{name: getattr(TABLE, name) for name in fields})
    assert (table.columns, table.primary_key, table.unique_index, table.root) == (
        (),
        (),
        None,
        None,
    )


def test_a_database_may_be_empty() -> None:
    facts = Facts(
        deployment="d",
        server=FACTS.server,
        settings=FACTS.settings,
        route=FACTS.route,
        publication=None,
    )
    assert (facts.slots, facts.transactions, facts.prepared) == ((), (), ())
    assert (facts.tables, facts.missing_tables) == ((), ())
