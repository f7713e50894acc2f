"""One test: the agents that are connected, and the checkpoints where they wait for each other.

::

    nobody ---first agent---> waiting ---as many as its target---> released, for ever
       ^                         |
       +----the last one left----+

The rule: an agent counts once, wherever it counts, and only for as long as it is connected. The
first agent at a checkpoint says how many must come. All who were there are released together with
one start time; who comes later is told the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tidelab.core.coord.testsync.limits import START_DELAY_MS


@dataclass(slots=True, eq=False)
class Agent:
    """One connection of a test program."""

    meeting: Meeting
    waits_at: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Checkpoint:
    """A place where agents wait until enough have arrived."""

    target_count: int
    waiting: dict[Agent, None] = field(default_factory=dict)  # a set in order of arrival
    start_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """What somebody's arrival led to: who is to be told the start time."""

    told: tuple[Agent, ...]
    start_at_ms: int
    is_late: bool


class Meeting:
    """The agents of one test, and their checkpoints."""

    def __init__(self, test_id: int) -> None:
        self.test_id = test_id
        self.agents: set[Agent] = set()
        self.checkpoints: dict[str, Checkpoint] = {}

    def join(self) -> Agent:
        """Add an agent."""
        agent = Agent(self)
        self.agents.add(agent)
        return agent

    def leave(self, agent: Agent) -> None:
        """Forget an agent: it counts nowhere any more."""
        self.agents.discard(agent)
        for identifier in agent.waits_at:
            checkpoint = self.checkpoints[identifier]
            del checkpoint.waiting[agent]
            if not checkpoint.waiting:
                del self.checkpoints[identifier]
        agent.waits_at.clear()

    def arrive(
        self, agent: Agent, identifier: str, target_count: int, now_ms: int
    ) -> Arrival | None:
        """Note that an agent is at a checkpoint; return nothing while others are missing."""
        if agent not in self.agents:
            return None  # it left before its message was read
        checkpoint = self.checkpoints.setdefault(identifier, Checkpoint(target_count))
        if checkpoint.start_at_ms is not None:
            return Arrival((agent,), checkpoint.start_at_ms, is_late=True)
        checkpoint.waiting[agent] = None
        agent.waits_at.add(identifier)
        if len(checkpoint.waiting) < checkpoint.target_count:
            return None
        return self._release(identifier, checkpoint, now_ms + START_DELAY_MS)

    def _release(self, identifier: str, checkpoint: Checkpoint, start_at_ms: int) -> Arrival:
        checkpoint.start_at_ms = start_at_ms
        told = tuple(checkpoint.waiting)
        checkpoint.waiting.clear()
        for agent in told:
            agent.waits_at.discard(identifier)
        return Arrival(told, start_at_ms, is_late=False)
