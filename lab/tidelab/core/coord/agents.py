"""The agents of a run: how they come, go and come back.

The one rule: a name is one agent. Whoever joins under a name takes its place, and the connection
that had it is sent away.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from tidelab.core.coord.agent import GONE, Agent, Presence
from tidelab.core.coord.answer import Fault, Replaced
from tidelab.core.coord.clock import Clock
from tidelab.core.coord.command import Join
from tidelab.core.coord.desk import Desk
from tidelab.limits import COORD_AGENTS_MAX

Hook = Callable[[Agent, float], None]
Tell = Callable[[float], None]


class Agents:
    """All agents of one run."""

    def __init__(self, desk: Desk, lost: Hook, fewer: Tell, changed: Tell) -> None:
        """Call `lost` for whoever loses its places, `fewer` when fewer can come than before."""
        self.size: int | None = None
        self.gone: set[str] = set()
        """Names of those who are dead or have left."""
        self.living: set[str] = set()
        """Names of those who count: present or away, and no observers."""
        self._known: set[str] = set()
        """Names of those who count or did: of a run of known size no others may come."""
        self._agents: dict[str, Agent] = {}
        self._desk = desk
        self._lost, self._fewer, self._changed = lost, fewer, changed

    def get(self, name: str) -> Agent | None:
        """Find an agent."""
        return self._agents.get(name)

    def all(self) -> list[Agent]:
        """Return all agents, in the order in which they first came."""
        return list(self._agents.values())

    def count(self, presence: Presence) -> int:
        """Count the agents of one state, without observers."""
        return sum(a.presence is presence and not a.is_observer for a in self._agents.values())

    def is_idle(self, name: str) -> bool:
        """Tell whether somebody who counts may come to a barrier without leaving another."""
        agent = self._agents[name]
        return agent.is_concurrent or not agent.stands

    def newcomers(self) -> int:
        """Count the agents that may come for the first time."""
        if self.size is None:
            return COORD_AGENTS_MAX  # there is no saying
        return self.size - len(self._known)

    def join(self, command: Join, link: int | None, now: float) -> Agent | Fault:
        """Let an agent come, or come back; without a link it comes by HTTP."""
        is_observer = command.role == "observer"
        agent = self._agents.get(command.agent)
        if fault := self._refuse(command, counts=not is_observer):
            return fault
        newcomers = self.newcomers()
        if command.size is not None:
            self.size = command.size
        if agent is None:
            agent = self._agents[command.agent] = Agent(command.agent, now)
        else:
            self._take_over(agent, link, is_observer=is_observer, now=now)
        blocks = agent.is_concurrent and not command.is_concurrent
        agent.is_observer, agent.is_concurrent = is_observer, command.is_concurrent
        agent.lease_s, agent.link = command.lease_s, link
        if command.doing:
            agent.say(command.doing, now)
        self._enter(agent, Presence.PRESENT, now)
        if link is None:
            self._lease(agent, now)
        if blocks or self.newcomers() < newcomers:
            self._fewer(now)
        return agent

    def visit(self, run: str, name: str, now: float) -> Agent | Fault:
        """Begin an HTTP request of an agent, which comes by this if it is not there."""
        agent = self._agents.get(name)
        if agent is None or agent.presence is not Presence.PRESENT:
            joined = self.join(_again(run, name, agent), None, now)
            if isinstance(joined, Fault):
                return joined
            agent = joined
        agent.visits += 1
        self._desk.alarms.cancel(agent.alarm)
        return agent

    def end_visit(self, agent: Agent, now: float) -> None:
        """Note that an HTTP request is over."""
        agent.visits -= 1
        if agent.presence not in GONE and agent.link is None:
            self._lease(agent, now)

    def unlink(self, agent: Agent, now: float) -> None:
        """Note that the socket of an agent is gone: it leaves its places, and may come back."""
        agent.link = None
        if agent.presence is Presence.PRESENT:
            self._enter(agent, Presence.AWAY, now)
            self._lost(agent, now)
            self._lease(agent, now)

    def leave(self, agent: Agent, now: float) -> None:
        """Let an agent go for good."""
        self._enter(agent, Presence.LEFT, now)
        self._desk.alarms.cancel(agent.alarm)
        self._lost(agent, now)

    def close(self) -> None:
        """Forget all: the run is deleted."""
        for agent in self._agents.values():
            self._desk.alarms.cancel(agent.alarm)

    def _refuse(self, command: Join, *, counts: bool) -> Fault | None:
        if command.size is not None and self.size not in (None, command.size):
            told = f"the run has {self.size} agents, but {command.agent} says {command.size}"
            return Fault("conflict", told)
        size = command.size or self.size
        is_new = counts and command.agent not in self._known
        if size is not None and len(self._known) + is_new > size:
            names = ", ".join([name for name in self._agents if name in self._known][:10])
            return Fault("conflict", f"the run has {size} agents, and they are known: {names}")
        if command.agent not in self._agents and len(self._agents) >= COORD_AGENTS_MAX:
            return self._forget_one()
        return None

    def _forget_one(self) -> Fault | None:
        for name, agent in self._agents.items():
            if agent.presence in GONE:
                del self._agents[name]
                self.gone.discard(name)
                self._known.discard(name)
                return None
        return Fault("full", f"a run has at most {COORD_AGENTS_MAX} agents")

    def _take_over(self, agent: Agent, link: int | None, *, is_observer: bool, now: float) -> None:
        """Take an agent from the connection that has it; an observer stands nowhere."""
        before, agent.link = agent.link, None
        if before is not None and before != link:
            self._desk.dismiss(before, Replaced(agent.name))
        if before is None or before != link:
            agent.clock = Clock()  # it may be another process, on another machine
        if agent.stands and (before != link or is_observer):
            self._enter(agent, Presence.AWAY, now)
            self._lost(agent, now)

    def _lease(self, agent: Agent, now: float) -> None:
        self._desk.alarms.cancel(agent.alarm)
        if agent.visits == 0:
            ring = functools.partial(self._die, agent)
            agent.alarm = self._desk.alarms.set(now + agent.lease_s, ring)

    def _die(self, agent: Agent, now: float) -> None:
        self._enter(agent, Presence.DEAD, now)
        self._lost(agent, now)

    def _enter(self, agent: Agent, presence: Presence, now: float) -> None:
        if presence is Presence.PRESENT:
            self._desk.alarms.cancel(agent.alarm)
        agent.presence, agent.since = presence, now
        is_gone = presence in GONE
        (self.gone.add if is_gone else self.gone.discard)(agent.name)
        counts = not agent.is_observer
        (self.living.add if counts and not is_gone else self.living.discard)(agent.name)
        (self._known.add if counts else self._known.discard)(agent.name)
        self._changed(now)


def _again(run: str, name: str, agent: Agent | None) -> Join:
    """Make the request by which an agent that is known, or not, comes by HTTP."""
    if agent is None:
        return Join(run=run, agent=name)
    return Join(
        run=run,
        agent=name,
        role="observer" if agent.is_observer else "agent",
        lease_s=agent.lease_s,
        is_concurrent=agent.is_concurrent,
    )
