"""Goal: a setting that leaves no room, or works against us, is found, with one that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.tests.core.diagnosis.patient import FACTS, GIB, SLOT, are_well, with_settings, worst
from tidewire.core.diagnosis.finding import Level
from tidewire.core.diagnosis.settings import judge_settings

ILL: list[tuple[dict[str, Any], str, Level, str]] = [
    (
        {"slots_used": 10},
        "slots",
        Level.PROBLEM,
        "ALTER SYSTEM SET max_replication_slots = 15; -- then restart PostgreSQL",
    ),
    ({"walsenders_max": 0}, "walsenders", Level.PROBLEM, "SET max_wal_senders = 6;"),
    ({"connections_used": 93}, "connections", Level.WARNING, "SET max_connections = 117;"),
    ({"slot_wal_bytes": None}, "slot_wal", Level.WARNING, "keep_size = '10GB';"),
    ({"slot_wal_bytes": GIB - 1}, "slot_wal", Level.WARNING, "SELECT pg_reload_conf();"),
    ({"slot_wal_bytes": 0}, "slot_wal", Level.WARNING, "keep_size = '10GB';"),
    ({"idle_slot_s": 3600.0}, "slot_idle", Level.WARNING, "timeout = '345600s';"),
    (
        {"may_log_snapshot": False},
        "slot_moves",
        Level.WARNING,
        'FUNCTION pg_catalog.pg_log_standby_snapshot() TO "our role";',
    ),
    ({"sees_others": False}, "sessions_seen", Level.WARNING, 'pg_read_all_stats TO "our role";'),
]


def test_good_settings_are_well() -> None:
    assert are_well(judge_settings(FACTS))
    assert are_well(judge_settings(with_settings(slot_wal_bytes=GIB, idle_slot_s=345_600.0)))
    assert are_well(judge_settings(with_settings(connections_used=92)))
    assert are_well(judge_settings(with_settings(may_log_snapshot=None)))


@pytest.mark.parametrize(("change", "id", "level", "remedy"), ILL, ids=lambda v: str(v)[:24])
def test_what_is_wrong(change: dict[str, Any], id: str, level: Level, remedy: str) -> None:
    facts = replace(with_settings(**change), slots=())
    found = worst(judge_settings(facts))
    assert (found.id, found.level) == (id, level)
    assert remedy in " ".join(found.remedy)


def test_what_the_running_server_uses_is_not_missing() -> None:
    facts = with_settings(slots_used=10, walsenders_used=10, connections_used=97)
    assert are_well(judge_settings(facts))
    stopped = replace(facts, slots=(replace(SLOT, active_pid=None),))
    found = [each.id for each in judge_settings(stopped) if each.level is not Level.OK]
    assert found == ["walsenders", "connections"]


@pytest.mark.parametrize("names", ["*", "FIRST 2 (a, *)", '"*"', "ANY 1 (tidewire)", '"TideWire"'])
def test_commits_wait_for_us(names: str) -> None:
    facts = with_settings(synchronous_standby_names=names)
    assert worst(judge_settings(facts)).id == "synchronous_standbys"


@pytest.mark.parametrize("names", ["", "a", "FIRST 2 (a, b)", '"tide""wire"', "tidewire_2"])
def test_commits_wait_for_others(names: str) -> None:
    assert are_well(judge_settings(with_settings(synchronous_standby_names=names)))


@pytest.mark.parametrize(
    ("names", "standbys", "remedy"),
    [
        ("FIRST 2 (*)", ["b", 'a"'], '= \'FIRST 2 ("b", "a""")\';'),
        ('"*", "a*"', ["b"], """= '"b", "a*"';"""),
        ('"*"', ["o'b"], """= '"o''b"';"""),
        ("*", [], "= '';"),
        ("tidewire", ["b"], "-- add application_name=another_name to the database URL"),
    ],
)
def test_the_standbys_that_are_there_are_listed_instead(
    names: str, standbys: list[str], remedy: str
) -> None:
    facts = with_settings(synchronous_standby_names=names, standbys=standbys)
    assert remedy in " ".join(worst(judge_settings(facts)).remedy)


def test_what_a_failover_means_is_told_where_there_are_standbys() -> None:
    found = list(judge_settings(with_settings(standbys=["b", "a"])))
    [failover] = [each for each in found if each.id == "failover"]
    assert "(a, b)" in failover.text
    assert "failover" not in {each.id for each in judge_settings(FACTS)}
