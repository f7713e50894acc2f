"""What is looked at, and who looks: each is told of the newest state at its own pace.

::

    look, nothing new --waits--> note --not too often--> told, and may look again

The one rule: nothing is queued. Whoever looks asks for what is newer than what it has seen, so
changes that it misses melt into the next telling, and whoever is slow costs nobody else anything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from tidelab.core.coord.alarms import Alarm
from tidelab.core.coord.answer import Body, Fault
from tidelab.core.coord.desk import Desk, Ticket
from tidelab.limits import COORD_NEWS_S

Tell = Callable[[float], Body]


class News:
    """The version of one thing, and the requests that wait for a newer one."""

    def __init__(self, desk: Desk, tell: Tell, now: float) -> None:
        # Times are newer after a restart, too, when counts would begin again; 0 was seen by nobody.
        self.version = round(now * 1000) + 1
        self._desk, self._tell = desk, tell
        self._looking: dict[Ticket, None] = {}
        self._told_at, self._told = 0.0, self.version
        """When and what was last told: whoever has seen that is due again a moment later."""
        self._alarm: Alarm | None = None

    def note(self, now: float) -> None:
        """Note a change; those who look are told, together and not too often."""
        self.version += 1
        if self._looking:
            self._hurry(now)

    def look(self, after: int | None, wait_s: float, ticket: Ticket, now: float) -> Body | None:
        """Tell at once what is new to this request; else None, and it waits."""
        if wait_s == 0 or after is None or not self._told <= after <= self.version:
            return self._tell(now)
        if after != self.version and now >= self._told_at + COORD_NEWS_S:
            self._told_at, self._told = now, self.version
            return self._tell(now)
        self._looking[ticket] = None
        if after != self.version:
            self._hurry(now)
        self._desk.hold(
            ticket,
            functools.partial(self._looking.__delitem__, ticket),
            now + wait_s,
            lambda then: self._answer([ticket], then),
        )
        return None

    def close(self, fault: Fault) -> None:
        """Tell all who look that there is nothing left to see."""
        self._desk.alarms.cancel(self._alarm)
        for ticket in list(self._looking):
            del self._looking[ticket]
            self._desk.answer(ticket, fault)

    def _hurry(self, now: float) -> None:
        """Tell those who look as soon as it is due."""
        if self._alarm is None:
            at = max(now, self._told_at + COORD_NEWS_S)
            self._alarm = self._desk.alarms.set(at, self._ring)

    def _ring(self, now: float) -> None:
        self._alarm, self._told_at, self._told = None, now, self.version
        self._answer(list(self._looking), now)

    def _answer(self, tickets: list[Ticket], now: float) -> None:
        if not tickets:
            return  # they have gone meanwhile
        told = self._tell(now)
        for ticket in tickets:
            del self._looking[ticket]
            self._desk.answer(ticket, told)
