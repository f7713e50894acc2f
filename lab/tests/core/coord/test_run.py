"""Goal: a run is a namespace of its own that can be looked at and outlives the process.

Method: fill one, look at it, restart.
"""

from __future__ import annotations

import msgspec
import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord.answer import Done, Published, Raised, Released, RunStory, Time, Written
from tidelab.core.coord.command import (
    Beat,
    Delete,
    Inspect,
    Leave,
    Publish,
    Put,
    Raise,
    Wait,
)
from tidelab.core.coord.desk import Desk, Ticket
from tidelab.core.coord.run import Run
from tidelab.limits import COORD_NAMES_SHOWN_MAX


def fill(table: Table, peer: int) -> None:
    table.ok(peer, Raise(signal="s"), Raised)
    table.ok(peer, Publish(topic="t", data=msgspec.Raw(b"1")), Published)
    table.ok(peer, Put(key="k", value=msgspec.Raw(b"1"), once="1"), Written)
    table.ok(peer, Wait(barrier="b", target=1), Released)


def test_a_run_can_be_looked_at() -> None:
    table = Table()
    a = table.join("a", size=2)
    table.join("w", role="observer")
    fill(table, a)
    story = table.ok(table.connect(), Inspect(run="r"), RunStory)
    assert (story.size, story.signals, story.topics, story.keys) == (
        2, {"s": 1}, {"t": 1}, {"k": 1},
    )  # fmt: skip
    assert [(line.agent, line.role) for line in story.agents] == [("a", "agent"), ("w", "observer")]
    assert story.counts == {
        "present": 1, "away": 0, "dead": 0, "left": 0, "observers": 1,
        "barriers": 1, "signals": 1, "topics": 1, "keys": 1,
    }  # fmt: skip


def test_agents_for_whom_others_may_wait_come_first() -> None:
    """A list of thousands is cut, and the one that is missing must not be cut off."""
    table = Table()
    table.ok(table.join("left"), Leave(), Done)
    table.join("looks", role="observer")
    for number in range(COORD_NAMES_SHOWN_MAX):
        table.ask(table.join(f"w{number}"), Wait(barrier="b", target=100))
    table.ok(table.join("late"), Beat(doing="page 3"), Time)
    story = table.ok(table.connect(), Inspect(run="r"), RunStory)
    shown = [line.agent for line in story.agents]
    assert shown == ["late", *(f"w{number}" for number in range(COORD_NAMES_SHOWN_MAX - 1))]


def test_what_an_agent_says_is_told_beside_what_it_asked_for_since() -> None:
    table = Table()
    a = table.join("a")

    def told() -> tuple[str, str]:
        (line,) = table.ok(table.connect(), Inspect(run="r"), RunStory).agents
        return line.did, line.says

    table.ok(a, Beat(doing="page 3"), Time)
    assert told() == ("page 3", "")
    table.pass_time(1)
    table.ok(a, Raise(signal="s"), Raised)
    assert told() == ("raise s", "page 3")


def test_everything_but_the_agents_outlives_the_process() -> None:
    table = Table()
    fill(table, table.join("a", size=2))
    before = table.ok(table.connect(), Inspect(run="r"), RunStory)
    table.pass_time(5)
    table.restart()
    after = table.ok(table.connect(), Inspect(run="r"), RunStory)
    assert after.agents == ()
    same = ("run", "began_ms", "size", "barriers", "signals", "topics", "keys")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]


def test_the_last_use_is_written_once_a_minute() -> None:
    table = Table()
    a = table.join("a")
    written = table.disk["r", "run", "", 0]
    table.ok(a, Raise(signal="s"), Raised)
    assert table.disk["r", "run", "", 0] == written
    table.fault(a, Delete(key="k"))
    assert table.disk["r", "run", "", 0] == written
    table.pass_time(60)
    table.ok(a, Raise(signal="s"), Raised)
    assert table.disk["r", "run", "", 0] != written


def test_a_beat_tells_the_time_and_what_is_known_of_the_clock() -> None:
    table = Table()
    a = table.join("a")
    assert table.ok(a, Beat(sent_ms=5), Time) == Time(1_000_000)
    table.pass_time(0.01)
    beat = Beat(doing="x", told_ms=1_000_000, heard_ms=5, sent_ms=5)
    assert table.ok(a, beat, Time) == Time(1_000_010, offset_ms=-1_000_000.0, error_ms=5.0)


def test_what_is_personal_needs_an_agent() -> None:
    table = Table()
    table.join("a")
    for command in (Beat(), Wait(barrier="b", target=1)):
        answer = table.visit(command)
        assert answer is not None
        assert answer.error is not None
        assert answer.error.code == "not_joined"


def test_a_command_that_is_not_for_a_run_is_a_bug() -> None:
    run = Run("r", Desk(), 0.0, lambda _: None)
    with pytest.raises(AssertionError, match="inspect r is not for a run"):
        run.receive(None, Inspect(run="r"), Ticket(1, None), 0.0)
