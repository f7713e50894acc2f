"""One barrier: a row of generations, each of which ends once, and for all in the same way.

The one rule: an agent's k-th wait at a name is the k-th generation, so names can be reused in
loops. Each agent has a cursor: the generation that it has asked for, the names of those requests,
and whether it was told how it ended. A wait is for the same generation until it was told, or when a
request is repeated under its name; else it is for the next one. A cursor never goes back. Whoever
comes for the first time, or was away for longer than outcomes are kept, is told the last outcome.
"""

from __future__ import annotations

import msgspec

from tidelab.core.coord.alarms import Alarm
from tidelab.core.coord.answer import Fault
from tidelab.core.coord.command import Wait
from tidelab.core.coord.desk import Ticket
from tidelab.core.coord.record import Cursor, Outcome
from tidelab.limits import COORD_ANSWERS_KEPT, COORD_GENERATIONS_KEPT


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What all who meet must agree on."""

    target: int | None
    roster: frozenset[str] | None
    quorum: int | None

    @property
    def full(self) -> int:
        """How many are expected."""
        return len(self.roster) if self.roster is not None else self.target or 0

    @property
    def needed(self) -> int:
        """How many suffice when no more come."""
        return self.quorum or self.full

    def __str__(self) -> str:
        who = f"{self.full} agents"
        if self.roster is not None:
            who = ", ".join(sorted(self.roster)[:10])
        return who if self.quorum is None else f"{who} (quorum {self.quorum})"


def terms_of(command: Wait, agent: str) -> Terms | Fault:
    """Read what an agent expects."""
    if (command.target is None) == (command.roster is None):
        return Fault("bad_request", "give either `target` (a number) or `roster` (names)")
    roster = None if command.roster is None else frozenset(command.roster)
    terms = Terms(command.target, roster, command.quorum)
    if roster is not None and agent not in roster:
        return Fault("conflict", f"{agent} is not on the roster: {terms}")
    if terms.needed > terms.full:
        return Fault("bad_request", f"a quorum of {terms.quorum} is more than {terms.full}")
    return terms


class Meeting:
    """The generation that is open."""

    __slots__ = ("alarm", "arrived", "lead_ms", "since", "terms", "timeout_s")

    def __init__(self, terms: Terms, command: Wait, now: float) -> None:
        self.terms = terms
        self.since = now
        self.timeout_s, self.lead_ms = command.timeout_s, command.lead_ms
        self.arrived: dict[str, list[Ticket]] = {}
        """Who waits, in the order in which they came, and their open requests."""
        self.alarm: Alarm | None = None


class Barrier:
    """All generations of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.decided = 0
        """The last generation that has ended."""
        self.meeting: Meeting | None = None
        self.outcomes: dict[int, Outcome] = {}
        self.cursors: dict[str, Cursor] = {}
        self.recorded: set[str] = set()
        """Agents whose cursor has a record of its own."""
        self._at: dict[int, set[str]] = {}

    def ended_ms(self) -> int:
        """Tell when the last generation ended; 0 when none has."""
        last = self.outcomes.get(self.decided)
        return 0 if last is None else last.start_at_ms

    def places(self) -> int:
        """Count the agents that are remembered, each as often as it is."""
        return len(self.cursors) + sum(len(each.arrived) for each in self.outcomes.values())

    def generation_for(self, agent: str, command: Wait) -> int | Fault:
        """Tell which generation a wait is for."""
        if command.generation is not None:
            return self._asked(command.generation)
        cursor = self.cursors.get(agent)
        if cursor is None:
            return max(1, self.decided)
        is_same = not cursor.is_told or command.once in _names_of(cursor)
        wanted = cursor.generation + (not is_same)
        is_kept = wanted in self.outcomes or wanted > self.decided
        return wanted if is_kept else self.decided

    def _asked(self, generation: int) -> int | Fault:
        if generation > self.decided + 1:
            told = f"barrier {self.name}: generation {generation} is not open"
            return Fault("conflict", f"{told}; the open one is {self.decided + 1}")
        if generation <= self.decided and generation not in self.outcomes:
            told = f"barrier {self.name}: generation {generation} is forgotten"
            return Fault("gone", f"{told}; the last {COORD_GENERATIONS_KEPT} are kept")
        return generation

    def reach(self, agent: str, generation: int, once: str | None, *, is_told: bool) -> Cursor:
        """Note that an agent asks for a generation, also for an old one; return its cursor."""
        cursor = self.cursors.get(agent)
        if cursor is None or cursor.generation < generation:
            cursor = Cursor(generation, once, is_told)
        elif cursor.generation == generation:
            names = dict.fromkeys([*_names_of(cursor), *([] if once is None else [once])])
            kept = " ".join(list(names)[-COORD_ANSWERS_KEPT:])
            cursor = Cursor(generation, kept or None, is_told)
        self.move(agent, cursor)
        return cursor

    def move(self, agent: str, cursor: Cursor) -> None:
        """Note up to where an agent has come."""
        before = self.cursors.get(agent)
        self.cursors[agent] = cursor
        if before is not None:
            if before.generation == cursor.generation:
                return
            self._at[before.generation].discard(agent)
        self._at.setdefault(cursor.generation, set()).add(agent)

    def forget(self, agent: str) -> None:
        """Take an agent for one that was never here."""
        cursor = self.cursors.pop(agent)
        self._at[cursor.generation].discard(agent)
        self.recorded.discard(agent)

    def end(self, outcome: Outcome) -> tuple[int, list[str]]:
        """End the open generation.

        Return the generation that is forgotten instead, and the agents whose record goes with it.
        """
        self.decided = outcome.generation
        self.outcomes[outcome.generation] = outcome
        self.meeting = None
        untold = frozenset(outcome.untold)
        for agent, once in zip(outcome.arrived, outcome.onces, strict=True):
            self.move(agent, Cursor(outcome.generation, once, agent not in untold))
        forgotten = outcome.generation - COORD_GENERATIONS_KEPT
        self.outcomes.pop(forgotten, None)
        agents = self._at.pop(forgotten, set())
        for agent in agents:
            del self.cursors[agent]
        records = [agent for agent in agents if agent in self.recorded]
        self.recorded.difference_update(records)
        return forgotten, records


def _names_of(cursor: Cursor) -> list[str]:
    return (cursor.once or "").split()
