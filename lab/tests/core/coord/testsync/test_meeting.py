"""Goal: agents meet as often as they are there, and never because of one who is not.

Method: a meeting in hand, times as numbers; and arrivals and departures in any order.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelab.core.coord.testsync.meeting import Arrival, Meeting


def test_all_are_told_one_start_half_a_second_ahead() -> None:
    meeting = Meeting(1)
    first, second = meeting.join(), meeting.join()
    assert meeting.arrive(first, "x", 2, 100) is None
    assert meeting.arrive(second, "x", 2, 200) == Arrival((first, second), 700, is_late=False)


def test_who_comes_late_is_told_the_same_start_alone() -> None:
    meeting = Meeting(1)
    meeting.arrive(meeting.join(), "x", 1, 100)
    late = meeting.join()
    assert meeting.arrive(late, "x", 9, 5000) == Arrival((late,), 600, is_late=True)


def test_an_agent_that_asks_twice_counts_once() -> None:
    meeting = Meeting(1)
    first, second = meeting.join(), meeting.join()
    assert meeting.arrive(first, "x", 2, 0) is None
    assert meeting.arrive(first, "x", 2, 0) is None
    assert meeting.arrive(second, "x", 2, 0) == Arrival((first, second), 500, is_late=False)


def test_an_agent_that_is_gone_is_not_waited_with() -> None:
    meeting = Meeting(1)
    gone, first, second = meeting.join(), meeting.join(), meeting.join()
    meeting.arrive(gone, "x", 2, 0)
    meeting.leave(gone)
    assert meeting.arrive(first, "x", 2, 0) is None
    assert meeting.arrive(second, "x", 2, 0) == Arrival((first, second), 500, is_late=False)


def test_the_first_of_those_who_are_there_says_how_many_must_come() -> None:
    meeting = Meeting(1)
    first, second = meeting.join(), meeting.join()
    meeting.arrive(first, "x", 2, 0)
    assert meeting.arrive(second, "x", 5, 0) is not None
    gone, third = meeting.join(), meeting.join()
    meeting.arrive(gone, "y", 9, 0)
    meeting.leave(gone)
    assert meeting.arrive(third, "y", 1, 0) is not None


def test_one_of_many_leaves_and_the_others_wait_on() -> None:
    meeting = Meeting(1)
    gone, first, second = meeting.join(), meeting.join(), meeting.join()
    meeting.arrive(gone, "x", 3, 0)
    meeting.arrive(first, "x", 1, 0)
    meeting.leave(gone)
    assert meeting.checkpoints["x"].target_count == 3
    assert meeting.arrive(second, "x", 1, 0) is None


def test_an_agent_that_left_arrives_nowhere() -> None:
    meeting = Meeting(1)
    gone = meeting.join()
    meeting.leave(gone)
    assert meeting.arrive(gone, "x", 1, 0) is None
    assert meeting.checkpoints == {}


@pytest.mark.parametrize("target", [1, 0, -3])
def test_nobody_needs_to_be_waited_for(target: int) -> None:
    meeting = Meeting(1)
    agent = meeting.join()
    assert meeting.arrive(agent, "", target, 0) == Arrival((agent,), 500, is_late=False)


STEPS = st.lists(
    st.tuples(st.sampled_from(["arrive", "leave"]), st.integers(0, 4), st.sampled_from("xyz"))
)


@given(STEPS, st.integers(-1, 5))
def test_who_is_told_is_there_and_is_told_once(
    steps: list[tuple[str, int, str]], target: int
) -> None:
    meeting = Meeting(1)
    agents = [meeting.join() for _ in range(5)]
    starts: dict[str, int] = {}
    for now, (step, number, name) in enumerate(steps):
        agent = agents[number]
        if step == "leave":
            meeting.leave(agent)
            agents[number] = meeting.join()
        elif arrival := meeting.arrive(agent, name, target, now):
            assert arrival.start_at_ms == starts.setdefault(name, now + 500)
            assert set(arrival.told) <= meeting.agents
            assert agent in arrival.told
            assert arrival.is_late or len(set(arrival.told)) == max(1, target)
        waiting = {(a, n) for n, c in meeting.checkpoints.items() for a in c.waiting}
        assert waiting == {(a, n) for a in meeting.agents for n in a.waits_at}
