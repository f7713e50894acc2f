"""Goal: runs come and go without touching one another, and nobody may do more than its role.

Method: connections of all roles, several runs; time is a number.
"""

from __future__ import annotations

import msgspec
import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord import coordinator
from tidelab.core.coord.answer import (
    Answer,
    Done,
    Dropped,
    Events,
    Fault,
    Joined,
    Raised,
    Reached,
    Released,
    Runs,
    RunStory,
    Value,
    Written,
)
from tidelab.core.coord.command import (
    Await,
    Beat,
    Cancel,
    Command,
    Drop,
    Get,
    Inspect,
    Join,
    Leave,
    List,
    Publish,
    Put,
    Raise,
    Subscribe,
    Unsubscribe,
    Unwatch,
    Wait,
    Watch,
)
from tidelab.core.coord.coordinator import Coordinator, Rights
from tidelab.core.coord.record import Record
from tidelab.errors import StorageError


def code(answer: Answer | None) -> str | None:
    assert answer is not None
    return None if answer.error is None else answer.error.code


def test_runs_do_not_see_one_another() -> None:
    table = Table()
    a, b = table.join("a", "r"), table.join("a", "q")
    table.ok(a, Raise(signal="s"), Raised)
    assert table.ok(b, Raise(signal="s"), Raised).sequence == 1
    assert table.ask(a, Wait(barrier="b", target=2)) is None
    assert table.ask(b, Wait(barrier="b", target=2)) is None
    assert [line.run for line in table.ok(a, List(), Runs).runs] == ["r", "q"]


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (List(), Rights.OBSERVER),
        (Get(key="k"), Rights.OBSERVER),
        (Await(signal="s"), Rights.OBSERVER),
        (Join(run="r", agent="o", role="observer"), Rights.OBSERVER),
        (Join(run="r", agent="o"), Rights.AGENT),
        (Raise(signal="s"), Rights.AGENT),
        (Put(key="k", value=msgspec.Raw(b"1")), Rights.AGENT),
        (Publish(topic="t", data=msgspec.Raw(b"1")), Rights.AGENT),
        (Drop(run="r"), Rights.ADMIN),
    ],
)
def test_a_role_may_do_so_much_and_no_more(command: Command, needed: Rights) -> None:
    for rights in Rights:
        table = Table()
        a = table.join("a")
        table.ask(a, Raise(signal="s"))
        table.ask(a, Put(key="k", value=msgspec.Raw(b"1")))
        expected = None if rights >= needed else "forbidden"
        assert code(table.visit(command, rights=rights)) == expected, rights


def test_with_the_token_of_an_observer_nobody_is_an_agent() -> None:
    assert code(Table().visit(Beat(), "a", Rights.OBSERVER)) == "forbidden"


def test_a_run_is_made_by_what_changes_it_and_by_what_waits() -> None:
    table = Table()
    assert code(table.visit(Get(key="k"))) == "not_found"
    assert code(table.visit(Inspect(run="r"))) == "not_found"
    assert table.visit(Await(signal="s")) is None
    waiting = table._peers
    table.visit(Raise(signal="s"))
    assert table.last(waiting, Reached).count == 1


def test_a_socket_joins_before_it_does_anything_else() -> None:
    table = Table()
    fault = table.fault(table.connect(), Raise(signal="s"))
    assert (fault.code, fault.message) == ("not_joined", "join a run before you raise s")


def test_a_visitor_may_join_and_leave() -> None:
    table = Table()
    assert code(table.visit(Join(run="r", agent="a", lease_s=100))) is None
    table.pass_time(99)
    assert table.ok(table.connect(), Inspect(run="r"), RunStory).counts["present"] == 1
    assert code(table.visit(Leave(), "a")) is None
    assert table.ok(table.connect(), Inspect(run="r"), RunStory).counts["left"] == 1


