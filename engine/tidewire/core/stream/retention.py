"""What to do about the write-ahead log that the slot keeps.

What keeps it is the slot's restart position, and the oldest open transaction pins that whatever we
confirm. So moving the slot helps only where the slot itself is what trails::

    restart             confirmed                    end
      |---- pinned ---------|---- the log's window ----|
      by an old transaction        by us
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from tidewire.core.model.lsn import Lsn


class Step(enum.Enum):
    """What helps now."""

    NOTHING = "nothing"
    NAME = "name"
    """An old transaction holds the slot: say who, and help the slot to move once it has ended."""
    SHED = "shed"
    """Our own window holds it: drop the oldest of the log, so that the slot may move."""
    DROP = "drop"
    """Nothing has helped: the slot goes, and another history begins."""


class Retained(NamedTuple):
    """How much write-ahead log there is for the slot, and what for."""

    restart: Lsn
    confirmed: Lsn
    end: Lsn

    @property
    def total(self) -> int:
        """Bytes that PostgreSQL may not remove."""
        return self.end - self.restart

    @property
    def pinned(self) -> int:
        """Bytes of these that stay, however far the slot is moved."""
        return max(self.confirmed - self.restart, 0)


def judge(retained: Retained, bytes_max: int, *, is_held: bool) -> Step:
    """Choose what to do, given what may be kept at most, and whether somebody may hold it.

    A slot that nobody holds follows what we confirm by jumps, each as long as our window.
    """
    if retained.total >= bytes_max:
        return Step.DROP
    if retained.total < bytes_max // 2:
        return Step.NOTHING
    return Step.NAME if is_held and retained.pinned * 2 >= retained.total else Step.SHED


def shed_below(retained: Retained, bytes_max: int) -> Lsn:
    """Return the position up to which the log has to go."""
    return Lsn(max(retained.end - bytes_max // 4, 0))


def look_again_s(
    before: Retained | None,
    now: Retained,
    elapsed_s: float,
    bytes_max: int,
    *,
    shortest_s: float,
    longest_s: float,
) -> float:
    """Tell when to look again while nobody is there: well before the log could be too long."""
    room = bytes_max // 2 - now.total
    grown = now.end - before.end if before else 0
    if room <= 0 or before is None:
        return shortest_s
    if grown <= 0 or elapsed_s <= 0:
        return longest_s
    return min(max(room / grown * elapsed_s / 2, shortest_s), longest_s)
