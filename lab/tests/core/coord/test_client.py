"""Goal: whatever an agent asks for is answered, and happens once, over any number of connections.

Method: the client's core and the coordinator's core, with a connection between them that is cut
between any two steps. Time is a number.
"""

from __future__ import annotations

import random

import msgspec
import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord.answer import (
    Body,
    Done,
    Events,
    Raised,
    Reached,
    Released,
    RunStory,
    Time,
    Written,
)
from tidelab.core.coord.client import Answered, Came, Client, KeyRead, News
from tidelab.core.coord.codec import decode_command, encode
from tidelab.core.coord.command import (
    Await,
    Beat,
    Command,
    Drop,
    Get,
    Inspect,
    Join,
    Put,
    Raise,
    Read,
    Unwatch,
    Wait,
    Watch,
)
from tidelab.errors import AgentEnded, BarrierBroken, Denied, RunForgotten
from tidelab.limits import COORD_ANSWERS_KEPT, COORD_BEAT_S, COORD_FRAME_BYTES_MAX

CLOCK_AHEAD_S = 5.0  # of the agents before the coordinator


class Wire:
    """An agent, and its connection to a table."""

    def __init__(self, table: Table, name: str = "a", **more: object) -> None:
        self.table = table
        self.client = Client(Join(run="r", agent=name, **more), name)  # type: ignore[arg-type]
        self.peer = 0
        self._seen = 0
        self.news: list[News] = []

    @property
    def now(self) -> float:
        return self.table.now + CLOCK_AHEAD_S

    def connect(self) -> Wire:
        self.peer, self._seen = self.table.connect(), 0
        self.client.open(self.now)
        self.pump()
        return self

    def cut(self) -> None:
        self.client.close()
        self.table.leave(self.peer)

    def send(self) -> None:
        """Have the coordinator take all that goes out."""
        for frame in self.client.data_to_send():
            command = decode_command(frame)
            assert isinstance(command, Command), command
            self.table.ask(self.peer, command)

    def hear(self) -> None:
        """Take one message of the coordinator."""
        message = self.table.told[self.peer][self._seen]
        self._seen += 1
        self.news += self.client.receive(encode(message), self.now)

    def pump(self) -> None:
        """Let everything arrive that is on its way."""
        self.send()
        while self._seen < len(self.table.told[self.peer]):
            self.hear()
            self.send()

    def ask(self, command: Command, kind: type[Body]) -> int:
        return self.client.ask(command, kind, self.now)

    def result(self, id: int) -> Body | Denied | None:
        """Return the answer to a request, if it came."""
        found = [n.result for n in self.news if isinstance(n, Answered) and n.id == id]
        assert len(found) < 2, "a request is answered once"
        return found[0] if found else None


@pytest.fixture
def wire() -> Wire:
    return Wire(Table()).connect()


def signals(table: Table) -> int:
    """Raise the signal s once more; return how often it was before."""
    return table.ok(table.join("judge"), Raise(signal="s"), Raised).sequence - 1


def test_a_request_is_answered(wire: Wire) -> None:
    assert wire.news == [Came()]
    id = wire.ask(Raise(signal="s"), Raised)
    wire.pump()
    assert wire.result(id) == Raised("s", 1)


def test_what_is_asked_for_before_it_is_present_waits_for_that() -> None:
    wire = Wire(Table())
    id = wire.ask(Raise(signal="s"), Raised)
    assert wire.client.data_to_send() == []
    wire.connect()
    assert wire.result(id) == Raised("s", 1)


@pytest.mark.parametrize("was_heard", [False, True])
def test_a_lost_answer_is_asked_for_again_and_nothing_happens_twice(
    wire: Wire, was_heard: bool
) -> None:
    id = wire.ask(Raise(signal="s"), Raised)
    if was_heard:
        wire.send()
    wire.cut()
    wire.connect()
    assert wire.result(id) == Raised("s", 1)
    assert signals(wire.table) == 1


def test_a_lost_start_is_that_of_the_same_generation(wire: Wire) -> None:
    other = Wire(wire.table, "b").connect()
    ids = [each.ask(Wait(barrier="m", target=2), Released) for each in (wire, other)]
    wire.send()
    other.pump()
    wire.cut()  # released, but it was not heard
    wire.connect()
    first, second = wire.result(ids[0]), other.result(ids[1])
    assert isinstance(first, Released)
    assert isinstance(second, Released)
    assert (first.generation, first.rank) == (1, 0)
    assert first.start_at_ms == second.start_at_ms


def test_a_repeat_waits_only_for_what_is_left_of_its_time(wire: Wire) -> None:
    id = wire.ask(Wait(barrier="m", target=2, timeout_s=10), Released)
    late = wire.ask(Await(signal="s", timeout_s=3), Reached)
    wire.pump()
    wire.cut()
    wire.table.pass_time(4)
    wire.connect()
    wire.table.pass_time(0.1)
    wire.pump()
    assert isinstance(wire.result(late), Denied), "its time was over while nobody was connected"
    wire.table.pass_time(5.5)
    wire.pump()
    assert wire.result(id) is None
    wire.table.pass_time(0.5)
    wire.pump()
    assert isinstance(wire.result(id), BarrierBroken)