def test_a_run_that_is_dropped_sends_everybody_away_and_leaves_nothing() -> None:
    table = Table()
    a, b, other = table.join("a"), table.join("b"), table.join("x", "q")
    table.ask(a, Put(key="k", value=msgspec.Raw(b"1")))
    table.ask(a, Wait(id=1, barrier="b", target=3))
    table.visit(Await(signal="s"))
    waiting = table._peers
    table.ok(other, Drop(run="r"), Done)
    assert table.pushes(a) == table.pushes(b) == [Dropped("r")]
    assert table.closed == [a, b]
    told = table.told[a][-2]
    assert isinstance(told, Answer)
    assert told.error == Fault("dropped", "run r was deleted")
    assert table.last_fault(waiting).code == "dropped"
    for peer in (a, b, waiting):
        table.leave(peer)
    table.pass_time(100_000)
    assert {at[0] for at in table.disk} <= {"q"}
    assert table.fault(other, Inspect(run="r")).code == "not_found"


def test_the_connections_of_a_dropped_run_do_not_touch_its_successor() -> None:
    table = Table()
    a = table.join("a")
    assert table.visit(Wait(barrier="b", target=2), "v") is None
    visit = table._peers
    table.ask(table.connect(), Drop(run="r"))
    new = table.join("a")
    table.join("v")
    table.leave(a)
    table.leave(visit)
    table.leave(visit)
    table.pass_time(100)
    assert table.ok(new, Inspect(run="r"), RunStory).counts["present"] == 2


def test_who_comes_back_to_a_run_that_is_forgotten_makes_no_new_one() -> None:
    table = Table()
    began_ms = table.ok(table.connect(), Join(run="r", agent="a"), Joined).began_ms
    again = Join(run="r", agent="a", began_ms=began_ms)
    assert table.ok(table.connect(), again, Joined).began_ms == began_ms
    table.ask(table.connect(), Drop(run="r"))
    assert table.fault(table.connect(), again).code == "gone"
    assert table.ok(table.connect(), List(), Runs).runs == ()
    assert not table.disk
    successor = table.ok(table.connect(), Join(run="r", agent="b"), Joined).began_ms
    assert table.fault(table.connect(), again).code == "gone"
    story = table.ok(table.connect(), Inspect(run="r"), RunStory)
    assert (story.began_ms, [line.agent for line in story.agents]) == (successor, ["b"])


def test_a_run_that_nobody_uses_is_forgotten_and_one_in_use_is_not() -> None:
    table = Table()
    table.visit(Raise(signal="s"))
    table.join("a", "used")
    table.pass_time(12 * 3600)
    assert [line.run for line in table.ok(table.connect(), List(), Runs).runs] == ["used"]
    table.pass_time(24 * 3600)
    assert [line.run for line in table.ok(table.connect(), List(), Runs).runs] == ["used"]
    assert {at[0] for at in table.disk} == {"used"}


def test_a_run_lives_as_long_as_somebody_is_in_it() -> None:
    table = Table()
    key = Put(key="k", value=msgspec.Raw(b"1"))
    a = table.join("a")
    table.ok(a, key, Written)
    table.pass_time(12 * 3600 - 10)
    table.leave(a)
    table.pass_time(20)
    a = table.join("a")
    assert table.ok(a, Get(key="k"), Value).version == 1, "its silent agent has just gone"
    table.ok(table.join("o", role="observer"), Subscribe(topic="t"), Events)
    table.ask(a, Leave())
    table.pass_time(13 * 3600)
    assert not table.closed, "somebody looks on"


def test_after_a_restart_those_who_were_in_a_run_find_it_again() -> None:
    table = Table()
    table.ok(table.join("a"), Put(key="k", value=msgspec.Raw(b"1")), Written)
    table.pass_time(12 * 3600 - 1)
    table.restart()
    table.pass_time(2)
    assert table.ok(table.join("a"), Get(key="k"), Value).version == 1
    table.restart()
    table.pass_time(13 * 3600)
    assert not table.disk, "nobody has come back"


