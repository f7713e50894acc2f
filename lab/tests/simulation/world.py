"""Agents that meet in a loop, driven step by step by one seed, and a server that may be killed.

Method: each step lets one thing happen: a request or an answer arrives, a socket is cut, a program
dies and is started again, a request is repeated, time passes, the server is killed and reads back
what it had kept. What must be so is judged by a model of its own: who stands at the barrier, by
connections and leases alone (`Standing`). After the last step everything calms down, and everybody
must get to the last round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tidelab.core.coord.answer import Answer, Fault, Push, Released, Waiting
from tidelab.core.coord.command import Command, Join, Leave, Wait
from tidelab.core.coord.coordinator import Coordinator, Rights
from tidelab.core.coord.record import Forget, Record
from tidelab.limits import COORD_GENERATIONS_KEPT, COORD_LEASE_S

LEASE_S = 2.0
VISIT_LEASE_S = COORD_LEASE_S
RUN, BARRIER = "r", "b"
_FAILED = "failed"  # until somebody is told why
_STEPS_MAX = 50_000
_CALM_STEPS = 20_000


@dataclass(slots=True)
class Program:
    """One agent: what it knows, and what is on its way."""

    name: str
    is_visitor: bool
    """It has no socket: one HTTP request after the other, each with an end."""
    life: int = 0
    waits: int = 0
    generation: int = 0
    """The last one that it was told."""
    once: str | None = None
    """The wait for which it has no answer yet."""
    peer: int | None = None
    request: int = 0
    """The request on which a visitor waits."""
    out: deque[Command] = field(default_factory=deque)
    inbox: deque[Answer | Push] = field(default_factory=deque)


@dataclass(slots=True)
class Standing:
    """Who stands at the barrier, by what can be seen from outside; visitors until their lease."""

    names: set[str] = field(default_factory=set)
    leases: dict[str, float] = field(default_factory=dict)

    def expire(self, now: float) -> None:
        for name, lease in list(self.leases.items()):
            if lease <= now:
                self.names.discard(name)
                del self.leases[name]


class World:
    """One server, one run, some programs."""

    def __init__(self, seed: int, rounds: int) -> None:
        self.random = Random(seed)
        self.rounds = rounds
        self.now = 1_000.0
        self.outcomes: dict[int, tuple[int, str | None]] = {}
        """Of each generation: when it starts, or why it does not."""
        self.ranks: dict[int, dict[int, str]] = {}
        self.standing = Standing()
        self._disk: dict[tuple[str, str, str, int], Record] = {}
        self._server = Coordinator()
        self._numbers = 0
        self._programs = [
            Program(f"a{n}", self.random.random() < 0.25) for n in range(self.random.randint(2, 5))
        ]
        self._by_peer: dict[int, Program] = {}
        has_roster = self.random.random() < 0.3
        self._roster = tuple(p.name for p in self._programs) if has_roster else None
        count = len(self._programs)
        self._target = None if has_roster else self.random.choice((count, count, 2))
        self._full = self._target or count
        self._steps = self._weigh()

    def _weigh(self) -> list[Callable[[], None]]:
        """Make some disasters frequent in this world, and others absent."""
        steps: list[Callable[[], None]] = [self.step] * 40 + [self.pass_time] * 2
        for disaster in (self.cut, self.die, self.repeat, self.leave, self.sleep, self.kill_server):
            steps += [disaster] * self.random.choice((0, 0, 1, 3))
        return steps

    # --- the run ---

    def run(self) -> None:
        """Let things happen until the last round is over, then let everybody arrive."""
        for _ in range(_STEPS_MAX):
            if len(self.outcomes) >= self.rounds:
                break
            self.random.choice(self._steps)()
        for _ in range(_CALM_STEPS):
            if all(self.is_done(program) for program in self._programs):
                break
            self.step()
            if self.random.random() < 0.05:
                self.pass_time()
        else:
            waiting = {p.name: (p.generation, p.once) for p in self._programs}
            raise AssertionError(f"wedged: {waiting} of {self.rounds}")
        assert set(self.outcomes) >= set(range(1, self.rounds + 1)), "a generation was lost"

    def is_done(self, program: Program) -> bool:
        if program.generation >= self.rounds:
            return True
        # Who has died has forgotten its last answer: it looks where the others are.
        return program.life > 0 and program.once is None and len(self.outcomes) >= self.rounds

    # --- steps ---

    def step(self) -> None:
        """Let one program act, or one of its messages arrive."""
        program = self.random.choice(self._programs)
        if program.inbox and self.random.random() < 0.8:
            self._hear(program)
        elif program.out:
            self._deliver(program)
        elif program.peer is None:
            self._connect(program)
        elif program.once is None and not program.inbox and not self.is_done(program):
            self._ask(program)

    def pass_time(self) -> None:
        self.now += self.random.choice((0.01, 0.1, 0.5))
        self._wake()

    def sleep(self) -> None:
        """Let leases run out."""
        self.now += self.random.choice((LEASE_S * 1.5, VISIT_LEASE_S * 1.5))
        self._wake()

    def cut(self) -> None:
        program = self.random.choice(self._programs)
        if program.peer is not None:
            self._end(program)

    def die(self) -> None:
        """End a program, and begin it anew: it remembers nothing."""
        program = self.random.choice(self._programs)
        if program.peer is not None:
            self._end(program)
        program.life += 1
        program.waits, program.once = 0, None

    def repeat(self) -> None:
        program = self.random.choice(self._programs)
        if program.peer is not None and program.once is not None and not program.is_visitor:
            program.out.append(self._wait(program))

    def leave(self) -> None:
        program = self.random.choice(self._programs)
        if program.peer is not None and not program.is_visitor:
            program.out.append(Leave())

    def kill_server(self) -> None:
        for program in self._programs:
            program.out.clear()
            program.inbox.clear()
            program.peer = None
        self._by_peer.clear()
        self.standing = Standing()
        self._server = Coordinator()
        records = list(self._disk.values())
        self.random.shuffle(records)
        self._server.restore(records, self.now)

    # --- one program ---

    def _connect(self, program: Program) -> None:
        self._numbers += 1
        if program.is_visitor:
            if program.once is None and self.is_done(program):
                return
            fault = self._server.visit(self._numbers, Rights.AGENT, RUN, program.name, self.now)
            assert fault is None, fault
            self.standing.leases.pop(program.name, None)
        else:
            self._server.connect(self._numbers, Rights.AGENT)
            program.out.append(Join(run=RUN, agent=program.name, lease_s=LEASE_S))
        program.peer = self._numbers
        self._by_peer[self._numbers] = program
        if program.once is not None:
            program.out.append(self._wait(program))
        elif program.is_visitor:
            self._ask(program)

    def _ask(self, program: Program) -> None:
        program.waits += 1
        program.once = f"{program.life}.{program.waits}"
        program.out.append(self._wait(program))

    def _wait(self, program: Program) -> Wait:
        program.request += 1
        return Wait(
            id=f"{program.once} {program.request}",
            barrier=BARRIER,
            target=self._target,
            roster=self._roster,
            once=program.once,
            lead_ms=self.random.choice((0, 500)),
            poll_s=0.3 if program.is_visitor else None,
        )

    def _deliver(self, program: Program) -> None:
        assert program.peer is not None
        command = program.out.popleft()
        if isinstance(command, Wait):
            self.standing.names.add(program.name)
        if isinstance(command, Leave):
            self.standing.names.discard(program.name)
        ended = len(self.outcomes)
        self._server.receive(program.peer, command, self.now)
        messages = self._settle()
        if isinstance(command, Wait) and messages and len(self.outcomes) == ended:
            self.standing.names.discard(program.name)  # it came late, and was told so
        if isinstance(command, Leave) and program.peer is not None:
            self._end(program)

    def _end(self, program: Program) -> None:
        """Cut the connection; what was under way is lost."""
        assert program.peer is not None
        self._server.disconnect(program.peer, self.now)
        del self._by_peer[program.peer]
        program.peer = None
        program.out.clear()
        program.inbox.clear()
        if program.is_visitor:
            self.standing.leases[program.name] = self.now + VISIT_LEASE_S
        else:
            self.standing.names.discard(program.name)
        self._settle()

    def _hear(self, program: Program) -> None:
        message = program.inbox.popleft()
        assert isinstance(message, Answer), message
        if isinstance(message.error, Fault) and message.error.roll is None:
            assert message.error.code in ("not_joined", "cancelled"), message.error
        elif isinstance(message.ok, Waiting):
            self._end(program)
        elif isinstance(message.ok, Released) or message.error is not None:
            told = message.ok or message.error
            assert isinstance(told, Released | Fault)
            self._be_told(program, str(message.id), told)

    def _be_told(self, program: Program, id: str, told: Released | Fault) -> None:
        if id.split(maxsplit=1)[0] != program.once:
            return  # the answer to a repeat, which was answered before
        generation = _generation_of(told)
        if not program.life:
            behind = len(self.outcomes) - program.generation
            is_next = generation == program.generation + 1 or behind >= COORD_GENERATIONS_KEPT
            is_first = program.generation == 0
            assert is_next or is_first, f"{program.name}: {program.generation} to {generation}"
        assert generation > program.generation or program.life, "it was told twice"
        program.generation = max(generation, program.generation)
        program.once = None
        if program.is_visitor and program.peer is not None:
            self._end(program)

    # --- the server ---

    def _wake(self) -> None:
        while (deadline := self._server.next_deadline()) is not None and deadline <= self.now:
            self.standing.expire(deadline)
            self._server.wake(deadline)
            self._settle()
        self.standing.expire(self.now)

    def _settle(self) -> int:
        """Keep what is to be kept, then send; judge at once, and return how much was said."""
        effects = self._server.take()
        for write in effects.writes:
            assert not isinstance(write, Forget)
            if write.content is None:
                self._disk.pop(write[:4], None)
            else:
                self._disk[write[:4]] = write
            if write.kind == "outcome" and write.content is not None:
                self._judge_end(write.number)
        for peer, message in effects.messages:
            program = self._by_peer[peer]
            if isinstance(message, Answer):
                self._judge(program, message)
            program.inbox.append(message)
        return len(effects.messages)

    def _judge_end(self, generation: int) -> None:
        """Hold a generation that has just ended against who stands there."""
        assert generation == len(self.outcomes) + 1, f"generation {generation} ended out of turn"
        here = len(self.standing.names)
        self.outcomes[generation] = (-1, None if here == self._full else _FAILED)
        self.ranks[generation] = {}
        self.standing.names.clear()

    def _judge(self, program: Program, message: Answer) -> None:
        told = message.ok or message.error
        if isinstance(told, Fault) and told.roll is not None:
            start, why = self.outcomes[told.roll.generation]
            assert why in (_FAILED, told.code), f"{program.name} was told {told}"
            self.outcomes[told.roll.generation] = (start, told.code)
        elif isinstance(told, Released):
            start, why = self.outcomes[told.generation]
            assert why is None, f"a wrong release for {program.name}: {told}"
            assert start in (-1, told.start_at_ms), f"{program.name}: another start: {told}"
            self.outcomes[told.generation] = (told.start_at_ms, None)
            if told.rank is not None:
                holder = self.ranks[told.generation].setdefault(told.rank, program.name)
                assert holder == program.name, f"{holder} and {program.name} have one rank"
                assert told.rank < self._full


def _generation_of(told: Released | Fault) -> int:
    if isinstance(told, Released):
        return told.generation
    assert told.roll is not None
    return told.roll.generation