def test_so_few_are_in_doubt_that_no_answer_is_forgotten(wire: Wire) -> None:
    count = COORD_ANSWERS_KEPT * 3
    ids = [wire.ask(Raise(signal="s"), Raised) for _ in range(count)]
    given_up = ids.pop(COORD_ANSWERS_KEPT + 5)
    wire.client.forget(given_up, wire.now)
    chance = random.Random(7)
    for _ in range(30):
        wire.send()
        for _ in range(chance.randrange(8)):
            if wire._seen < len(wire.table.told[wire.peer]):
                wire.hear()
        wire.cut()
        wire.connect() if chance.random() < 0.2 else _connect_silently(wire)
    wire.cut()
    wire.connect()
    sequences = [result.sequence for id in ids if isinstance(result := wire.result(id), Raised)]
    assert sorted(sequences) == list(range(1, count)), "each happened once"
    assert signals(wire.table) == count - 1, "what was given up in time never happened"


def _connect_silently(wire: Wire) -> None:
    """Connect, be let in, and hear nothing else."""
    wire.peer, wire._seen = wire.table.connect(), 0
    wire.client.open(wire.now)
    wire.send()
    wire.hear()


def test_what_nobody_waits_for_is_given_up(wire: Wire) -> None:
    other = Wire(wire.table, "b").connect()
    waits = [
        wire.ask(Wait(barrier="m", target=2), Released),
        wire.ask(Await(signal="s"), Reached),
        wire.ask(Read(topic="t", wait_s=60), Events),
    ]
    wire.pump()
    for id in waits:
        wire.client.forget(id, wire.now)
    wire.pump()
    alone = other.ask(Wait(barrier="m", target=2), Released)
    other.pump()
    assert other.result(alone) is None, "a place that was given up does not count"
    again = wire.ask(Wait(barrier="m", target=2), Released)
    wire.pump()
    other.pump()
    for each, id in ((wire, again), (other, alone)):
        result = each.result(id)
        assert isinstance(result, Released)
        assert result.generation == 1
    assert wire.result(waits[0]) is None


def test_what_nobody_waits_for_is_not_asked_again(wire: Wire) -> None:
    id = wire.ask(Raise(signal="s"), Raised)
    wire.cut()
    wire.client.forget(id, wire.now)
    wire.connect()
    assert signals(wire.table) == 0
    wire.client.forget(id, wire.now)  # once more does no harm


def test_a_key_is_watched_over_connections(wire: Wire) -> None:
    other = Wire(wire.table, "b").connect()
    wire.ask(Watch(key="k"), KeyRead)
    wire.pump()

    def put(value: bytes) -> int:
        id = other.ask(Put(key="k", value=msgspec.Raw(value)), Written)
        other.pump()
        written = other.result(id)
        assert isinstance(written, Written)
        return written.version

    version = put(b"1")
    wire.pump()
    assert wire.news[-1] == KeyRead("k", version, msgspec.Raw(b"1"))
    wire.cut()
    version = put(b"2")
    wire.connect()
    assert wire.news[-1] == KeyRead("k", version, msgspec.Raw(b"2"))
    wire.ask(Unwatch(key="k"), Done)
    wire.pump()
    wire.cut()
    wire.connect()
    put(b"3")
    wire.pump()
    told = [bytes(news.value) for news in wire.news if isinstance(news, KeyRead)]
    assert told == [b"1", b"2"]


def test_a_watch_that_is_refused_is_not_tried_again(wire: Wire) -> None:
    id = wire.ask(Watch(key="no key"), KeyRead)
    for frame in wire.client.data_to_send():
        refused = decode_command(frame)
        assert not isinstance(refused, Command)
        wire.news += wire.client.receive(encode(refused), wire.now)
    assert isinstance(wire.result(id), Denied)
    wire.cut()
    wire.connect()
    assert wire.news[-1] == Came()


def test_clocks_are_compared_at_once_and_then_now_and_then(wire: Wire) -> None:
    skew = wire.client.skew
    assert skew is not None
    assert skew.offset_ms == pytest.approx(-CLOCK_AHEAD_S * 1000)
    deadline = wire.client.next_deadline()
    assert deadline == wire.now + COORD_BEAT_S
    wire.client.wake(deadline - 1)
    assert wire.client.data_to_send() == []
    wire.table.pass_time(COORD_BEAT_S)
    wire.client.wake(deadline)
    assert wire.client.next_deadline() is None
    wire.pump()
    assert wire.client.next_deadline() == wire.now + COORD_BEAT_S
    id = wire.ask(Wait(barrier="m", target=1), Released)
    wire.pump()
    released = wire.result(id)
    assert isinstance(released, Released)
    assert released.start_at_local_ms == released.start_at_ms + CLOCK_AHEAD_S * 1000
    wire.cut()
    assert wire.client.next_deadline() is None


