"""Goal: an agent's k-th wait is the k-th generation, also for who asks again or comes late.

Method: cursors are moved by hand, and asked.
"""

from __future__ import annotations

from tidelab.core.coord.answer import Fault
from tidelab.core.coord.barrier import Barrier, Terms, terms_of
from tidelab.core.coord.command import Wait
from tidelab.core.coord.record import Cursor, Outcome


def asks(once: str | None = None, generation: int | None = None) -> Wait:
    return Wait(barrier="b", target=1, once=once, generation=generation)


def ended(barrier: Barrier, count: int, *agents: str, untold: tuple[str, ...] = ()) -> None:
    for _ in range(count):
        onces = (None,) * len(agents)
        barrier.end(Outcome(barrier.decided + 1, 0, agents, onces, untold))


def test_terms_are_a_number_or_names() -> None:
    one = terms_of(Wait(barrier="b", roster=("b", "a", "a"), quorum=2), "a")
    assert one == Terms(None, frozenset("ab"), 2)
    assert str(one) == "a, b (quorum 2)"
    assert str(terms_of(asks(), "a")) == "1 agents"
    for wrong in (
        Wait(barrier="b"),
        Wait(barrier="b", target=1, roster=("a",)),
        Wait(barrier="b", roster=("b",)),
        Wait(barrier="b", target=2, quorum=3),
    ):
        assert isinstance(terms_of(wrong, "a"), Fault)


def test_the_first_wait_is_for_the_open_generation_or_learns_of_the_last() -> None:
    barrier = Barrier("b")
    assert barrier.generation_for("a", asks()) == 1
    ended(barrier, 3, "x")
    assert barrier.generation_for("a", asks()) == 3


def test_a_wait_is_for_the_next_generation_once_it_was_told() -> None:
    barrier = Barrier("b")
    ended(barrier, 1, "a", "u", untold=("u",))
    assert barrier.generation_for("a", asks()) == 2
    assert barrier.generation_for("u", asks("other")) == 1, "it was not told yet"
    barrier.move("a", Cursor(1, "x", True))
    assert barrier.generation_for("a", asks("x")) == 1, "it asks again"
    assert barrier.generation_for("a", asks("y")) == 2


def test_who_was_away_for_too_long_learns_of_the_last() -> None:
    barrier = Barrier("b")
    ended(barrier, 1, "a")
    ended(barrier, 16, "x")
    assert barrier.generation_for("a", asks()) == 17, "and its cursor is forgotten"
    assert barrier.cursors.keys() == {"x"}
    barrier.move("late", Cursor(4, None, True))
    ended(barrier, 10, "x")
    assert barrier.generation_for("late", asks()) == 27


def test_a_generation_can_be_asked_for_by_number() -> None:
    barrier = Barrier("b")
    ended(barrier, 20, "x")
    for number, code in ((5, None), (21, None), (4, "gone"), (22, "conflict")):
        found = barrier.generation_for("x", asks(generation=number))
        assert (found.code if isinstance(found, Fault) else None) == code, number


def test_records_go_with_the_generation_that_is_forgotten() -> None:
    barrier = Barrier("b")
    ended(barrier, 1, "x")
    barrier.move("late", Cursor(1, None, True))
    barrier.recorded.add("late")
    ended(barrier, 15, "x")
    assert barrier.end(Outcome(17, 0, (), (), ())) == (1, ["late"])
    assert barrier.recorded == set()
