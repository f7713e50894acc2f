"""The barriers of a run: arriving, being released or sent away, and being stuck.

The one rule: a meeting ends in one place (`_end`), which moves every cursor and answers everybody.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import msgspec

from tidelab.core.coord import roll
from tidelab.core.coord.agent import GONE, Agent
from tidelab.core.coord.agents import Agents
from tidelab.core.coord.answer import (
    BarrierLine,
    Body,
    Code,
    Done,
    Fault,
    Released,
    Waiting,
)
from tidelab.core.coord.barrier import Barrier, Meeting, terms_of
from tidelab.core.coord.command import Cancel, Wait
from tidelab.core.coord.desk import Desk, Ticket
from tidelab.core.coord.record import Cursor, Kind, Outcome, Record
from tidelab.core.coord.shelf import Shelf
from tidelab.core.coord.stuck import Need, find_broken, find_deadlock
from tidelab.limits import (
    COORD_AGENTS_MAX,
    COORD_NAMES_MAX,
    COORD_NAMES_SHOWN_MAX,
)


class Barriers:
    """All barriers of one run."""

    def __init__(
        self, run: str, desk: Desk, agents: Agents, changed: Callable[[float], None]
    ) -> None:
        self._run, self._desk, self._agents, self._changed = run, desk, agents, changed
        self.shelf = Shelf()
        self._open: dict[str, Barrier] = {}
        """Those where somebody waits."""
        self._rosters = 0
        """How many of these name who must come."""

    # --- what agents do ---

    def wait(self, agent: Agent, command: Wait, ticket: Ticket, now: float) -> Body | Fault | None:
        """Let an agent arrive; None when it is answered later."""
        terms = terms_of(command, agent.name)
        if isinstance(terms, Fault):
            return terms
        known = self.shelf.get(command.barrier)
        barrier = known or Barrier(command.barrier)
        generation = barrier.generation_for(agent.name, command)
        if isinstance(generation, Fault):
            return generation
        if generation <= barrier.decided:
            return self._repeat(barrier, generation, agent, command.once, now)
        if known is None:
            gone = self.shelf.make_room()
            if gone is None:
                return Fault(
                    "full", f"agents wait at {COORD_NAMES_MAX} barriers, the most there may be"
                )
            for other in gone:
                self._forget(other)
            self.shelf.add(barrier)
        meeting = barrier.meeting
        is_first = meeting is None
        if meeting is None:
            meeting = self._begin(barrier, Meeting(terms, command, now), now)
        elif meeting.terms != terms:
            told = f"barrier {barrier.name}: {agent.name} waits for {terms}"
            return Fault("conflict", f"{told}, but others wait for {meeting.terms}")
        self._arrive(barrier, meeting, agent, command, ticket, now)
        arrived = len(meeting.arrived)
        # Else it only brings nearer what could be reached before.
        is_news = is_first or arrived >= terms.needed or len(self._open) > 1
        if arrived == terms.full:
            self._release(barrier, meeting, now)
        elif is_news and self._is_bounded() and not self._will_fill(self._need(barrier.name)):
            self.judge(now)  # else whoever came will go on, and stops nobody
        return None

    def cancel(self, command: Cancel, by: str, now: float) -> Body | Fault:
        """Send away everybody who waits at a barrier."""
        barrier = self._open.get(command.barrier)
        if barrier is None:
            return Fault("not_found", f"nobody waits at barrier {command.barrier}")
        why = f"cancelled by {by}" + (f": {command.reason}" if command.reason else "")
        self._fail(barrier, "cancelled", why, now)
        return Done()

    def withdraw(self, agent: Agent, now: float) -> None:
        """Take an agent from all places where it stands, and see who is stuck without it."""
        for barrier in list(agent.stands):
            meeting = barrier.meeting
            assert meeting is not None, "who stands at a barrier stands in its open meeting"
            tickets = meeting.arrived.pop(agent.name)
            if not meeting.arrived:
                self._close(barrier, meeting)
            for ticket in tickets:
                told = f"{agent.name} is {agent.presence} and waits no more"
                self._desk.answer(ticket, Fault("cancelled", told))
        agent.stands.clear()
        if agent.presence in GONE:
            self.judge(now)

    def judge(self, now: float) -> None:
        """End all meetings that can never be full."""
        if not self._is_bounded():
            return  # anybody might come
        needs = {name: self._need(name) for name in self._open}
        for name in find_broken(needs):
            self._fail(self._open[name], "broken", "too few can ever come", now)
            del needs[name]
        for name, need in list(needs.items()):
            meeting = self._open[name].meeting
            is_all = need.able <= need.waiting and not need.newcomers
            if need.lacking <= 0 and is_all and meeting is not None:
                self._release(self._open[name], meeting, now)
                del needs[name]
        if len(needs) < 2:
            return  # it takes two to wait for each other
        agents = (self._agents.get(name) for need in needs.values() for name in need.waiting)
        free = {agent.name for agent in agents if agent is not None and agent.is_concurrent}
        stuck = find_deadlock(needs, free)
        knot = roll.knot_of(stuck, needs)
        for name in stuck:
            self._fail(self._open[name], "deadlock", knot, now)

    def close(self) -> None:
        """Forget all: the run is deleted, and everybody was sent away."""
        for barrier in list(self._open.values()):
            assert barrier.meeting is not None, "open barriers have meetings"
            self._close(barrier, barrier.meeting)

    # --- what is known ---

    def lines(self, now: float) -> tuple[BarrierLine, ...]:
        """Describe those where somebody waits, then those that ended last, by their names."""
        closed = (barrier for barrier in self.shelf.newest_first() if barrier.meeting is None)
        shown = [*itertools.islice(self._open.values(), COORD_NAMES_SHOWN_MAX)]
        newest = itertools.islice(closed, COORD_NAMES_SHOWN_MAX - len(shown))
        shown += sorted(newest, key=lambda barrier: barrier.name)
        return tuple(roll.line_of(barrier, self._agents, now) for barrier in shown)

    @property
    def waiting(self) -> int:
        """Count the barriers where somebody waits."""
        return len(self._open)

    def __len__(self) -> int:
        return len(self.shelf)

    def restore(self, record: Record) -> None:
        """Take back a record."""
        content = record.content or b""
        if record.kind == "outcome":
            barrier = self._restored(record.name)
            barrier.end(msgspec.json.decode(content, type=Outcome))
            return
        name, _, agent = record.name.partition(" ")
        barrier = self._restored(name)
        barrier.recorded.add(agent)
        barrier.move(agent, msgspec.json.decode(content, type=Cursor))

    # --- inside ---

    def _restored(self, name: str) -> Barrier:
        barrier = self.shelf.get(name)
        if barrier is None:
            barrier = Barrier(name)
            self.shelf.add(barrier)
        return barrier

    def _forget(self, barrier: Barrier) -> None:
        for generation in barrier.outcomes:
            self._write("outcome", barrier.name, generation, None)
        for agent in barrier.recorded:
            self._write_cursor(barrier, agent, None)

    def _begin(self, barrier: Barrier, meeting: Meeting, now: float) -> Meeting:
        barrier.meeting = meeting
        self._open[barrier.name] = barrier
        self._rosters += meeting.terms.roster is not None
        ring = functools.partial(self._time_out, barrier)
        meeting.alarm = self._desk.alarms.set(now + meeting.timeout_s, ring)
        self._changed(now)
        return meeting

    def _arrive(
        self,
        barrier: Barrier,
        meeting: Meeting,
        agent: Agent,
        command: Wait,
        ticket: Ticket,
        now: float,
    ) -> None:
        tickets = meeting.arrived.setdefault(agent.name, [])
        agent.stands[barrier] = None
        barrier.reach(agent.name, barrier.decided + 1, command.once, is_told=False)
        tickets.append(ticket)
        drop = functools.partial(tickets.remove, ticket)
        ticket.step_back = functools.partial(self._step_back, barrier, meeting, agent)
        if command.poll_s is None:
            self._desk.hold(ticket, drop)
        else:
            ring = functools.partial(self._put_off, barrier, meeting, ticket)
            self._desk.hold(ticket, drop, now + command.poll_s, ring)

    def _step_back(self, barrier: Barrier, meeting: Meeting, agent: Agent) -> None:
        if not meeting.arrived[agent.name]:
            del meeting.arrived[agent.name]
            agent.stands.pop(barrier, None)
            if not meeting.arrived:
                self._close(barrier, meeting)

    def _put_off(self, barrier: Barrier, meeting: Meeting, ticket: Ticket, now: float) -> None:
        assert ticket.drop is not None, "it was held"
        ticket.drop()
        arrived, full = len(meeting.arrived), meeting.terms.full
        self._desk.answer(ticket, Waiting(barrier.name, barrier.decided + 1, arrived, full))

    def _time_out(self, barrier: Barrier, now: float) -> None:
        meeting = barrier.meeting
        assert meeting is not None, "the alarm is cancelled with the meeting"
        if len(meeting.arrived) >= meeting.terms.needed:
            self._release(barrier, meeting, now)
        else:
            self._fail(barrier, "timeout", f"timed out after {meeting.timeout_s:g} s", now)

    def _release(self, barrier: Barrier, meeting: Meeting, now: float) -> None:
        self._end(barrier, meeting, round(now * 1000) + meeting.lead_ms, None, now)

    def _fail(self, barrier: Barrier, code: Code, why: str, now: float) -> None:
        meeting = barrier.meeting
        assert meeting is not None, "only open meetings fail"
        called = roll.call(barrier, meeting, self._agents, now)
        at = f"barrier {barrier.name}, generation {called.generation}"
        fault = Fault(code, f"{at}: {why}; {roll.words_of(called)}", called)
        self._end(barrier, meeting, round(now * 1000), fault, now)

    def _end(
        self, barrier: Barrier, meeting: Meeting, start_at_ms: int, fault: Fault | None, now: float
    ) -> None:
        self._close(barrier, meeting)
        arrived = meeting.arrived
        onces = tuple(barrier.cursors[name].once for name in arrived)
        untold = tuple(name for name, tickets in arrived.items() if not tickets)
        generation = barrier.decided + 1
        outcome = Outcome(generation, start_at_ms, tuple(arrived), onces, untold, fault)
        forgotten, agents = barrier.end(outcome)
        self.shelf.note_end(barrier)
        self._desk.ended["released" if fault is None else fault.code] += 1
        self._write("outcome", barrier.name, generation, msgspec.json.encode(outcome))
        if forgotten > 0:
            self._write("outcome", barrier.name, forgotten, None)
        for agent in [*agents, *barrier.recorded.intersection(arrived)]:
            barrier.recorded.discard(agent)
            self._write_cursor(barrier, agent, None)
        for rank, (name, tickets) in enumerate(arrived.items()):
            who = self._agents.get(name)
            assert who is not None, "who waits is known"
            who.stands.pop(barrier, None)
            if tickets:
                answer = fault or _released(barrier.name, outcome, who, rank, now)
                for ticket in tickets:
                    self._desk.answer(ticket, answer)
        self._changed(now)

    def _close(self, barrier: Barrier, meeting: Meeting) -> None:
        self._desk.alarms.cancel(meeting.alarm)
        del self._open[barrier.name]
        self._rosters -= meeting.terms.roster is not None
        barrier.meeting = None
        self.shelf.note_places(barrier)  # of those, too, who came and left again

    def _repeat(
        self, barrier: Barrier, generation: int, agent: Agent, once: str | None, now: float
    ) -> Body | Fault:
        """Tell an outcome to somebody who comes late, or asks again."""
        outcome = barrier.outcomes[generation]
        before = barrier.cursors.get(agent.name)
        cursor = barrier.reach(agent.name, generation, once, is_told=True)
        if cursor != before:
            barrier.recorded.add(agent.name)
            self._write_cursor(barrier, agent.name, cursor)
            if len(barrier.recorded) > COORD_AGENTS_MAX:
                # As many agents are known to the run, so one of these is not.
                gone = next(name for name in barrier.recorded if self._agents.get(name) is None)
                barrier.forget(gone)
                self._write_cursor(barrier, gone, None)
            self.shelf.note_places(barrier)
        if outcome.fault is not None:
            return outcome.fault
        is_one = agent.name in outcome.arrived
        rank = outcome.arrived.index(agent.name) if is_one else None
        return _released(barrier.name, outcome, agent, rank, now)

    def _write_cursor(self, barrier: Barrier, agent: str, cursor: Cursor | None) -> None:
        content = None if cursor is None else msgspec.json.encode(cursor)
        self._write("cursor", f"{barrier.name} {agent}", 0, content)

    def _write(self, kind: Kind, name: str, number: int, content: bytes | None) -> None:
        self._desk.write(Record(self._run, kind, name, number, content))

    def _is_bounded(self) -> bool:
        """Tell whether it is known somewhere who may come."""
        return self._agents.size is not None or self._rosters > 0

    def _will_fill(self, need: Need) -> bool:
        """Tell whether a meeting lacks agents, and those who wait nowhere are enough."""
        if need.lacking <= 0:
            return False
        lacking = need.lacking - need.newcomers
        idle = (n for n in need.able if n not in need.waiting and self._agents.is_idle(n))
        return lacking <= 0 or next(itertools.islice(idle, lacking - 1, None), None) is not None

    def _need(self, name: str) -> Need:
        """Tell what a meeting waits for."""
        meeting = self._open[name].meeting
        assert meeting is not None, "open barriers have meetings"
        lacking, roster = meeting.terms.needed - len(meeting.arrived), meeting.terms.roster
        living, newcomers = self._agents.living, self._agents.newcomers()
        if roster is None:
            return Need(lacking, living, newcomers, meeting.arrived.keys())
        unknown = len(roster - living - self._agents.gone)
        return Need(lacking, roster & living, min(newcomers, unknown), meeting.arrived.keys())


def _released(name: str, outcome: Outcome, agent: Agent, rank: int | None, now: float) -> Released:
    return Released(
        barrier=name,
        generation=outcome.generation,
        start_at_ms=outcome.start_at_ms,
        start_at_local_ms=agent.clock.local(outcome.start_at_ms),
        start_in_ms=outcome.start_at_ms - round(now * 1000),
        arrived=len(outcome.arrived),
        rank=rank,
    )
