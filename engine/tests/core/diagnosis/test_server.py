"""Goal: each thing that a server lacks is found alone, with the command that mends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.tests.core.diagnosis.patient import SERVER, SETTINGS, are_well, worst
from tidewire.core.diagnosis.finding import Level
from tidewire.core.diagnosis.server import judge_server, judge_version, set_parameter

ILL = [
    ({"version": 130012}, "version", Level.PROBLEM, "-- upgrade the server with pg_upgrade"),
    ({"version": 190000}, "version", Level.WARNING, "-- look for a newer Tidewire"),
    (
        {"wal_level": "replica"},
        "wal_level",
        Level.PROBLEM,
        "ALTER SYSTEM SET wal_level = logical; -- then restart PostgreSQL",
    ),
    (
        {"may_replicate": False},
        "role_replication",
        Level.PROBLEM,
        'ALTER ROLE "our role" REPLICATION;',
    ),
    (
        {"may_create": False},
        "database_create",
        Level.PROBLEM,
        'GRANT CREATE ON DATABASE app TO "our role";',
    ),
    ({"is_standby": True}, "standby", Level.PROBLEM, "pg_stat_wal_receiver"),
    ({"encoding": "SQL_ASCII"}, "encoding", Level.PROBLEM, "ENCODING 'UTF8';"),
]


def test_a_good_server_is_well() -> None:
    assert are_well(judge_server(SERVER))
    assert are_well(judge_server(replace(SERVER, version=140000)))
    assert are_well(judge_server(replace(SERVER, version=180009)))


@pytest.mark.parametrize(("change", "id", "level", "remedy"), ILL, ids=lambda v: str(v)[:24])
def test_what_is_lacking(change: dict[str, Any], id: str, level: Level, remedy: str) -> None:
    found = worst(judge_server(replace(SERVER, **change), SETTINGS))
    assert (found.id, found.level) == (id, level)
    assert remedy in " ".join(found.remedy)


def test_all_that_is_lacking_is_told_at_once() -> None:
    server = replace(SERVER, wal_level="minimal", may_replicate=False, may_create=False)
    found = [each.id for each in judge_server(server) if each.level is Level.PROBLEM]
    assert found == ["wal_level", "role_replication", "database_create"]


def test_the_version_can_be_judged_alone() -> None:
    assert judge_version(replace(SERVER, version=90600)).text.startswith("PostgreSQL 9 is too old")


def test_a_parameter_is_changed_where_it_stands() -> None:
    assert set_parameter(SETTINGS, "a", "1") == [
        "ALTER SYSTEM SET a = 1;",
        "SELECT pg_reload_conf();",
    ]
    [line] = set_parameter(replace(SETTINGS, on_command_line=["a"]), "a", "1", restart=True)
    assert line == "-- a was given when PostgreSQL was started: there, say -c a=1"
