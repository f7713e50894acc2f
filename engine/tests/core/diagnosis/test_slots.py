"""Goal: whatever keeps write-ahead log, and nobody wants, is found, with the way to end it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.tests.core.diagnosis.patient import FACTS, GIB, SLOT, are_well, worst
from tidewire.core.diagnosis.facts import Facts, Prepared, Transaction
from tidewire.core.diagnosis.finding import Finding, Level
from tidewire.core.diagnosis.slots import judge_slots, judge_transactions

DROP = "SELECT pg_drop_replication_slot('tidewire_default_0123abcd');"


def judged(**changes: Any) -> Finding:
    facts = replace(FACTS, slots=[SLOT, replace(SLOT, is_own=True, **changes)])
    return worst(judge_slots(facts))


def test_a_slot_in_use_is_well_and_so_is_none() -> None:
    assert are_well(judge_slots(FACTS))
    assert "keeps 3 MB" in next(iter(judge_slots(FACTS))).text
    asleep = [
        SLOT,
        replace(SLOT, name="tidewire_default_1_wake", is_bookmark=True, active_pid=None),
    ]
    assert are_well(judge_slots(replace(FACTS, slots=asleep)))
    [none] = judge_slots(replace(FACTS, slots=()))
    assert "the server makes it" in none.text


@pytest.mark.parametrize(
    ("changes", "level", "text", "remedy"),
    [
        (
            {"active_pid": None},
            Level.WARNING,
            "the server does not run, or sleeps",
            ["-- start the", DROP],
        ),
        (
            {"active_pid": None, "is_own": False, "retained_bytes": 5 * GIB},
            Level.WARNING,
            "nobody reads it, and it keeps 5 GB",
            ["-- unless somebody comes back for it (database app):", DROP],
        ),
        ({"wal_status": "lost", "active_pid": None}, Level.WARNING, "clients start over", [DROP]),
        ({"wal_status": "lost", "is_own": False}, Level.WARNING, "is of no use", [DROP]),
        (
            {"wal_status": "unreserved", "retained_bytes": 8 * GIB},
            Level.PROBLEM,
            "more than it may",
            ["ALTER SYSTEM SET max_slot_wal_keep_size = '16GB';", "SELECT"],
        ),
        (
            {"wal_status": "unreserved", "retained_bytes": None},
            Level.PROBLEM,
            "0 bytes",
            ["ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';", "SELECT"],
        ),
    ],
)
def test_a_slot_that_keeps_log_for_nobody(
    changes: dict[str, Any], level: Level, text: str, remedy: list[str]
) -> None:
    facts = replace(FACTS, slots=[SLOT, replace(SLOT, **changes)])
    found = worst(judge_slots(facts))
    assert (found.id, found.level, found.subject) == ("slot", level, SLOT.name)
    assert text in found.text
    for line, begins in zip(found.remedy, remedy, strict=True):
        assert line.startswith(begins)


def test_clients_of_another_deployment_are_not_spoken_of() -> None:
    facts = replace(FACTS, slots=[replace(SLOT, wal_status="lost", is_own=False)])
    assert "start over" not in worst(judge_slots(facts)).text


def with_open(**changes: Any) -> Facts:
    transaction = Transaction(pid=7, role="ann", state="idle in transaction", age_s=300.0)
    return replace(FACTS, transactions=[replace(transaction, **changes)])


def test_an_old_transaction_is_named() -> None:
    found = worst(judge_transactions(with_open()))
    assert (found.id, found.subject) == ("transaction", "pid 7")
    assert "user ann has written and is open for 5 minutes (idle in transaction)" in found.text
    assert found.remedy == ("SELECT pg_terminate_backend(7);",)
    found = worst(judge_transactions(with_open(role=None, state=None)))
    assert "a user that is not told has written and is open for 5 minutes:" in found.text


def test_a_prepared_transaction_is_named() -> None:
    facts = replace(FACTS, prepared=[Prepared(id="it's", database="app", age_s=60.0)])
    found = worst(judge_transactions(facts))
    assert (found.id, found.subject) == ("prepared", "it's")
    assert "COMMIT PREPARED 'it''s'; or else:" in found.remedy[0]
    assert found.remedy[1] == "ROLLBACK PREPARED 'it''s';"


def test_young_transactions_are_well() -> None:
    young = replace(with_open(age_s=59.9), prepared=[Prepared(id="x", database="app", age_s=59.9)])
    assert are_well(judge_transactions(young))
    assert [each.id for each in judge_transactions(young)] == ["transaction", "prepared"]
