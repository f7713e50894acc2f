"""Goal: however an agent asks again at a barrier, it is told the same, and meets the others next.

Method: look back, ask twice at once, lose answers; then see which generation the next wait is for.
"""

from __future__ import annotations

from lab.tests.core.coord.table import Table, wait
from tidelab.core.coord.answer import Answer, Released
from tidelab.core.coord.command import Await, Drop, Leave
from tidelab.limits import COORD_ANSWERS_KEPT


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
