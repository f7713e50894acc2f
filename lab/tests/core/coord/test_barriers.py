"""Goal: all who wait are released at one moment, or are told who came, who is missing, who died.

Method: agents arrive, go, die and come back; time is a number.
"""

from __future__ import annotations

import pytest

from lab.tests.core.coord.table import Table, roll_of, wait
from tidelab.core.coord import shelf
from tidelab.core.coord.answer import Answer, Done, Fault, Released, Roll, RunStory, Waiting
from tidelab.core.coord.command import Abandon, Beat, Cancel, Inspect, Join, Leave

# --- release ---


def test_all_start_at_one_moment_in_the_future_with_a_rank_each() -> None:
    table = Table()
    peers = [table.join(f"a{n}") for n in range(50)]
    for peer in peers:
        table.ask(peer, wait(target=50))
    told = [table.last(peer, Released) for peer in peers]
    assert {each.start_at_ms for each in told} == {1_000_500}
    assert [each.rank for each in told] == list(range(50))
    assert {(each.generation, each.start_in_ms, each.arrived) for each in told} == {(1, 500, 50)}


def test_each_is_told_on_its_own_clock() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, Beat(sent_ms=7_000_000))
    table.pass_time(0.02)
    table.ask(a, Beat(told_ms=1_000_000, heard_ms=7_000_010, sent_ms=7_000_010))
    table.ask(a, wait(target=2, lead_ms=100))
    table.ask(b, wait(target=2, lead_ms=900))
    assert table.last(a, Released).start_at_local_ms == 1_000_120 + 6_000_000
    assert table.last(b, Released).start_at_local_ms is None
    assert table.last(b, Released).start_at_ms == 1_000_120, "the first sets how soon"


def test_who_comes_late_is_told_the_same_moment_and_then_meets_the_others() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, wait(target=2))
    table.ask(b, wait(target=2))
    table.pass_time(3)
    late = table.join("late")
    told = table.ok(late, wait(target=2), Released)
    assert (told.generation, told.start_at_ms, told.rank) == (1, 1_000_500, None)
    assert told.start_in_ms == -2_500
    table.ask(late, wait(target=2))
    table.ask(a, wait(target=2))
    assert table.last(late, Released).generation == 2


def test_one_agent_alone_is_not_two() -> None:
    table = Table()
    a = table.join("a")
    for id in (1, 2):
        assert table.ask(a, wait(id=id, target=2)) is None
    table.ask(table.join("b"), wait(target=2))
    assert [m.id for m in table.told[a][1:]] == [1, 2]  # type: ignore[union-attr]
    assert table.last(a, Released).rank == 0


def test_whoever_abandons_all_its_waits_gives_up_its_place() -> None:
    table = Table()
    a, b, c = (table.join(name) for name in "abc")
    table.ask(b, wait(target=3))
    for id in (1, 2):
        table.ask(a, wait(id=id, target=3))
    assert table.ok(a, Abandon(id=8, request=1), Done) == Done()
    assert roll_at(table).arrived == ("b", "a"), "it still waits with the other request"
    table.ask(a, Abandon(id=9, request=2))
    assert roll_at(table).arrived == ("b",)
    assert {m.error for m in table.told[a] if isinstance(m, Answer) and m.id in (1, 2)} == {
        Fault("cancelled", "it was abandoned")
    }
    for peer in (a, c):
        table.ask(peer, wait(target=3))
    assert {table.last(peer, Released).generation for peer in (a, b, c)} == {1}
    assert table.ok(a, Abandon(request=2), Done) == Done(), "there is nothing to abandon any more"


def roll_at(table: Table) -> Roll:
    (line,) = table.ok(table.connect(), Inspect(run="r"), RunStory).barriers
    assert line.roll is not None
    return line.roll


def test_the_last_who_abandons_a_barrier_closes_it() -> None:
    table = Table()
    a = table.join("a")
    table.ask(a, wait(id=1, target=2, timeout_s=5))
    table.ask(a, Abandon(request=1))
    table.pass_time(5)
    (line,) = table.ok(a, Inspect(run="r"), RunStory).barriers
    assert (line.decided, line.roll) == (0, None)


