"""All runs and all connections of one server: the way into the state machine.

::

    restore(records)                       once, before anybody comes
    connect(peer) / visit(peer, run, ...)  a socket, or one HTTP request
    receive(peer, command, now)            any number of times
    disconnect(peer, now)
    wake(now) at next_deadline()
    take()                                 after each of these: what to keep, and then what to say

The one rule: nothing that a connection sends raises, and no connection can hold up another.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from enum import IntEnum

import msgspec

from tidelab.core.coord.agent import Agent, Presence
from tidelab.core.coord.answer import Answer, Done, Dropped, Fault, Joined, Result, Runs
from tidelab.core.coord.command import (
    Abandon,
    Command,
    Drop,
    Inspect,
    Join,
    List,
    Subscribe,
    Unsubscribe,
    Unwatch,
    Watch,
)
from tidelab.core.coord.desk import Desk, Effects, Ticket
from tidelab.core.coord.news import News
from tidelab.core.coord.record import KINDS, Forget, Record
from tidelab.core.coord.run import CHANGING, MAKING, Run
from tidelab.errors import StorageError
from tidelab.limits import (
    COORD_LEASE_S,
    COORD_REQUESTS_OPEN_MAX,
    COORD_RUN_KEEP_S,
    COORD_RUNS_MAX,
    COORD_SUBSCRIPTIONS_MAX,
)

_FOLLOWING = (Subscribe, Unsubscribe, Watch, Unwatch)


class Rights(IntEnum):
    """What a connection may do; each includes those before it."""

    OBSERVER = 1
    AGENT = 2
    ADMIN = 3


class _Peer:
    """One connection."""

    __slots__ = ("agent", "follows", "id", "is_visit", "rights", "run")

    def __init__(self, id: int, rights: Rights, run: str | None = None) -> None:
        self.id, self.rights, self.run = id, rights, run
        self.is_visit = run is not None
        self.agent: Agent | None = None
        self.follows: set[tuple[str, str]] = set()


class Coordinator:
    """The state of one server."""

    def __init__(self, run_keep_s: float = COORD_RUN_KEEP_S) -> None:
        self._run_keep_s = run_keep_s
        self._desk = Desk()
        self._runs: dict[str, Run] = {}
        self._peers: dict[int, _Peer] = {}
        self._began_ms = 0
        """When the newest run began."""
        self._news = News(self._desk, self._list, 0.0)

    # --- time and effects ---

    def next_deadline(self) -> float | None:
        """Return when `wake` has to be called."""
        return self._desk.alarms.next()

    def wake(self, now: float) -> None:
        """Do what time brings: leases and waits that run out, runs that nobody uses."""
        self._desk.alarms.ring(now)

    def take(self) -> Effects:
        """Hand over what has collected."""
        return self._desk.take()

    @property
    def has_effects(self) -> bool:
        """Tell whether `take` would hand over anything."""
        return self._desk.has_effects

    @property
    def pending(self) -> int:
        """How many messages wait for `take`."""
        return self._desk.pending

    def say(self, peer: int, answer: Answer) -> None:
        """Answer what was no command, behind all that was said before."""
        self._desk.say(peer, answer)

    def restore(self, records: Iterable[Record], now: float) -> None:
        """Take back what was kept; raises StorageError when it cannot be read."""
        try:
            for record in sorted(records, key=lambda each: (KINDS.index(each.kind), each.number)):
                run = self._runs.get(record.run)
                if run is None:
                    run = self._make(record.run, now)
                run.restore(record)
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            raise StorageError(f"what was kept cannot be read: {error}") from error
        for run in self._runs.values():
            run.barriers.shelf.put_in_order()
            # Silent agents use a run by being there, and nothing notes that: they may come back.
            self._keep(run, now + COORD_LEASE_S)

    # --- connections ---

    def connect(self, peer: int, rights: Rights) -> None:
        """Begin a socket; it becomes an agent by `Join`."""
        self._peers[peer] = _Peer(peer, rights)
        self._desk.open(peer)

    def visit(
        self, peer: int, rights: Rights, run: str, agent: str | None, now: float
    ) -> Fault | None:
        """Begin one HTTP request, of an agent or of nobody; on a fault it has not begun."""
        visitor = _Peer(peer, rights, run)
        if agent is not None:
            if rights < Rights.AGENT:
                return Fault("forbidden", "with the token of an observer nobody can be an agent")
            found = self._run_for(run, now)
            if isinstance(found, Fault):
                return found
            came = found.agents.visit(run, agent, now)
            if isinstance(came, Fault):
                return came
            visitor.agent = came
        self._peers[peer] = visitor
        self._desk.open(peer)
        return None

    def disconnect(self, peer: int, now: float) -> None:
        """Note that a connection is gone."""
        gone = self._peers.pop(peer, None)
        if gone is None:
            return
        self._desk.close(peer)
        run = self._runs.get(gone.run or "")
        if run is None:
            return
        run.forget(peer, gone.follows)
        agent = gone.agent
        if agent is None or run.agents.get(agent.name) is not agent:
            return
        run.use(now)
        if gone.is_visit:
            run.agents.end_visit(agent, now)
        elif agent.link == peer:
            run.agents.unlink(agent, now)

    def refuse_visits(self, fault: Fault) -> None:
        """Answer all HTTP requests that wait; agents keep their places until they ask again."""
        for peer in self._peers.values():
            if peer.is_visit:
                self._desk.refuse(peer.id, fault)

    # --- commands ---

    def receive(self, peer: int, command: Command, now: float) -> None:
        """Do what a connection asks for."""
        waiting = self._desk.count(peer)
        if waiting is None:
            return  # it was sent away, and does not know yet
        ticket = Ticket(peer, command.id)
        if isinstance(command, Abandon):  # also when no request more may wait
            self._desk.abandon(peer, command.request)
            self._desk.answer(ticket, Done())
            return
        if waiting >= COORD_REQUESTS_OPEN_MAX:
            told = f"a connection has at most {COORD_REQUESTS_OPEN_MAX} requests that wait"
            self._desk.answer(ticket, Fault("full", told))
            return
        result = self._do(self._peers[peer], command, ticket, now)
        if result is not None:
            self._desk.answer(ticket, result)

    def _do(self, peer: _Peer, command: Command, ticket: Ticket, now: float) -> Result | None:
        if fault := _forbid(peer, command):
            return fault
        match command:
            case Join():
                return self._join(peer, command, now)
            case List():
                return self._news.look(command.after, command.wait_s, ticket, now)
            case Inspect() | Drop():
                found = self._runs.get(command.run)
                if found is None:
                    return Fault("not_found", f"there is no run {command.run}")
                if isinstance(command, Inspect):
                    return found.news.look(command.after, command.wait_s, ticket, now)
                self._drop(found, now)
                return Done()
        if peer.run is None:
            return Fault("not_joined", f"join a run before you {command}")
        run = self._runs.get(peer.run)
        if run is None:
            if not isinstance(command, MAKING):
                return Fault("not_found", f"there is no run {peer.run}")
            made = self._run_for(peer.run, now)
            if isinstance(made, Fault):
                return made
            run = made
        run.use(now)
        if isinstance(command, _FOLLOWING) and (fault := self._follow(peer, command)):
            return fault
        return run.receive(peer.agent, command, ticket, now)

    def _join(self, peer: _Peer, command: Join, now: float) -> Result:
        if peer.agent is not None and (peer.run, peer.agent.name) != (command.run, command.agent):
            told = f"this connection is {peer.agent.name} of run {peer.run} already"
            return Fault("conflict", told)
        if fault := self._miss(command):
            return fault
        run = self._run_for(command.run, now)
        if isinstance(run, Fault):
            return run
        size = run.agents.size
        agent = run.agents.join(command, None if peer.is_visit else peer.id, now)
        if isinstance(agent, Fault):
            return agent
        agent.note(command, now)
        if not peer.is_visit:
            peer.run, peer.agent = run.name, agent
        if run.agents.size != size:
            run.note()
        return Joined(run.name, agent.name, round(now * 1000), agent.lease_s, run.began_ms)

    def _miss(self, command: Join) -> Fault | None:
        """Refuse an agent that comes back to a run which is not there any more."""
        run = self._runs.get(command.run)
        if command.began_ms is None or (run is not None and run.began_ms == command.began_ms):
            return None
        told = f"the coordinator has forgotten the run {command.run} that {command.agent} was in"
        why = "it was deleted, or the coordinator was started again without `--store`"
        return Fault("gone", f"{told}: {why}; begin anew")

    def _follow(
        self, peer: _Peer, command: Subscribe | Unsubscribe | Watch | Unwatch
    ) -> Fault | None:
        """Note what a connection follows, to forget it with the connection."""
        if isinstance(command, Watch | Unwatch):
            place = ("key", command.key)
        else:
            place = ("topic", command.topic)
        if isinstance(command, Unsubscribe | Unwatch):
            peer.follows.discard(place)
            return None
        if len(peer.follows) >= COORD_SUBSCRIPTIONS_MAX and place not in peer.follows:
            told = f"a connection follows at most {COORD_SUBSCRIPTIONS_MAX} topics and keys"
            return Fault("full", told)
        peer.follows.add(place)
        return None

    # --- runs ---

    def _run_for(self, name: str, now: float) -> Run | Fault:
        run = self._runs.get(name)
        if run is None:
            if len(self._runs) >= COORD_RUNS_MAX:
                return Fault("full", f"a server has at most {COORD_RUNS_MAX} runs: drop some")
            run = self._make(name, now)
            self._keep(run, now)
        run.use(now)
        return run

    def _make(self, name: str, now: float) -> Run:
        run = self._runs[name] = Run(name, self._desk, now, self._news.note)
        # No two begin at one moment: an agent that comes back names the one that it was in.
        run.began_ms = self._began_ms = max(run.began_ms, self._began_ms + 1)
        self._news.note(now)
        return run

    def _list(self, now: float) -> Runs:
        lines = tuple(run.line() for run in self._runs.values())
        return Runs(lines, self._news.version, round(now * 1000))

    def _keep(self, run: Run, at_least: float) -> None:
        ring = functools.partial(self._expire, run)
        self._desk.alarms.set(max(run.used + self._run_keep_s, at_least), ring)

    def _expire(self, run: Run, now: float) -> None:
        if self._runs.get(run.name) is not run:
            return  # it was deleted meanwhile
        if any(agent.presence is Presence.PRESENT for agent in run.agents.all()):
            run.use(now)
        if now < run.used + self._run_keep_s:
            self._keep(run, now)
        else:
            self._drop(run, now)

    def _drop(self, run: Run, now: float) -> None:
        del self._runs[run.name]
        told = Fault("dropped", f"run {run.name} was deleted")
        for peer in [peer for peer in self._peers.values() if peer.run == run.name]:
            self._desk.refuse(peer.id, told)
            if not peer.is_visit:
                self._desk.dismiss(peer.id, Dropped(run.name))
        run.close()
        self._desk.write(Forget(run.name))
        self._news.note(now)

    # --- what is counted ---

    def counts(self) -> dict[str, int]:
        """Count what is there, for the metrics."""
        return {
            "runs": len(self._runs),
            "connections": sum(not peer.is_visit for peer in self._peers.values()),
            "agents": sum(run.agents.count(Presence.PRESENT) for run in self._runs.values()),
            "barriers_waiting": sum(run.barriers.waiting for run in self._runs.values()),
            "alarms": len(self._desk.alarms),
        }

    def ended(self) -> dict[str, int]:
        """Count the meetings that have ended since the start, by how they ended."""
        return dict(self._desk.ended)


def _forbid(peer: _Peer, command: Command) -> Fault | None:
    if peer.rights is Rights.ADMIN:
        return None
    needed = Rights.OBSERVER
    if isinstance(command, Drop):
        needed = Rights.ADMIN
    elif isinstance(command, CHANGING) or (isinstance(command, Join) and command.role == "agent"):
        needed = Rights.AGENT
    if peer.rights >= needed:
        return None
    told = f"to {command} a token of the role {needed.name.lower()} is needed"
    return Fault("forbidden", f"{told}, this one is of the role {peer.rights.name.lower()}")
