"""Goal: a table that cannot be followed is found, with the statement after which it can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.tests.core.diagnosis.patient import (
    FACTS,
    INT,
    JSONB,
    STANDING,
    TABLE,
    TEXT,
    are_well,
    worst,
)
from tidewire.core.diagnosis.finding import Finding, Level
from tidewire.core.diagnosis.table import find_obstacle, judge_table, judge_tables

NO_KEY: dict[str, Any] = {"key": (), "primary_key": (), "primary_key_name": ""}
OBSTACLES: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "v"}, "is a view", "-- follow the tables that it is made of"),
    ({"kind": "?"}, "is not a table", "-- follow the tables that it is made of"),
    ({"is_partition": True, "root": "public.all"}, "is a partition", "-- which is public.all"),
    ({"persistence": "t"}, "is temporary", "-- make it a plain table"),
    ({"persistence": "u"}, "is unlogged", "ALTER TABLE public.orders SET LOGGED;"),
    ({"hides_rows": True}, "row-level security", 'ALTER ROLE "our role" BYPASSRLS;'),
    (
        {"identity": "n"},
        "has no replica identity",
        "ALTER TABLE public.orders REPLICA IDENTITY DEFAULT;",
    ),
    (
        {"identity": "i", "key": ()},
        "has no replica identity",
        "ALTER TABLE public.orders REPLICA IDENTITY DEFAULT;",
    ),
    (
        {"key": (), "primary_key": ("id", '"B"')},
        "is deferrable",
        'ALTER TABLE public.orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (id, "B");',
    ),
    (
        {**NO_KEY, "unique_index": "orders_name"},
        "has no primary key",
        "ALTER TABLE public.orders REPLICA IDENTITY USING INDEX orders_name;",
    ),
    (NO_KEY, "has no primary key", "ALTER TABLE public.orders ADD PRIMARY KEY (id);"),
    (
        {**NO_KEY, "columns": ("name",)},
        "has no primary key",
        "ALTER TABLE public.orders ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;",
    ),
    (
        {**NO_KEY, "identity": "n"},
        "has no primary key",
        "ALTER TABLE public.orders REPLICA IDENTITY DEFAULT;",
    ),
]
FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"may_use_schema": False}, "table_rights", 'GRANT USAGE ON SCHEMA public TO "our role";'),
    ({"may_select": False}, "table_rights", 'GRANT SELECT ON public.orders TO "our role";'),
    (
        {"is_owner": False, "is_published": False},
        "table_owner",
        'GRANT app_owner TO "our role";',
    ),
    (
        {"is_owner": False, "is_published": False, "owner_is_superuser": True},
        "table_owner",
        'ALTER TABLE public.orders OWNER TO "our role";',
    ),
    (
        {"is_narrowed": True},
        "table_publication",
        "ALTER PUBLICATION tidewire_default ADD TABLE public.orders;",
    ),
]


def conditions(**changes: Any) -> Finding:
    *_, last = judge_table(replace(TABLE, **changes), STANDING, FACTS)
    assert last.id == "table_conditions"
    return last


def test_a_good_table_is_well() -> None:
    assert find_obstacle(TABLE) is None
    assert are_well(judge_tables(FACTS))
    assert are_well(judge_table(TABLE, replace(STANDING, is_published=False), FACTS))
    assert are_well(judge_table(TABLE, replace(STANDING, is_owner=False), FACTS))
    found = next(judge_table(TABLE, replace(STANDING, generated=["total"]), FACTS))
    assert found.text.endswith("by its key (id), without its generated columns (total)")


@pytest.mark.parametrize(("change", "text", "remedy"), OBSTACLES, ids=lambda v: str(v)[:40])
def test_what_keeps_it_from_being_followed(change: dict[str, Any], text: str, remedy: str) -> None:
    table = replace(TABLE, **change)
    found = find_obstacle(table)
    assert found is not None
    assert (found.id, found.level, found.subject) == ("table", Level.PROBLEM, "public.orders")
    assert text in found.text
    assert remedy in found.remedy
    assert worst(judge_table(table, STANDING, FACTS)) == found


@pytest.mark.parametrize(("change", "id", "remedy"), FAULTS, ids=lambda v: str(v)[:40])
def test_what_is_wrong_around_it(change: dict[str, Any], id: str, remedy: str) -> None:
    findings = list(judge_table(TABLE, replace(STANDING, **change), FACTS))
    found = worst(findings)
    assert (found.id, found.level, found.subject) == (id, Level.PROBLEM, "public.orders")
    assert remedy in found.remedy
    assert "table" not in {each.id for each in findings}


def test_what_is_wrong_around_it_is_told_also_when_it_cannot_be_followed() -> None:
    table, standing = replace(TABLE, persistence="u"), replace(STANDING, may_select=False)
    assert [each.id for each in judge_table(table, standing, FACTS)] == ["table", "table_rights"]


def test_partitions_of_a_table_with_full_identity_want_it_too() -> None:
    table = replace(TABLE, kind="p", identity="f", poorer=["p1", "p2"])
    [found] = judge_table(table, STANDING, FACTS)
    assert (found.id, found.level) == ("table_partitions", Level.PROBLEM)
    assert found.remedy == (
        "ALTER TABLE p1 REPLICA IDENTITY FULL;",
        "ALTER TABLE p2 REPLICA IDENTITY FULL;",
    )
    [found] = judge_table(replace(table, identity="d"), STANDING, FACTS)
    assert found.remedy[0] == "ALTER TABLE p1 REPLICA IDENTITY DEFAULT;"


def test_a_name_that_no_table_has_is_told() -> None:
    found = worst(judge_tables(replace(FACTS, missing_tables=["ordres"])))
    assert (found.id, found.level, found.subject) == ("table_missing", Level.PROBLEM, "ordres")


def test_conditions_may_use_the_key_and_with_full_identity_all_that_can_be_compared() -> None:
    found = conditions()
    assert found.text == "conditions may use id, and others with REPLICA IDENTITY FULL"
    assert found.remedy == ("ALTER TABLE public.orders REPLICA IDENTITY FULL;",)
    full = conditions(identity="f").text
    assert full.startswith("conditions may use id, body (no < or > of body); extra has type jsonb")
    assert conditions(key=("extra",)).text.startswith("conditions may use no column,")
    assert STANDING.types == {"id": INT, "body": TEXT, "extra": JSONB}
