"""Goal: numbers are given out once, nothing that was answered is lost, and nothing happens twice.

Method: the real core, driven by a seed: programs count, publish and write, answers are lost and
requests repeated, and the server is killed before or after it has kept what it did. What is on
disk, one command after the other, is the truth against which answers and events are held.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from random import Random

import msgspec
import pytest

from tidelab.core.coord import topics
from tidelab.core.coord.answer import Answer, Appended, Changed, Events, Push, Value
from tidelab.core.coord.command import (
    Command,
    Delete,
    Join,
    Once,
    Publish,
    Put,
    Raise,
    Subscribe,
    Watch,
)
from tidelab.core.coord.coordinator import Coordinator, Rights
from tidelab.core.coord.record import KeyContent, Record
from tidelab.limits import COORD_ANSWERS_KEPT

SEEDS = 30 * int(os.environ.get("TIDEWIRE_EFFORT", "1"))
STEPS = 1_000
KEPT = 3  # events of a topic, so that whoever is away for long misses some


class _Number(msgspec.Struct):
    """What an answer gives out."""

    sequence: int | None = None
    offset: int | None = None
    version: int | None = None


@dataclass(slots=True)
class Program:
    """One agent: what it waits for, and what it has been told."""

    name: str
    peer: int | None = None
    pending: Once | None = None
    next: int = 1
    """The event that it has to see next."""
    version: int | None = None
    """Of the key, as it was told."""


class World:
    """One server, its disk, and three programs."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.server = Coordinator()
        self.disk: dict[tuple[str, str, str, int], Record] = {}
        self.programs = [Program(name) for name in "abc"]
        self.numbers: dict[tuple[str, int], str] = {}
        """Whom each number was given to."""
        self.done: set[str] = set()
        """Requests that were kept: a repeat of them does nothing."""
        self.is_calm = False
        self.events = self.versions = self.count = self.gaps = self.kills = 0

    def run(self) -> None:
        for _ in range(STEPS):
            self.step()
        self.is_calm = True
        for program in self.programs:
            if program.peer is None:
                self.connect(program)
            assert program.next == self.events + 1, f"{program.name} has missed events"
        kinds = Counter(kind for _, kind, _, _ in self.disk)
        assert kinds["event"] <= KEPT, "what is no longer kept is on disk"
        assert kinds["answer"] <= COORD_ANSWERS_KEPT * len(self.programs)

    def step(self) -> None:
        program = self.random.choice(self.programs)
        if program.peer is None:
            if self.random.random() < 0.1:  # else it stays away, and misses something
                self.connect(program)
        elif self.random.random() < 0.05:
            self.cut(program)
        else:
            if program.pending is None:
                program.pending = self.choose(program)
            self.do(program, program.pending)

    def choose(self, program: Program) -> Once:
        self.count += 1
        once, value = f"{program.name}{self.count}", msgspec.Raw(str(self.count).encode())
        expected = self.random.choice((None, program.version or 0))
        return self.random.choice(
            (
                Raise(signal="s", once=once),
                Publish(topic="t", data=value, once=once),
                Put(key="k", value=value, if_version=expected, once=once),
                Delete(key="k", if_version=expected or None, once=once),
            )
        )

    def connect(self, program: Program) -> None:
        self.count += 1
        program.peer = self.count
        self.server.connect(self.count, Rights.AGENT)
        join, watch = Join(run="r", agent=program.name), Watch(key="k")
        for command in (join, Subscribe(topic="t", offset=program.next), watch):
            if program.peer is not None:
                self.do(program, command)

    def cut(self, program: Program) -> None:
        assert program.peer is not None
        self.server.disconnect(program.peer, 0.0)
        program.peer = None
        self.settle(None)

    def do(self, program: Program, command: Command) -> None:
        """Let the server do something; it may be killed before it is kept, or before it is told."""
        assert program.peer is not None
        self.server.receive(program.peer, command, 0.0)
        fate = 1.0 if self.is_calm else self.random.random()
        if fate < 0.03:
            self.kill()
            return
        answers = self.settle(command)
        if fate < 0.06:
            self.kill()
        elif fate < 0.2:
            self.cut(program)
        else:
            for answer in answers:
                self.hear(program, command, answer)

    def kill(self) -> None:
        self.kills += 1
        for program in self.programs:
            program.peer = None
        records = list(self.disk.values())
        self.random.shuffle(records)
        self.server = Coordinator()
        self.server.restore(records, 0.0)

    def settle(self, command: Command | None) -> list[Answer]:
        """Keep what is to be kept, then say it; what it was is judged here."""
        effects = self.server.take()
        for write in effects.writes:
            assert isinstance(write, Record)
            assert write.kind == "run" or not isinstance(command, Once) or (
                command.once not in self.done
            ), f"{command} has happened twice"  # fmt: skip
            if write.kind == "key":
                self.judge_key(command, write)
            if write.kind == "event" and write.content is not None:
                self.events += 1
                assert write.number == self.events, "offsets have a hole"
            if write.content is None:
                self.disk.pop(write[:4], None)
            else:
                self.disk[write[:4]] = write
        answers = [message for _, message in effects.messages if isinstance(message, Answer)]
        if isinstance(command, Once) and answers and answers[0].error is None:
            self.done.add(command.once or "")
        by_peer = {program.peer: program for program in self.programs}
        for peer, message in effects.messages:
            if isinstance(message, Push):
                self.hear_push(by_peer[peer], message)
        if isinstance(command, Once):
            for program in self.programs:
                assert program.peer is None or program.version == self.version_now
        return answers

    @property
    def version_now(self) -> int | None:
        record = self.disk.get(("r", "key", "k", 0))
        return None if record is None else version_of(record)

    def judge_key(self, command: Command | None, write: Record) -> None:
        assert isinstance(command, Put | Delete)
        version = self.version_now or 0
        assert command.if_version in (None, version), f"{command} went over version {version}"
        if write.content is not None:
            assert version_of(write) > self.versions, "a version came again"
            self.versions = version_of(write)

    def hear_push(self, program: Program, push: Push) -> None:
        if isinstance(push, Changed):
            program.version = push.version
        if isinstance(push, Appended):
            assert push.offset == program.next, f"{program.name} was told {push.offset}"
            program.next += 1

    def hear(self, program: Program, command: Command, answer: Answer) -> None:
        if isinstance(answer.ok, Value):
            program.version = answer.ok.version
            assert program.version == self.version_now
        if isinstance(answer.ok, Events):
            self.hear_events(program, answer.ok)
        if isinstance(command, Once):
            self.hear_number(command, answer)
            program.pending = None

    def hear_events(self, program: Program, told: Events) -> None:
        if told.gap is not None:
            self.gaps += 1
            assert told.gap[0] == program.next
            program.next = told.gap[1] + 1
        for event in told.events:
            assert event.offset == program.next
            program.next += 1
        assert told.next == program.next == self.events + 1

    def hear_number(self, command: Once, answer: Answer) -> None:
        if answer.ok is None:
            return
        given = msgspec.json.decode(msgspec.json.encode(answer.ok), type=_Number)
        for kind in ("sequence", "offset", "version"):
            if (number := getattr(given, kind)) is not None:
                owner = self.numbers.setdefault((kind, number), command.once or "")
                assert owner == command.once, f"{kind} {number} was given to {owner}, too"


def version_of(record: Record) -> int:
    return msgspec.json.decode(record.content or b"", type=KeyContent).version


def test_data_are_kept_and_given_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "COORD_TOPIC_EVENTS_MAX", KEPT)
    gaps = kills = 0
    for seed in range(SEEDS):
        world = World(seed)
        try:
            world.run()
        except Exception:
            print(f"again: World({seed}).run()")
            raise
        gaps, kills = gaps + world.gaps, kills + world.kills
    assert gaps > SEEDS, "who comes back should miss events now and then"
    assert kills > SEEDS, "the server should be killed"
