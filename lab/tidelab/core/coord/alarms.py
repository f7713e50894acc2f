"""What has to be done later: callables, and the time of the first.

The one rule: an alarm that was cancelled holds nothing alive; when most are cancelled they go.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

Ring = Callable[[float], None]
_FEW = 64  # below this cancelled alarms are not worth a cleaning


class Alarm:
    """One thing to do at a time, unless it is cancelled."""

    __slots__ = ("at", "ring")

    def __init__(self, at: float, ring: Ring) -> None:
        self.at = at
        self.ring: Ring | None = ring


class Alarms:
    """All of them, by time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def set(self, at: float, ring: Ring) -> Alarm:
        """Have something called with the time when it has come."""
        alarm = Alarm(at, ring)
        heapq.heappush(self._heap, (at, next(self._numbers), alarm))
        return alarm

    def cancel(self, alarm: Alarm | None) -> None:
        """Take back an alarm, if it has not rung."""
        if alarm is None or alarm.ring is None:
            return
        alarm.ring = None
        self._cancelled += 1
        if self._cancelled > _FEW and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].ring is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float | None:
        """Return when the first one rings."""
        while self._heap and self._heap[0][2].ring is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def ring(self, now: float) -> None:
        """Call all whose time has come, in order."""
        while (first := self.next()) is not None and first <= now:
            alarm = heapq.heappop(self._heap)[2]
            ring, alarm.ring = alarm.ring, None
            assert ring is not None, "`next` has removed those"
            ring(now)
