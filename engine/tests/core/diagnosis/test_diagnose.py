"""Goal: everything is judged, and every matter of the list is met by some database."""

from __future__ import annotations

from engine.tests.core.diagnosis.patient import FACTS, are_well, with_settings
from tidewire.core.diagnosis.diagnose import diagnose
from tidewire.core.diagnosis.matters import MATTERS

# Matters that are spoken of only where something is wrong.
ONLY_WRONG = {
    "table_missing",
    "table_rights",
    "table_owner",
    "table_publication",
    "table_partitions",
}


def test_a_database_in_good_health_is_well() -> None:
    assert are_well(diagnose(FACTS))


def test_each_matter_is_judged_and_in_the_order_of_the_list() -> None:
    found = [each.id for each in diagnose(with_settings(standbys=["b"]))]
    assert set(found) == MATTERS.keys() - ONLY_WRONG
    places = list(MATTERS)
    assert sorted(found, key=places.index) == found
