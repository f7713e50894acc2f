"""Goal: who came, who is missing and who died is told, in values and in words.

Method: barriers that fail, and descriptions of those where somebody waits.
"""

from __future__ import annotations

import pytest

from lab.tests.core.coord.table import Table, roll_of, wait
from tidelab.core.coord import barriers, roll
from tidelab.core.coord.answer import Released, RunStory
from tidelab.core.coord.command import Beat, Cancel, Inspect, Raise


def test_a_timeout_tells_who_came_who_is_missing_who_died_and_what_each_did() -> None:
    table = Table()
    a, b, c = table.join("a"), table.join("b"), table.join("c", lease_s=0)
    table.ask(b, Beat(doing="loading"))
    table.ask(a, wait(target=4, timeout_s=5))
    table.pass_time(1)
    table.ask(c, Raise(signal="s"))
    table.leave(c)
    table.pass_time(4)
    fault = table.last_fault(a)
    called = roll_of(fault)
    assert fault.code == "timeout"
    assert (called.arrived, called.missing, called.dead) == (("a",), ("b",), ("c",))
    assert (called.needed, called.arrived_count, called.missing_count) == (4, 1, 3)
    assert called.doing["c"] == "dead for 4.0 s; asked to raise s 4.0 s ago"
    assert fault.message == (
        "barrier b, generation 1: timed out after 5 s; 1 of 4 arrived (a); "
        "missing: b (loading (5.0 s ago); asked to join r 5.0 s ago); "
        "gone: c (dead for 4.0 s; asked to raise s 4.0 s ago)"
    )
    assert table.fault(b, wait(target=4)).message == fault.message, "late, it is told the same"
    assert table.ask(b, wait(target=4)) is None, "and then may try again"


def test_names_are_cut_and_numbers_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll, "COORD_NAMES_SHOWN_MAX", 2)
    table = Table()
    peers = [table.join(f"a{n}") for n in range(9)]
    for peer in peers[:5]:
        table.ask(peer, wait(target=10, timeout_s=1))
    table.pass_time(1)
    called = roll_of(table.last_fault(peers[0]))
    assert (len(called.arrived), called.arrived_count) == (2, 5)
    assert (len(called.missing), called.missing_count, len(called.doing)) == (2, 5, 4)


def test_two_who_wait_for_each_other_are_told_so() -> None:
    table = Table()
    a, b, c = (table.join(name) for name in "abc")
    table.ask(c, wait("other", roster=("c", "d")))
    table.ask(a, wait("x", roster=("a", "b")))
    table.ask(b, wait("y", roster=("a", "b")))
    for peer, name in ((a, "x"), (b, "y")):
        fault = table.last_fault(peer)
        assert fault.code == "deadlock"
        story = f"barrier {name}, generation 1: at x a wait for b; at y b wait for a; 1 of 2"
        assert fault.message.startswith(story)
    assert len(table.told[c]) == 1, "d may still come"


def test_a_description_shows_where_somebody_waits_first() -> None:
    table = Table()
    a = table.join("a")
    table.ok(a, wait("done", target=1), Released)
    table.ask(a, wait("failed", target=2))
    table.ask(a, Cancel(barrier="failed"))
    table.ask(a, wait("open", target=2))
    lines = table.ok(a, Inspect(run="r"), RunStory).barriers
    assert [(line.barrier, line.decided, line.last) for line in lines] == [
        ("open", 0, None), ("done", 1, "released"), ("failed", 1, "cancelled"),
    ]  # fmt: skip
    assert lines[0].roll is not None
    assert lines[0].roll.arrived == ("a",)


def test_of_many_barriers_those_are_shown_that_ended_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barriers, "COORD_NAMES_SHOWN_MAX", 3)
    table = Table()
    a = table.join("a")
    for name in ("old", "y", "x", "old", "z", "y"):
        table.ask(a, wait(name, target=1))
    table.ask(a, wait("open", target=2))
    lines = table.ok(a, Inspect(run="r"), RunStory).barriers
    assert [line.barrier for line in lines] == ["open", "y", "z"]
