"""Where all parts of a run put what is to be said, kept and done later.

The one rule: whoever is gone is told nothing; a request that waits is dropped with its connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tidelab.core.coord.alarms import Alarm, Alarms
from tidelab.core.coord.answer import Answer, Fault, Push, Result
from tidelab.core.coord.record import Write

Message = Answer | Push


class Effects(NamedTuple):
    """What came out: nothing may be said before all of it is kept."""

    writes: list[Write]
    messages: list[tuple[int, Message]]
    closes: list[int]
    """Connections to be closed when they were told."""


class Ticket:
    """A request that will be answered later."""

    __slots__ = ("alarm", "drop", "id", "peer", "step_back")

    def __init__(self, peer: int, id: int | str | None) -> None:
        self.peer, self.id = peer, id
        self.alarm: Alarm | None = None
        self.drop: Callable[[], None] | None = None
        self.step_back: Callable[[], None] | None = None
        """Gives up what the request stands for, which outlives its connection."""


class Desk:
    """Collect effects."""

    def __init__(self) -> None:
        self.alarms = Alarms()
        self.ended: Counter[str] = Counter()
        """How many meetings have ended, and how: released, or the code of their fault."""
        self._tickets: dict[int, dict[Ticket, None]] = {}
        """Requests that wait, of each connection, in the order in which they came."""
        self._effects = Effects([], [], [])

    def open(self, peer: int) -> None:
        """Begin to talk to a connection."""
        self._tickets[peer] = {}

    def close(self, peer: int) -> None:
        """Say nothing more to a connection, and drop what it waits for."""
        for ticket in self._tickets.pop(peer, ()):
            self.alarms.cancel(ticket.alarm)
            if ticket.drop is not None:
                ticket.drop()

    def count(self, peer: int) -> int | None:
        """Count the requests of a connection that wait; None when it is gone."""
        tickets = self._tickets.get(peer)
        return None if tickets is None else len(tickets)

    def hold(
        self,
        ticket: Ticket,
        drop: Callable[[], None],
        at: float | None = None,
        ring: Callable[[float], None] | None = None,
    ) -> None:
        """Keep a request waiting: `drop` forgets it, `ring` is called when it took too long."""
        ticket.drop = drop
        self._tickets[ticket.peer][ticket] = None
        if at is not None and ring is not None:
            ticket.alarm = self.alarms.set(at, ring)

    def answer(self, ticket: Ticket, result: Result) -> None:
        """Answer a request."""
        if ticket.alarm is not None:
            self.alarms.cancel(ticket.alarm)
        ticket.drop = ticket.step_back = None  # they know the ticket: a circle, gone only by chance
        tickets = self._tickets.get(ticket.peer)
        if tickets is not None:
            tickets.pop(ticket, None)
            self._effects.messages.append((ticket.peer, answer_of(ticket.id, result)))

    def abandon(self, peer: int, id: int | str) -> None:
        """Forget the requests of a number that wait: who asked does not wait for them any more."""
        for ticket in [ticket for ticket in self._tickets.get(peer, ()) if ticket.id == id]:
            assert ticket.drop is not None, "it was held"
            ticket.drop()
            if ticket.step_back is not None:
                ticket.step_back()
            self.answer(ticket, Fault("cancelled", "it was abandoned"))

    def push(self, peer: int, push: Push) -> None:
        """Tell a connection something that it did not ask for."""
        if peer in self._tickets:
            self._effects.messages.append((peer, push))

    def dismiss(self, peer: int, push: Push) -> None:
        """Tell a connection why it is closed, have it closed, and say no more to it."""
        self.push(peer, push)
        self._effects.closes.append(peer)
        self.close(peer)

    def refuse(self, peer: int, fault: Fault) -> None:
        """Answer all that a connection waits for with a fault."""
        for ticket in list(self._tickets.get(peer, ())):
            if ticket.drop is not None:
                ticket.drop()
            self.answer(ticket, fault)

    def write(self, write: Write) -> None:
        """Keep or remove a record."""
        self._effects.writes.append(write)

    def say(self, peer: int, message: Message) -> None:
        """Say what was decided elsewhere, behind all that was said before."""
        self._effects.messages.append((peer, message))

    @property
    def pending(self) -> int:
        """How many messages were not handed over yet."""
        return len(self._effects.messages)

    @property
    def has_effects(self) -> bool:
        """Tell whether `take` would hand over anything."""
        effects = self._effects
        return bool(effects.messages or effects.writes or effects.closes)

    def take(self) -> Effects:
        """Hand over what has collected."""
        effects, self._effects = self._effects, Effects([], [], [])
        return effects


def answer_of(id: int | str | None, result: Result) -> Answer:
    """Put a result under the id of its request."""
    if isinstance(result, Fault):
        return Answer(id=id, error=result)
    return Answer(id=id, ok=result)