def test_an_answer_that_was_lost_is_given_again_also_after_a_restart() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, wait(target=2, once="1"))
    table.ask(b, wait(target=2, once="1"))
    first = table.last(a, Released)
    for _ in range(2):
        a = table.join("a")
        again = table.ok(a, wait(target=2, once="1"), Released)
        assert (again.generation, again.start_at_ms, again.rank) == (1, first.start_at_ms, 0)
        table.restart()
    a = table.join("a")
    assert table.ask(a, wait(target=2, once="2")) is None, "the next one is another generation"


def test_an_agent_that_died_does_not_count() -> None:
    table = Table()
    a, b = table.join("a", lease_s=0), table.join("b")
    table.ask(a, wait(target=2))
    table.leave(a)
    assert table.ask(b, wait(target=2)) is None
    table.ask(table.join("c"), wait(target=2))
    assert table.last(b, Released).rank == 0


def test_the_others_keep_their_places_and_ranks_when_one_dies() -> None:
    table = Table()
    a, b, c = table.join("a", lease_s=0), table.join("b"), table.join("c")
    for peer in (a, b):
        table.ask(peer, wait(target=3))
    table.leave(a)
    assert table.ask(c, wait(target=3)) is None
    table.ask(table.join("d"), wait(target=3))
    assert [table.last(peer, Released).rank for peer in (b, c)] == [0, 1]


def test_a_loop_can_use_one_name_and_old_outcomes_are_forgotten_on_disk_too() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, wait(target=1))
    table.ok(b, wait(target=1), Released)
    for generation in range(2, 40):
        table.ask(a, wait(target=2))
        table.ask(b, wait(target=2))
        assert table.last(a, Released).generation == generation
    assert len([at for at in table.disk if at[1] == "outcome"]) == 16
    assert not [at for at in table.disk if at[1] == "cursor"]
    assert table.fault(a, wait(target=2, generation=9)).code == "gone"
    assert table.ok(a, wait(target=2, generation=30), Released).generation == 30


# --- agreement ---


def test_who_expects_something_else_is_refused() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    assert table.fault(a, wait()).code == "bad_request"
    table.ask(a, wait(target=2))
    fault = table.fault(b, wait(target=50))
    assert fault.code == "conflict"
    assert fault.message == "barrier b: b waits for 50 agents, but others wait for 2 agents"
    table.ask(b, wait(target=2))
    assert table.last(a, Released).arrived == 2


def test_terms_are_free_again_when_nobody_waits_any_more() -> None:
    table = Table()
    a = table.join("a")
    table.ask(a, wait(target=3))
    table.leave(a)
    table.ok(table.join("b"), wait(target=1), Released)


def test_an_observer_does_not_count() -> None:
    table = Table()
    watcher = table.join("w", role="observer")
    fault = table.fault(watcher, wait(target=1))
    assert (fault.code, fault.message) == ("forbidden", "w is an observer: it only looks")


def test_barriers_where_somebody_waits_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "COORD_NAMES_MAX", 1)
    table = Table()
    a = table.join("a")
    table.ask(a, wait("x", target=2))
    assert table.fault(a, wait("y", target=1)).code == "full"


# --- failing ---


def test_cancelling_sends_everybody_away() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    assert table.fault(b, Cancel(barrier="b")).code == "not_found"
    table.ask(a, wait(target=2))
    table.ok(b, Cancel(barrier="b", reason="wrong build"), Done)
    assert table.last_fault(a).code == "cancelled"
    assert "cancelled by b: wrong build; 1 of 2 arrived (a)" in table.last_fault(a).message
    table.ask(a, wait(target=2))
    table.visit(Cancel(barrier="b"))
    assert "cancelled by somebody who is no agent;" in table.last_fault(a).message


