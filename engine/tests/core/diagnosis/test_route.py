"""Goal: what stands between us and the server is found, and why it refuses us."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.tests.core.diagnosis.patient import FACTS, ROUTE, SERVER, SETTINGS, are_well, worst
from tidewire.core.diagnosis.facts import Facts
from tidewire.core.diagnosis.finding import Level
from tidewire.core.diagnosis.route import judge_route


def with_route(**changes: Any) -> Facts:
    return replace(FACTS, route=replace(ROUTE, **changes))


def refused(**changes: Any) -> Facts:
    return with_route(refusal="no", wal_sender_timeout_ms=None, **changes)


def test_a_good_way_is_well() -> None:
    assert are_well(judge_route(FACTS))


def test_a_pooler_is_found() -> None:
    found = worst(judge_route(with_route(is_pooled=True)))
    assert (found.id, found.level) == ("pooler", Level.WARNING)


def test_lost_settings_are_found() -> None:
    found = worst(judge_route(with_route(wal_sender_timeout_ms=60_000)))
    assert (found.id, found.level) == ("wal_sender_timeout", Level.WARNING)


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("10.0.0.7", '-- host app "our role" 10.0.0.7/32 scram-sha-256'),
        ("fe80::1", '-- host app "our role" fe80::1/128 scram-sha-256'),
        (None, '-- local app "our role" scram-sha-256'),
    ],
)
def test_a_refusal_is_told_with_the_line_that_would_let_us_in(
    address: str | None, line: str
) -> None:
    found = worst(judge_route(refused(client_address=address)))
    assert (found.id, found.level) == ("replication", Level.PROBLEM)
    assert line in found.remedy
    assert found.remedy[-1] == "SELECT pg_reload_conf();"


def test_a_refusal_with_a_cause_of_its_own_has_that_remedy() -> None:
    full = replace(refused(), settings=replace(SETTINGS, walsenders_used=10))
    assert worst(judge_route(full)).remedy[0] == "ALTER SYSTEM SET max_wal_senders = 15;"
    nobody = replace(full, server=replace(SERVER, may_replicate=False))
    assert worst(judge_route(nobody)).remedy == ('ALTER ROLE "our role" REPLICATION;',)
