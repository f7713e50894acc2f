"""One agent: whether it is there, what its clock shows, and what it was last doing.

::

    present --its socket is gone--> away --lease out--> dead
       |  '--HTTP only, lease out after its last request-->  dead
       '--says goodbye--> left            any of them --joins--> present

The one rule: only who is present counts. Who is away may still come; who is dead or has left is not
waited for.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from tidelab.core.coord.alarms import Alarm
from tidelab.core.coord.clock import Clock
from tidelab.core.coord.command import Beat, Command

if TYPE_CHECKING:
    from tidelab.core.coord.barrier import Barrier


class Presence(StrEnum):
    """Whether an agent is there."""

    PRESENT = "present"
    AWAY = "away"
    DEAD = "dead"
    LEFT = "left"


GONE = frozenset((Presence.DEAD, Presence.LEFT))


class Agent:
    """What a run knows of one agent."""

    __slots__ = (
        "alarm", "clock", "doing", "doing_at", "is_concurrent", "is_observer", "last", "last_at",
        "lease_s", "link", "name", "presence", "since", "stands", "visits",
    )  # fmt: skip

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.presence = Presence.PRESENT
        self.since = now
        self.is_observer = self.is_concurrent = False
        self.lease_s = 0.0
        self.link: int | None = None
        """The socket of the agent."""
        self.visits = 0
        """HTTP requests of the agent that are open now."""
        self.alarm: Alarm | None = None
        self.clock = Clock()
        self.doing, self.doing_at = "", now
        self.last = ""
        """What it last asked for, in words: the request itself may hold a large value."""
        self.last_at = now
        self.stands: dict[Barrier, None] = {}
        """The barriers where it waits, in the order in which it came."""

    def note(self, command: Command, now: float) -> None:
        """Remember what the agent asked for; it is told to those who wait for it."""
        if not isinstance(command, Beat):
            self.last, self.last_at = str(command), now

    def say(self, doing: str, now: float) -> None:
        """Remember what the agent says that it is doing."""
        self.doing, self.doing_at = doing, now

    def latest(self) -> tuple[str, float]:
        """Return what the agent did or said last, and when."""
        if not self.last or (self.doing and self.doing_at >= self.last_at):
            return self.doing, self.doing_at
        return self.last, self.last_at

    def story(self, now: float) -> str:
        """Tell what the agent was last doing."""
        parts = []
        if self.presence is not Presence.PRESENT:
            parts.append(f"{self.presence} for {now - self.since:.1f} s")
        if self.doing:
            parts.append(f"{self.doing} ({now - self.doing_at:.1f} s ago)")
        if self.last:
            parts.append(f"asked to {self.last} {now - self.last_at:.1f} s ago")
        return "; ".join(parts) or "has asked for nothing"
