"""The signals of a run: counters that can be waited for.

The one rule: a number is given out once, so it is a rank that needs no agreement.
"""

from __future__ import annotations

import functools

import msgspec

from tidelab.core.coord.answer import Body, Fault, Raised, Reached
from tidelab.core.coord.command import Await, Raise
from tidelab.core.coord.desk import Desk, Ticket
from tidelab.core.coord.record import Record, SignalContent
from tidelab.limits import COORD_NAMES_MAX


class Signals:
    """All signals of one run."""

    def __init__(self, run: str, desk: Desk) -> None:
        self._run, self._desk = run, desk
        self.counts: dict[str, int] = {}
        self._waiting: dict[str, dict[Ticket, int]] = {}

    def raise_(self, command: Raise) -> Body | Fault:
        """Count up, and answer those who waited for it."""
        name = command.signal
        if name not in self.counts and len(self.counts) >= COORD_NAMES_MAX:
            return Fault("full", f"a run has at most {COORD_NAMES_MAX} signals")
        count = self.counts[name] = self.counts.get(name, 0) + 1
        content = msgspec.json.encode(SignalContent(count))
        self._desk.write(Record(self._run, "signal", name, 0, content))
        waiting = self._waiting.get(name, {})
        for ticket in [ticket for ticket, wanted in waiting.items() if wanted <= count]:
            self._drop(name, ticket)
            self._desk.answer(ticket, Reached(name, count))
        return Raised(name, count)

    def await_(self, command: Await, ticket: Ticket, now: float) -> Body | None:
        """Answer when a signal was raised so often; None when that is later."""
        count = self.counts.get(command.signal, 0)
        if count >= command.count:
            return Reached(command.signal, count)
        self._waiting.setdefault(command.signal, {})[ticket] = command.count
        drop = functools.partial(self._drop, command.signal, ticket)
        ring = functools.partial(self._time_out, command, ticket)
        self._desk.hold(ticket, drop, now + command.timeout_s, ring)
        return None

    def restore(self, record: Record) -> None:
        """Take back a record."""
        content = msgspec.json.decode(record.content or b"", type=SignalContent)
        self.counts[record.name] = content.count

    def _drop(self, name: str, ticket: Ticket) -> None:
        waiting = self._waiting[name]
        del waiting[ticket]
        if not waiting:
            del self._waiting[name]

    def _time_out(self, command: Await, ticket: Ticket, now: float) -> None:
        self._drop(command.signal, ticket)
        told = f"signal {command.signal}: timed out after {command.timeout_s:g} s"
        count = self.counts.get(command.signal, 0)
        told += f"; raised {count} of {command.count} times"
        self._desk.answer(ticket, Fault("timeout", told))
