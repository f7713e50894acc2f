"""Goal: however an agent asks again at a barrier, it is told the same, and meets the others next.

Method: look back, ask twice at once, lose answers; then see which generation the next wait is for.
"""

from __future__ import annotations

import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord import shelf
from tidelab.core.coord.answer import Answer, Released
from tidelab.core.coord.command import Await, Cancel, Drop, Leave, Wait
from tidelab.limits import COORD_ANSWERS_KEPT


def wait(barrier: str = "b", **more: object) -> Wait:
    return Wait(barrier=barrier, **more)  # type: ignore[arg-type]


def test_looking_back_moves_nothing() -> None:
    table = Table()
    a = table.join("a")
    for _ in range(5):
        table.ask(a, wait(target=1))
    assert table.ok(a, wait(target=1, generation=2), Released).generation == 2
    table.ask(a, wait(target=1))
    assert table.last(a, Released).generation == 6


def test_who_looks_back_while_it_waits_may_still_ask_again() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    for once in ("w1", "w2"):
        table.ask(a, wait(target=2, once=once))
        if once == "w2":
            assert table.ok(a, wait(target=2, generation=1), Released).rank == 0
        table.ask(b, wait(target=2))
    table.restart()
    again = table.ok(table.join("a"), wait(target=2, once="w2"), Released)
    assert (again.generation, again.rank) == (2, 0)


def test_two_waits_at_once_are_answered_alike_also_when_both_answers_were_lost() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    for once in ("w1", "w2", None):
        table.ask(a, wait(target=2, once=once))
    table.ask(b, wait(target=2))
    for _ in range(2):
        a = table.join("a")
        for once in ("w2", "w1"):
            assert table.ok(a, wait(target=2, once=once), Released).generation == 1
        table.restart()
    assert table.ask(table.join("a"), wait(target=2, once="w3")) is None, "the next one"


def test_a_late_comer_that_asks_twice_is_told_the_same_twice() -> None:
    table = Table()
    table.ask(table.join("a"), wait(target=1))
    late = table.join("late")
    for once in ("w1", "w1"):
        assert table.ok(late, wait(target=1, once=once), Released).generation == 1
    assert len([at for at in table.disk if at[1] == "cursor"]) == 1
    table.ask(late, wait(target=2, once="w2"))
    table.ask(table.join("b"), wait(target=2, generation=2))
    assert table.last(late, Released).generation == 2


def test_the_names_of_one_wait_are_bounded() -> None:
    table = Table()
    a = table.join("a")
    for number in range(COORD_ANSWERS_KEPT + 1):
        table.ask(a, wait(target=2, once=f"w{number}"))
    table.ask(table.join("b"), wait(target=2))
    a = table.join("a")
    assert table.ok(a, wait(target=2, once="w1"), Released).generation == 1
    assert table.ask(a, wait(target=2, once="w0")) is None, "it was forgotten"


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


def test_the_barrier_that_ended_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "COORD_NAMES_MAX", 2)
    table = Table()
    a, b = table.join("a"), table.join("b")
    for name in ("busy", "old"):
        table.ask(a, wait(name, target=1))
        table.pass_time(10)
    table.ask(a, wait("busy", target=2))
    table.ask(b, Cancel(barrier="busy"))
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


def test_whoever_is_sent_away_is_answered_in_the_order_in_which_it_asked() -> None:
    for end in (Leave(), Drop(run="r")):
        table, ids = Table(), list(range(20))
        a = table.join("a")
        for id in ids:
            table.ask(a, wait(f"b{id}", id=id, target=2) if id % 2 else Await(id=id, signal="s"))
        table.told[a].clear()
        table.ask(a, end)
        answers = [m.id for m in table.told[a] if isinstance(m, Answer) and m.error is not None]
        assert answers == (ids if isinstance(end, Drop) else ids[1::2])
