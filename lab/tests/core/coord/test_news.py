"""Goal: whoever looks sees the newest state, soon and not too often, and waits for nobody else.

Method: a coordinator, driven by hand; observers that look, go, or never ask again.
"""

from __future__ import annotations

from lab.tests.core.coord.table import Table
from tidelab.core.coord.answer import Runs, RunStory
from tidelab.core.coord.command import Beat, Drop, Inspect, List, Wait
from tidelab.core.coord.coordinator import Rights
from tidelab.limits import COORD_NEWS_S


def look(table: Table, peer: int, after: int | None = None, wait_s: float = 30) -> RunStory | None:
    answer = table.ask(peer, Inspect(run="r", after=after, wait_s=wait_s))
    if answer is None:
        return None
    assert isinstance(answer.ok, RunStory), answer
    return answer.ok


def test_who_has_seen_nothing_is_told_at_once_and_then_when_something_happens() -> None:
    table = Table()
    a, eye = table.join("a"), table.connect(Rights.OBSERVER)
    first = look(table, eye)
    assert first is not None
    assert look(table, eye, first.version) is None
    table.ask(a, Wait(barrier="b", target=2))
    table.pass_time(0)
    told = table.last(eye, RunStory)
    assert told.version > first.version
    (line,) = told.barriers
    assert line.roll is not None
    assert (line.barrier, line.roll.arrived, line.since_ms) == ("b", ("a",), told.now_ms)
    (agent,) = told.agents
    assert (agent.did, agent.did_ms, agent.since_ms) == ("wait b", told.now_ms, 1_000_000)


def test_many_changes_are_one_telling() -> None:
    table = Table()
    a, eye = table.join("a"), table.connect(Rights.OBSERVER)
    seen = look(table, eye)
    for number in range(100):
        assert seen is not None
        look(table, eye, seen.version)
        for _ in range(10):
            table.ask(a, Beat(doing=f"page {number}"))
        table.pass_time(COORD_NEWS_S)
        seen = table.last(eye, RunStory)
        assert seen.agents[0].did == f"page {number}"
    assert len(table.told[eye]) == 101


def test_a_run_that_never_rests_is_not_told_without_rest() -> None:
    """Between an answer and the next question something has changed, each time."""
    table = Table()
    a, eyes = table.join("a"), [table.connect(Rights.OBSERVER) for _ in range(3)]
    answered = dict.fromkeys(eyes, -1)
    for step in range(5_000):
        for eye in eyes:
            if (count := len(table.told[eye])) > answered[eye]:
                answered[eye] = count
                look(table, eye, table.last(eye, RunStory).version if count else 0)
        table.ask(a, Beat(doing=f"page {step}"))
        table.pass_time(0.001)
    for eye in eyes:
        assert 24 <= len(table.told[eye]) <= 26, "in five seconds, five times in each"


def test_two_tellings_have_a_moment_between_them() -> None:
    table = Table()
    a, eye = table.join("a"), table.connect(Rights.OBSERVER)
    for _ in range(2):
        seen = look(table, eye)
        assert seen is not None
        look(table, eye, seen.version)
        table.ask(a, Beat(doing="x"))
        table.pass_time(0)
    assert len(table.told[eye]) == 3, "the second change is too early to be told"
    table.pass_time(COORD_NEWS_S)
    assert len(table.told[eye]) == 4


def test_nothing_new_is_told_when_the_patience_is_over() -> None:
    table = Table()
    table.join("a")
    eye = table.connect(Rights.OBSERVER)
    seen = look(table, eye)
    assert seen is not None
    assert look(table, eye, seen.version, wait_s=5) is None
    table.pass_time(4.9)
    assert len(table.told[eye]) == 1
    table.pass_time(0.2)
    assert table.last(eye, RunStory).version == seen.version
    again = look(table, eye, seen.version, wait_s=0)
    assert again is not None, "without patience it is a plain question"


def test_who_has_gone_is_not_told() -> None:
    table = Table()
    a, eye = table.join("a"), table.connect(Rights.OBSERVER)
    seen = look(table, eye)
    assert seen is not None
    look(table, eye, seen.version)
    table.ask(a, Beat(doing="x"))
    table.leave(eye)
    table.pass_time(60)
    assert len(table.told[eye]) == 1


def test_a_run_that_is_dropped_is_told_and_leaves_the_list() -> None:
    table = Table()
    table.join("a")
    eye, lister, admin = table.connect(Rights.OBSERVER), table.connect(), table.connect()
    seen, listed = look(table, eye), table.ok(lister, List(), Runs)
    assert seen is not None
    look(table, eye, seen.version)
    assert table.ask(lister, List(after=listed.version, wait_s=9)) is None
    table.ask(admin, Drop(run="r"))
    assert table.last_fault(eye).code == "dropped"
    table.pass_time(COORD_NEWS_S)
    assert table.last(lister, Runs).runs == ()


def test_the_list_tells_who_comes_and_where_somebody_waits() -> None:
    table = Table()
    lister = table.connect(Rights.OBSERVER)
    version = table.ok(lister, List(after=0, wait_s=9), Runs).version
    a = table.join("a")
    assert table.ask(lister, List(after=version, wait_s=9)) is not None
    version = table.last(lister, Runs).version
    table.ask(lister, List(after=version, wait_s=9))
    table.ask(a, Wait(barrier="b", target=2))
    table.pass_time(COORD_NEWS_S)
    (line,) = table.last(lister, Runs).runs
    assert (line.present, line.waiting) == (1, 1)


def test_versions_grow_over_a_restart() -> None:
    table = Table()
    a, eye = table.join("a"), table.connect()
    table.ask(a, Wait(barrier="b", target=1))
    seen = look(table, eye)
    table.now += 60
    table.restart()
    again = look(table, table.connect())
    assert seen is not None
    assert again is not None
    assert again.version > seen.version
