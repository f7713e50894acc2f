"""Agents that meet in a loop, driven step by step by one seed, and a server that may be killed.

Method: each step lets one thing happen: a request or an answer arrives, a socket is cut, a program
dies and is started again, a request is repeated or abandoned, another is made beside it, an old
outcome is looked up, time passes, the server is killed and reads back what it had kept. What must
be so is judged by a model of its own (`program.py`). After the last step everything calms down, and
everybody must get to the last round.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from lab.tests.simulation.program import Program, Standing, generation_of, once_of
from tidelab.core.coord.answer import Answer, Fault, Released, Waiting
from tidelab.core.coord.command import Abandon, Join, Leave, Wait
from tidelab.core.coord.coordinator import Coordinator, Rights
from tidelab.core.coord.record import Forget, Record
from tidelab.limits import COORD_GENERATIONS_KEPT, COORD_LEASE_S

LEASE_S = 2.0
VISIT_LEASE_S = COORD_LEASE_S
TIMEOUT_S = 40.0
RUN, BARRIER, LOOK = "r", "b", "look"
_FAILED = "failed"  # until somebody is told why
_STEPS_MAX = 50_000
_CALM_STEPS = 20_000


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
        self._unnoticed: list[int] = []
        has_roster = self.random.random() < 0.3
        self._roster = tuple(p.name for p in self._programs) if has_roster else None
        count = len(self._programs)
        self._target = None if has_roster else self.random.choice((count, count, 2))
        self._full = self._target or count
        self._quorum = None
        if self._target is not None and self.random.random() < 0.4:
            self._quorum = self.random.randint(1, self._target)
        self._steps = self._weigh()

    def _weigh(self) -> list[Callable[[], None]]:
        """Make some disasters frequent in this world, and others absent."""
        steps: list[Callable[[], None]] = [self.step] * 40 + [self.pass_time] * 2 + [self.notice]
        for event in (
            self.cut, self.die, self.repeat, self.leave, self.sleep, self.kill_server,
            self.abandon, self.ask_beside, self.look_back, self.slip_away,
        ):  # fmt: skip
            steps += [event] * self.random.choice((0, 0, 1, 3))
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

    def slip_away(self) -> None:
        """Let a program come back before the server has noticed that it had gone."""
        program = self.random.choice(self._programs)
        if program.peer is not None and not program.is_visitor:
            self._unnoticed.append(program.peer)
            self._lose(program)

    def notice(self) -> None:
        if self._unnoticed:
            peer = self._unnoticed.pop(0)
            program = self._by_peer.pop(peer)
            if program.link == peer:  # else it has come back, and nobody minds
                self.standing.names.discard(program.name)
            self._server.disconnect(peer, self.now)
            self._settle()

    def die(self) -> None:
        """End a program, and begin it anew: it remembers nothing."""
        program = self.random.choice(self._programs)
        if program.peer is not None:
            self._end(program)
        program.life += 1
        program.waits, program.once, program.beside = 0, None, None

    def repeat(self) -> None:
        program = self.random.choice(self._programs)
        if program.peer is not None and program.once is not None and not program.is_visitor:
            self._send(program, program.once)

    def ask_beside(self) -> None:
        program = self.random.choice(self._programs)
        is_waiting = program.peer is not None and not program.is_visitor
        if is_waiting and program.once is not None and program.beside is None:
            program.beside, program.has_doubled = f"{program.once}+", True
            self._send(program, program.beside)

    def abandon(self) -> None:
        """Let a program think better of all its waits."""
        program = self.random.choice(self._programs)
        for id in sorted(program.asked):
            if not program.is_visitor:
                program.out.append(Abandon(request=id))

    def look_back(self) -> None:
        """Ask how an earlier generation has ended, which changes nothing."""
        program = self.random.choice(self._programs)
        if program.peer is None or program.is_visitor or not program.generation:
            return
        oldest = max(1, len(self.outcomes) - COORD_GENERATIONS_KEPT + 1)
        if oldest <= program.generation:
            generation = self.random.randint(oldest, program.generation)
            wait = Wait(id=LOOK, barrier=BARRIER, target=self._target, roster=self._roster,
                        generation=generation)  # fmt: skip
            program.out.append(wait)

    def leave(self) -> None:
        program = self.random.choice(self._programs)
        if program.peer is not None and not program.is_visitor:
            program.out.append(Leave())

    def kill_server(self) -> None:
        """Kill it, at times between doing something and keeping it."""
        program = self.random.choice(self._programs)
        if program.out and program.peer is not None:
            self._server.receive(program.peer, program.out[0], self.now)
        for program in self._programs:
            self._lose(program)
            program.known = dict(program.kept)
        self._by_peer.clear()
        self._unnoticed.clear()
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
        for once in (program.once, program.beside):
            if once is not None:
                self._send(program, once)
        if program.once is None and program.is_visitor:
            self._ask(program)

    def _ask(self, program: Program) -> None:
        program.waits += 1
        program.once = f"{program.life}.{program.waits}"
        self._send(program, program.once)

    def _send(self, program: Program, once: str) -> None:
        program.request += 1
        wait = Wait(
            id=f"{once} {program.request}",
            barrier=BARRIER,
            target=self._target,
            roster=self._roster,
            quorum=self._quorum,
            once=once,
            timeout_s=TIMEOUT_S,
            lead_ms=self.random.choice((0, 500)),
            poll_s=0.3 if program.is_visitor else None,
        )
        program.asked.add(str(wait.id))
        program.out.append(wait)

    def _deliver(self, program: Program) -> None:
        assert program.peer is not None
        command = program.out.popleft()
        is_wait = isinstance(command, Wait) and command.id != LOOK
        ended, id = len(self.outcomes), str(command.id)
        if is_wait:
            self.standing.come(program.name, self.now)
            program.open.add(id)
        if isinstance(command, Abandon) and command.request in program.open:
            program.open.discard(str(command.request))
            if not program.open:
                self.standing.names.discard(program.name)
        if isinstance(command, Leave | Join):
            self.standing.names.discard(program.name)
            program.link = program.peer
        self._server.receive(program.peer, command, self.now)
        messages = self._settle()
        if is_wait and messages and len(self.outcomes) == ended and not program.open:
            self.standing.names.discard(program.name)  # it came late, and was told so
        if id in program.open:
            program.note(once_of(id), ended + 1)
        if isinstance(command, Leave) and program.peer is not None:
            self._end(program)

    def _end(self, program: Program) -> None:
        """Cut the connection; what was under way is lost."""
        assert program.peer is not None
        self._server.disconnect(program.peer, self.now)
        del self._by_peer[program.peer]
        is_linked = program.link == program.peer
        self._lose(program)
        if program.is_visitor:
            self.standing.leases[program.name] = self.now + VISIT_LEASE_S
        elif is_linked:
            self.standing.names.discard(program.name)
        self._settle()

    def _lose(self, program: Program) -> None:
        """Forget all that was on its way on a connection."""
        program.peer = None
        for each in (program.out, program.inbox, program.open, program.asked):
            each.clear()

    def _hear(self, program: Program) -> None:
        message = program.inbox.popleft()
        assert isinstance(message, Answer), message
        if message.id == LOOK:
            return
        program.asked.discard(str(message.id))
        if isinstance(message.error, Fault) and message.error.roll is None:
            assert message.error.code in ("not_joined", "cancelled"), message.error
            if message.error.message == "it was abandoned":
                self._give_up(program, once_of(str(message.id)))
        elif isinstance(message.ok, Waiting):
            self._end(program)
        elif isinstance(message.ok, Released) or message.error is not None:
            told = message.ok or message.error
            assert isinstance(told, Released | Fault)
            self._be_told(program, str(message.id), told)

    def _give_up(self, program: Program, once: str) -> None:
        if once in map(once_of, program.asked):
            return  # there is a repeat, which may still be answered
        if once == program.once:
            program.once = None
        elif once == program.beside:
            program.beside = None

    def _be_told(self, program: Program, id: str, told: Released | Fault) -> None:
        once, generation = once_of(id), generation_of(told)
        if once not in (program.once, program.beside):
            return  # the answer to a repeat, which was answered before
        if once == program.beside:
            program.beside = None
            program.generation = max(generation, program.generation)
            return
        if not program.life and not program.has_doubled:
            behind = len(self.outcomes) - program.generation
            is_next = generation == program.generation + 1 or behind >= COORD_GENERATIONS_KEPT
            is_first = program.generation == 0
            assert is_next or is_first, f"{program.name}: {program.generation} to {generation}"
            assert generation > program.generation, "it was told twice"
        program.generation = max(generation, program.generation)
        program.once = None
        if program.is_visitor and program.peer is not None:
            self._end(program)

    # --- the server ---

    def _wake(self) -> None:
        end = self.now
        while (deadline := self._server.next_deadline()) is not None and deadline <= end:
            self.now = deadline
            self.standing.expire(deadline)
            self._server.wake(deadline)
            self._settle()
        self.now = end
        self.standing.expire(end)
        assert not self.standing.names or end < self.standing.since + TIMEOUT_S, "it waits for ever"

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
                program.open.discard(str(message.id))
                self._judge(program, message)
            if peer == program.peer:
                program.inbox.append(message)
        return len(effects.messages)

    def _judge_end(self, generation: int) -> None:
        """Hold a generation that has just ended against who stands there."""
        assert generation == len(self.outcomes) + 1, f"generation {generation} ended out of turn"
        for program in self._programs:
            if program.name in self.standing.names:
                program.kept = program.known
        here = len(self.standing.names)
        is_over = self.now >= self.standing.since + TIMEOUT_S
        is_open = here == self._full or (is_over and here >= (self._quorum or self._full))
        assert is_open or is_over or self._roster, "it failed, and somebody could still come"
        self.outcomes[generation] = (-1, None if is_open else _FAILED)
        self.ranks[generation] = {}
        self.standing.names.clear()

    def _judge(self, program: Program, message: Answer) -> None:
        told = message.ok or message.error
        is_end = isinstance(told, Released) or (isinstance(told, Fault) and told.roll is not None)
        if is_end and message.id != LOOK:
            assert isinstance(told, Released | Fault)
            generation, forgotten = (
                generation_of(told),
                len(self.outcomes) - COORD_GENERATIONS_KEPT,
            )
            program.known = {once: at for once, at in program.known.items() if at > forgotten}
            program.note(once_of(str(message.id)), generation)
            program.kept = program.known
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