def test_a_roster_that_can_never_be_full_is_broken_at_once() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b", lease_s=2)
    table.ask(a, wait(roster=("a", "b", "never")))
    table.leave(b)
    table.pass_time(1)
    assert len(table.told[a]) == 1, "b may still come back"
    table.pass_time(1)
    fault = table.last_fault(a)
    assert fault.code == "broken"
    roll = roll_of(fault)
    assert (roll.arrived, roll.missing, roll.dead) == (("a",), ("never",), ("b",))
    assert roll.doing["never"] == "was never here"


def test_a_quorum_suffices_when_the_time_is_up_or_no_more_can_come() -> None:
    table = Table()
    a, b, c = (table.join(name) for name in "abc")
    for peer in (a, b):
        table.ask(peer, wait(target=3, quorum=2, timeout_s=5))
    assert len(table.told[a]) == 1
    table.pass_time(5)
    assert table.last(a, Released).arrived == 2
    for peer in (a, b):
        table.ask(peer, wait("r", roster=("a", "b", "c"), quorum=2))
    assert len(table.told[a]) == 2
    table.ask(c, Leave())
    assert table.last(b, Released).barrier == "r"


def test_in_a_run_of_known_size_too_few_are_noticed() -> None:
    table = Table()
    a, b = table.join("a", size=3), table.join("b")
    table.ask(a, wait(target=3))
    table.ask(b, Leave())
    assert table.last_fault(a).code == "broken"
    table.ask(a, wait("c", target=2))
    table.ok(table.join("c"), wait("c", target=2), Released)
    assert table.fault(a, wait("d", target=4)).code == "broken", "four never come"


def test_a_size_that_comes_later_is_judged_at_once() -> None:
    table = Table()
    a = table.join("a")
    table.ask(a, wait(target=3))
    table.ask(table.connect(), Join(run="r", agent="b", size=2))
    assert table.last_fault(a).code == "broken"


def test_an_agent_that_does_several_things_at_once_is_no_deadlock() -> None:
    table = Table()
    a, b = table.join("a", is_concurrent=True), table.join("b")
    table.ask(a, wait("x", roster=("a", "b")))
    assert table.ask(b, wait("y", roster=("a", "b"))) is None
    table.ask(a, wait("y", roster=("a", "b")))
    assert table.last(b, Released).barrier == "y"


def test_without_a_size_numbers_are_no_deadlock_but_with_one_they_are() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, wait("x", target=2))
    table.ask(b, wait("y", target=2))
    table.ask(table.join("c"), wait("z", roster=("c", "a")))
    assert len(table.told[a]) == len(table.told[b]) == 1, "d and e may come"
    sized = Table()
    a, b = sized.join("a", size=2), sized.join("b")
    sized.ask(a, wait("x", target=2))
    sized.ask(b, wait("y", target=2))
    assert sized.last_fault(a).code == sized.last_fault(b).code == "deadlock"


# --- HTTP ---


def test_a_poll_ends_and_keeps_its_place() -> None:
    table = Table()
    assert table.visit(wait(target=2, poll_s=1), "a") is None
    first = table._peers
    table.pass_time(1)
    assert table.last(first, Waiting) == Waiting("b", 1, 1, 2)
    table.leave(first)
    b = table.join("b")
    table.ask(b, wait(target=2))
    assert table.last(b, Released).rank == 1, "a holds its place between two polls"
    table.restart()
    answer = table.visit(wait(target=2, poll_s=1), "a")
    assert answer is not None
    assert isinstance(answer.ok, Released), answer
    assert (answer.ok.generation, answer.ok.rank) == (1, 0)
    table.restart()
    assert table.visit(wait(target=2, poll_s=1), "a") is None, "it was told"


def test_a_request_that_waits_is_answered_when_its_agent_loses_its_place() -> None:
    table = Table()
    table.visit(wait(target=2), "a")
    visit = table._peers
    table.join("a")
    assert table.last_fault(visit).code == "cancelled"
    assert table.last_fault(visit).message == "a is away and waits no more"
