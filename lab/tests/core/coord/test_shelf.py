"""Goal: barriers are names and make room for each other, and whoever waits is never forgotten.

Method: the core with small bounds, and what it leaves on disk.
"""

from __future__ import annotations

import pytest

from lab.tests.core.coord.table import Table, wait
from tidelab.core.coord import shelf
from tidelab.core.coord.answer import Released, RunStory
from tidelab.core.coord.command import Cancel, Inspect


def test_a_long_test_may_name_each_barrier_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "COORD_NAMES_MAX", 3)
    table = Table()
    a, b, late = (table.join(name) for name in ("a", "b", "late"))
    table.ask(a, wait("open", target=2))
    for number in range(100, 0, -1):
        table.ask(b, wait(f"round-{number}", target=1, lead_ms=0))
        table.ok(late, wait(f"round-{number}", target=1), Released)
        if number == 50:
            table.restart()
            a, b, late = (table.join(name) for name in ("a", "b", "late"))
            table.ask(a, wait("open", target=2))
        table.pass_time(0.01)
    kept = {(at[1], at[2].split()[0]) for at in table.disk if at[1] in ("outcome", "cursor")}
    assert kept == {(kind, f"round-{n}") for kind in ("outcome", "cursor") for n in (1, 2)}
    table.ask(b, wait("open", target=2))
    assert table.last(a, Released).barrier == "open"


@pytest.mark.parametrize("is_killed", [False, True])
def test_the_barrier_that_ended_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, *, is_killed: bool
) -> None:
    monkeypatch.setattr(shelf, "COORD_NAMES_MAX", 2)
    table = Table()
    a, b = table.join("a"), table.join("b")
    for name in ("busy", "old"):
        table.ask(a, wait(name, target=1))
        table.pass_time(10)
    table.ask(a, wait("busy", target=2))
    table.ask(b, Cancel(barrier="busy"))
    if is_killed:
        table.restart()
        a = table.join("a")
    table.ask(a, wait("new", target=1))
    assert {at[2] for at in table.disk if at[1] == "outcome"} == {"busy", "new"}


def test_many_agents_at_many_barriers_are_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shelf, "COORD_PLACES_MAX", 12)
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, wait("open", target=2))
    for number in range(20):
        for agent in (a, b):  # both came, and both are remembered: four places
            table.ask(agent, wait(f"round-{number}", target=2))
        table.pass_time(1)
        if number == 10:
            table.restart()
            a, b = table.join("a"), table.join("b")
            table.ask(a, wait("open", target=2))
    kept = [at[2] for at in table.disk if at[1] == "outcome"]
    assert kept == ["round-16", "round-17", "round-18", "round-19"]
    table.ask(b, wait("open", target=2))
    assert table.last(a, Released).barrier == "open"


def test_many_who_come_late_to_many_barriers_are_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shelf, "COORD_PLACES_MAX", 12)
    table = Table()
    peers = [table.join(name) for name in "abc"]
    for number in range(20):
        for peer in peers:  # one is released at once, two come late: four places
            table.ok(peer, wait(f"round-{number}", target=1), Released)
        table.pass_time(1)
    assert {at[2] for at in table.disk if at[1] == "outcome"} == {
        f"round-{number}" for number in (16, 17, 18, 19)
    }


def test_who_came_and_went_at_many_barriers_is_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shelf, "COORD_PLACES_MAX", 12)
    table = Table()
    for number in range(40):
        a = table.join("a")
        table.ask(a, wait(f"round-{number}", target=2))
        table.leave(a)
    found = table.ok(table.connect(), Inspect(run="r"), RunStory)
    assert found.counts["barriers"] == 13
