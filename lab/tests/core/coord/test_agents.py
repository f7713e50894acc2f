"""Goal: one name is one agent, however often it goes and comes back.

Method: connections come, are lost and come again; time is a number.
"""

from __future__ import annotations

import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord import agents
from tidelab.core.coord.answer import Joined, Released, Replaced, RunStory, Time
from tidelab.core.coord.command import Beat, Inspect, Join, Leave, Wait


def states(table: Table) -> dict[str, str]:
    story = table.ok(table.connect(), Inspect(run="r"), RunStory)
    return {line.agent: line.state for line in story.agents}


def test_an_agent_whose_socket_is_gone_is_away_then_dead_and_can_come_back() -> None:
    table = Table()
    table.leave(table.join("a", lease_s=5))
    assert states(table) == {"a": "away"}
    table.pass_time(4.9)
    assert states(table) == {"a": "away"}
    table.pass_time(0.1)
    assert states(table) == {"a": "dead"}
    table.join("a")
    assert states(table) == {"a": "present"}


def test_a_reconnect_within_the_lease_stops_the_lease() -> None:
    table = Table()
    table.leave(table.join("a", lease_s=5))
    table.pass_time(4)
    table.join("a", lease_s=5)
    table.pass_time(100)
    assert states(table) == {"a": "present"}


def test_the_newest_connection_of_a_name_is_the_agent() -> None:
    table = Table()
    old = table.join("a")
    table.ask(old, Wait(barrier="b", target=2))
    new = table.join("a")
    assert table.pushes(old) == [Replaced("a")]
    assert table.closed == [old]
    assert table.ask(old, Beat()) is None, "who was replaced is heard no more"
    table.leave(old)
    assert states(table) == {"a": "present"}
    other = table.join("b")
    table.ask(other, Wait(barrier="b", target=2))
    assert table.told[other][1:] == [], "the place of the old connection does not count"
    table.ask(new, Wait(barrier="b", target=2))
    assert table.last(new, Released).arrived == 2


def test_joining_twice_on_one_connection_keeps_the_place() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, Wait(id=1, barrier="b", target=2))
    table.ok(a, Join(run="r", agent="a", doing="again"), Joined)
    table.ask(b, Wait(barrier="b", target=2))
    assert table.last(a, Released).rank == 0
    assert table.fault(a, Join(run="r", agent="c")).code == "conflict"


def test_who_has_left_is_not_waited_for_and_must_join_again() -> None:
    table = Table()
    a = table.join("a")
    table.ask(a, Leave())
    assert states(table) == {"a": "left"}
    assert table.fault(a, Beat()).code == "not_joined"
    table.leave(a)
    assert states(table) == {"a": "left"}
    table.join("a")
    assert states(table) == {"a": "present"}


def test_an_agent_by_http_lives_from_request_to_request() -> None:
    table = Table()
    table.visit(Beat(doing="x"), "a")
    table.pass_time(14)
    table.visit(Beat(), "a")
    table.pass_time(14)
    assert states(table) == {"a": "present"}
    table.pass_time(1)
    assert states(table) == {"a": "dead"}
    table.visit(Beat(), "a")
    assert states(table) == {"a": "present"}


def test_a_request_that_waits_keeps_its_agent_alive() -> None:
    table = Table()
    assert table.visit(Wait(barrier="b", target=2), "a") is None
    visit = table._peers
    table.pass_time(100)
    assert states(table) == {"a": "present"}
    table.leave(visit)
    table.pass_time(15)
    assert states(table)["a"] == "dead"


def test_an_agent_with_a_socket_may_use_http_as_well() -> None:
    table = Table()
    a = table.join("a", lease_s=2)
    assert table.visit(Wait(barrier="b", target=2), "a") is None
    visit = table._peers
    table.leave(a)
    assert states(table) == {"a": "away"}
    table.pass_time(50)
    assert states(table) == {"a": "away"}, "its request is still open"
    table.leave(visit)
    table.pass_time(2)
    assert states(table) == {"a": "dead"}


def test_a_run_of_known_size_refuses_more() -> None:
    table = Table()
    a = table.join("a", size=2)
    table.join("b", size=2)
    peer = table.connect()
    assert "they are known: a, b" in table.fault(peer, Join(run="r", agent="c")).message
    assert table.fault(peer, Join(run="r", agent="a", size=3)).code == "conflict"
    table.ok(peer, Join(run="r", agent="o", role="observer"), Joined)
    table.ask(a, Leave())
    assert table.fault(table.connect(), Join(run="r", agent="c")).code == "conflict"


def test_the_dead_make_room_when_names_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "COORD_AGENTS_MAX", 2)
    table = Table()
    table.join("a")
    b = table.join("b")
    refused = table.visit(Beat(), "c")
    assert refused is not None
    assert refused.error is not None
    assert refused.error.code == "full"
    table.ask(b, Leave())
    table.join("c")
    assert states(table) == {"a": "present", "c": "present"}
    table.leave(b)


def test_who_comes_back_may_have_another_clock() -> None:
    table = Table()
    a = table.join("a")

    def beat(clock_ms: int) -> None:
        now_ms = table.ok(a, Beat(sent_ms=clock_ms), Time).now_ms
        table.ok(a, Beat(told_ms=now_ms, heard_ms=clock_ms, sent_ms=clock_ms), Time)

    beat(5)
    table.ok(a, Join(run="r", agent="a"), Joined)
    table.ask(a, Wait(barrier="b", target=1, lead_ms=0))
    assert table.last(a, Released).start_at_local_ms == 5
    table.leave(a)
    table.pass_time(1)
    a = table.join("a")
    table.ask(a, Wait(barrier="b", target=1, lead_ms=0))
    assert table.last(a, Released).start_at_local_ms is None, "it was started again"
    beat(7_000)
    table.ask(a, Wait(barrier="b", target=1, lead_ms=0))
    assert table.last(a, Released).start_at_local_ms == 7_000


def test_who_becomes_an_observer_stands_nowhere_any_more() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, Wait(id=1, barrier="b", target=2))
    table.ok(a, Join(run="r", agent="a", role="observer"), Joined)
    assert table.ask(b, Wait(barrier="b", target=2)) is None
    table.ask(table.join("c"), Wait(barrier="b", target=2))
    assert table.last(b, Released).rank == 0


def test_the_last_place_of_a_run_breaks_what_waits_for_another_name() -> None:
    table = Table()
    a = table.join("a", size=2)
    table.ask(a, Wait(barrier="b", roster=("a", "c")))
    table.visit(Beat(), "b")
    fault = table.last_fault(a)
    assert fault.code == "broken"
    assert "missing: c (was never here)" in fault.message
