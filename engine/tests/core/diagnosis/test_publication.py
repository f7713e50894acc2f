"""Goal: a publication that loses changes, or breaks the application, is found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.tests.core.diagnosis.patient import FACTS, PUBLICATION, are_well, worst
from tidewire.core.diagnosis.finding import Level
from tidewire.core.diagnosis.publication import judge_publication

ALL_KINDS = "insert, update, delete, truncate"


def test_a_good_publication_is_well_and_so_is_none() -> None:
    [found] = judge_publication(FACTS)
    assert found.text == "tidewire_default is ours, and whole"
    assert are_well(judge_publication(replace(FACTS, publication=None)))


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"has_all_tables": True}, "DROP PUBLICATION tidewire_default;"),
        (
            {"schemas": ["a", '"B"']},
            'ALTER PUBLICATION tidewire_default DROP TABLES IN SCHEMA a, "B";',
        ),
        (
            {"missing": ["truncate"]},
            f"ALTER PUBLICATION tidewire_default SET (publish = '{ALL_KINDS}');",
        ),
        (
            {"is_via_root": False},
            "ALTER PUBLICATION tidewire_default SET (publish_via_partition_root = true);",
        ),
        ({"is_ours": False}, 'ALTER PUBLICATION tidewire_default OWNER TO "our role";'),
        # Who drops it has no more to do.
        (
            {"has_all_tables": True, "missing": ["update"], "is_ours": False},
            "DROP PUBLICATION tidewire_default;",
        ),
    ],
)
def test_what_is_wrong_with_it(changes: dict[str, Any], remedy: str) -> None:
    facts = replace(FACTS, publication=replace(PUBLICATION, **changes))
    found = worst(judge_publication(facts))
    assert found.level is Level.PROBLEM
    assert found.remedy[-1] == remedy