def test_without_an_answer_no_clock_is_known() -> None:
    assert Client(Join(run="r", agent="a"), "x").skew is None


def test_what_it_is_doing_is_said_again(wire: Wire) -> None:
    wire.ask(Beat(doing="loading"), Time)
    wire.pump()
    wire.cut()
    wire.table.restart()
    wire.connect()
    other = Wire(wire.table, "b").connect()
    id = other.ask(Wait(barrier="m", roster=("a", "b"), timeout_s=1), Released)
    other.pump()
    wire.table.pass_time(1)
    other.pump()
    error = other.result(id)
    assert isinstance(error, BarrierBroken)
    assert error.doing["a"].startswith("loading (")


def test_what_could_not_be_answered_is_not_sent(wire: Wire) -> None:
    with pytest.raises(Denied) as large:
        wire.ask(Put(key="k", value=msgspec.Raw(b'"' + b"x" * COORD_FRAME_BYTES_MAX + b'"')), Done)
    assert large.value.code == "too_large"
    with pytest.raises(Denied, match="nested deeper") as deep:
        wire.ask(Put(key="k", value=msgspec.Raw(b"[" * 100 + b"]" * 100)), Done)
    assert deep.value.code == "bad_request"
    assert wire.client.data_to_send() == []


def test_who_is_sent_away_does_not_come_back(wire: Wire) -> None:
    Wire(wire.table).connect()
    with pytest.raises(
        AgentEnded, match="another connection is a of run r now: give every process"
    ):
        wire.pump()


def test_a_run_that_is_deleted_ends_its_agents(wire: Wire) -> None:
    wire.table.ask(wire.table.connect(), Drop(run="r"))
    with pytest.raises(AgentEnded, match="run r was deleted"):
        wire.pump()


def test_a_run_that_was_forgotten_meanwhile_is_not_mistaken_for_the_same(wire: Wire) -> None:
    waiting = wire.ask(Wait(barrier="b", target=2), Released)
    wire.pump()
    wire.cut()
    wire.table.disk.clear()
    wire.table.pass_time(1)
    wire.table.restart()
    wire.table.join("b")
    with pytest.raises(RunForgotten, match="has forgotten the run r that a was in: "):
        wire.connect()
    assert wire.result(waiting) is None
    assert wire.table.ok(wire.table.connect(), Inspect(run="r"), RunStory).counts["present"] == 1


def test_a_run_that_was_kept_is_the_same(wire: Wire) -> None:
    wire.cut()
    wire.table.pass_time(1)
    wire.table.restart()
    wire.connect()
    assert wire.news == [Came(), Came()]


def test_who_may_not_join_is_told_why(wire: Wire) -> None:
    Wire(wire.table, "b", size=2).connect()
    with pytest.raises(AgentEnded, match="c may not join run r: the run has 2 agents"):
        Wire(wire.table, "c").connect()


def test_a_beat_that_is_refused_does_no_harm(wire: Wire) -> None:
    beat = wire.client.next_deadline()
    assert beat is not None
    wire.client.wake(beat)
    (frame,) = wire.client.data_to_send()
    id = msgspec.json.decode(frame)["id"]
    refused = {"id": id, "error": {"code": "full", "message": "no"}}
    assert wire.client.receive(msgspec.json.encode(refused), wire.now) == []


def test_news_that_nobody_asked_for_are_passed_over(wire: Wire) -> None:
    for text in (b'{"event":"appended","topic":"t"}', b'{"event":"later"}', b'{"ok":{}}', b"{}"):
        assert wire.client.receive(text, wire.now) == []


@pytest.mark.parametrize("text", [b"hello", b"[]", b'{"id":"x"}', b'{"event":"changed"}'])
def test_what_is_no_coordinator_is_recognised(wire: Wire, text: bytes) -> None:
    with pytest.raises(AgentEnded, match="no coordinator of version 2"):
        wire.client.receive(text, wire.now)


def test_an_answer_of_another_kind_is_no_answer(wire: Wire) -> None:
    id = wire.ask(Get(key="k"), KeyRead)
    with pytest.raises(AgentEnded, match="no coordinator of version 2"):
        wire.client.receive(msgspec.json.encode({"id": id, "ok": {"key": 7}}), wire.now)


def test_what_is_given_up_before_it_was_sent_never_happens(wire: Wire) -> None:
    ids = [wire.ask(Raise(signal="s"), Raised) for _ in range(COORD_ANSWERS_KEPT + 2)]
    wire.client.forget(ids[-2], wire.now)
    wire.pump()
    assert wire.result(ids[-1]) == Raised("s", COORD_ANSWERS_KEPT + 1)