def test_a_run_that_was_taken_back_is_forgotten_in_time_too() -> None:
    table = Table()
    table.visit(Raise(signal="s"))
    table.pass_time(6 * 3600)
    table.restart()
    table.pass_time(6 * 3600 - 1)
    assert table.ok(table.connect(), List(), Runs).runs
    table.visit(Raise(signal="s"))
    table.pass_time(6 * 3600)
    assert table.ok(table.connect(), List(), Runs).runs, "its use has prolonged it"
    table.ask(table.connect(), Drop(run="r"))
    table.pass_time(12 * 3600)
    assert not table.disk


def test_runs_requests_and_subscriptions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS", "REQUESTS_OPEN", "SUBSCRIPTIONS"):
        monkeypatch.setattr(coordinator, f"COORD_{name}_MAX", 1)
    table = Table()
    a = table.join("a")
    assert table.fault(table.connect(), Join(run="q", agent="a")).code == "full"
    table.ok(a, Subscribe(topic="t"), Events)
    table.ok(a, Subscribe(topic="t"), Events)
    assert table.fault(a, Watch(key="k")).code == "full"
    table.ok(a, Unsubscribe(topic="t"), Done)
    table.ok(a, Watch(key="k"), Value)
    table.ok(a, Unwatch(key="k"), Done)
    assert table.ask(a, Await(signal="s")) is None
    assert table.fault(a, Await(signal="s")).message == (
        "a connection has at most 1 requests that wait"
    )


def test_runs_are_bounded_for_visitors_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "COORD_RUNS_MAX", 0)
    table = Table()
    assert code(table.visit(Raise(signal="s"))) == "full"
    assert code(table.visit(Beat(), "a")) == "full"


def test_what_is_there_is_counted() -> None:
    table = Table()
    assert table.server.next_deadline() is None
    a = table.join("a")
    table.ok(a, Join(run="r", agent="a"), Joined)
    table.connect()
    now = {"runs": 1, "connections": 2, "agents": 1, "barriers_waiting": 0, "alarms": 1}
    assert table.server.counts() == now
    table.ask(a, Wait(barrier="b", target=1))
    table.ask(a, Wait(barrier="b", target=2))
    assert table.server.counts()["barriers_waiting"] == 1
    table.ask(a, Cancel(barrier="b"))
    assert table.server.ended() == {"released": 1, "cancelled": 1}


def test_what_was_no_command_is_answered_behind_what_was_said_before() -> None:
    server = Coordinator()
    server.connect(1, Rights.ADMIN)
    assert (server.has_effects, server.pending) == (False, 0)
    server.receive(1, List(id=1), 0.0)
    server.say(1, Answer(error=Fault("bad_request", "no JSON")))
    assert (server.has_effects, server.pending) == (True, 2)
    assert [m.id for _, m in server.take().messages if isinstance(m, Answer)] == [1, None]
    assert (server.has_effects, server.pending) == (False, 0)


def test_visits_that_wait_can_be_sent_home_and_their_agents_keep_their_places() -> None:
    table = Table()
    assert table.visit(Wait(barrier="b", target=2), "a") is None
    visit, b = table._peers, table.join("b")
    assert table.ask(b, Await(signal="s")) is None
    table.server.refuse_visits(Fault("unavailable", "the server stops"))
    table.settle()
    assert table.last_fault(visit).code == "unavailable"
    assert len(table.told[b]) == 1
    table.ask(b, Wait(barrier="b", target=2))
    assert table.last(b, Released).rank == 1
    answer = table.visit(Wait(barrier="b", target=2), "a")
    assert answer is not None
    assert isinstance(answer.ok, Released), "it was not told"


@pytest.mark.parametrize(
    "record",
    [
        Record("r", "key", "k", 0, b"nonsense"),
        Record("r", "outcome", "b", 1, b"{}"),
        Record("r", "strange", "s", 1, b"{}"),  # type: ignore[arg-type]
        Record("r", "cursor", "b a", 0, b"\xff"),
    ],
    ids=["no json", "half a record", "no kind", "no text"],
)
def test_what_was_kept_and_cannot_be_read_is_told(record: Record) -> None:
    with pytest.raises(StorageError, match="what was kept cannot be read: "):
        Coordinator().restore([record], 1.0)
