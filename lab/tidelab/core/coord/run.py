"""One run: a namespace with agents, barriers, signals, topics and keys of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import msgspec

from tidelab.core.coord.agent import GONE, Agent, Presence
from tidelab.core.coord.agents import Agents
from tidelab.core.coord.answer import (
    AgentLine,
    Done,
    Fault,
    Result,
    RunLine,
    RunStory,
    Time,
)
from tidelab.core.coord.barriers import Barriers
from tidelab.core.coord.command import (
    Await,
    Beat,
    Cancel,
    Command,
    Delete,
    Get,
    Leave,
    Once,
    Publish,
    Put,
    Raise,
    Read,
    Subscribe,
    Unsubscribe,
    Unwatch,
    Wait,
    Watch,
)
from tidelab.core.coord.desk import Desk, Ticket
from tidelab.core.coord.keys import Keys
from tidelab.core.coord.news import News
from tidelab.core.coord.record import Record, RunContent
from tidelab.core.coord.repeats import Repeats
from tidelab.core.coord.signals import Signals
from tidelab.core.coord.topics import Topics
from tidelab.limits import COORD_NAMES_SHOWN_MAX, COORD_RUN_NOTE_S

CHANGING = (Wait, Cancel, Raise, Publish, Put, Delete)
"""What an observer may not do."""
MAKING = (*CHANGING, Await, Read, Subscribe, Watch)
"""What makes a run: also what waits for others, who may come later."""
_PERSONAL = (Leave, Beat, Wait)


class Run:
    """One run."""

    def __init__(self, name: str, desk: Desk, now: float, changed: Callable[[float], None]) -> None:
        self.name = name
        self.began_ms = round(now * 1000)
        """What tells the run from one that was forgotten, and had the same name."""
        self.used = now
        self._noted: float | None = None
        self._desk = desk
        self.news = News(desk, self.story, now)
        self._changed = changed
        self.agents = Agents(desk, self._lose, self._judge, self._note)
        self.barriers = Barriers(name, desk, self.agents, self._note)
        self._signals = Signals(name, desk)
        self._topics = Topics(name, desk)
        self._keys = Keys(name, desk)
        self._repeats = Repeats(name, desk)

    def use(self, now: float) -> None:
        """Note that the run is in use; exact to a minute in what is stored."""
        self.used = now
        if self._noted is None or now >= self._noted + COORD_RUN_NOTE_S:
            self.note()

    def note(self) -> None:
        """Store what the run itself has to remember."""
        self._noted = self.used
        content = RunContent(self.agents.size, self.used, self._keys.version, self.began_ms)
        self._desk.write(Record(self.name, "run", "", 0, msgspec.json.encode(content)))

    def receive(
        self, agent: Agent | None, command: Command, ticket: Ticket, now: float
    ) -> Result | None:
        """Do what a connection asks for; None when it is answered later."""
        if agent is not None:
            if agent.presence in GONE:
                return Fault("not_joined", f"{agent.name} has left: join again")
            agent.note(command, now)
            if agent.is_observer and isinstance(command, CHANGING):
                return Fault("forbidden", f"{agent.name} is an observer: it only looks")
        elif isinstance(command, _PERSONAL):
            return Fault("not_joined", f"join before you {command}, or name an agent")
        name = "" if agent is None else agent.name
        if isinstance(command, Once) and command.once is not None:
            before = self._repeats.find(name, command)
            if before is not None:
                return before
        result = self._do(agent, command, ticket, now)
        self.news.note(now)
        # A wait is repeated by its cursor.
        if isinstance(command, Once) and not isinstance(command, Wait):
            assert result is not None, "what may be repeated is answered at once"
            if not isinstance(result, Fault | msgspec.Raw):
                self._repeats.keep(name, command, result)
        return result

    def _do(
        self, agent: Agent | None, command: Command, ticket: Ticket, now: float
    ) -> Result | None:
        match command:
            case Wait() | Cancel() | Leave() | Beat():
                return self._meet(agent, command, ticket, now)
            case Raise():
                return self._signals.raise_(command)
            case Await():
                return self._signals.await_(command, ticket, now)
            case Publish():
                return self._topics.publish(command)
            case Read():
                return self._topics.read(command, ticket, now)
            case Subscribe():
                return self._topics.subscribe(command, ticket.peer)
            case Unsubscribe():
                return self._topics.unsubscribe(command, ticket.peer)
            case _:
                return self._share(command, ticket)

    def _meet(
        self, agent: Agent | None, command: Command, ticket: Ticket, now: float
    ) -> Result | None:
        if isinstance(command, Cancel):
            by = "somebody who is no agent" if agent is None else agent.name
            return self.barriers.cancel(command, by, now)
        assert agent is not None, "`receive` has refused those without an agent"
        match command:
            case Wait():
                return self.barriers.wait(agent, command, ticket, now)
            case Beat():
                return _beat(agent, command, now)
            case _:
                self.agents.leave(agent, now)
                return Done()

    def _share(self, command: Command, ticket: Ticket) -> Result:
        match command:
            case Put():
                return self._keys.put(command)
            case Get():
                return self._keys.get(command)
            case Delete():
                result = self._keys.delete(command)
                if isinstance(result, Done):
                    self.note()  # the newest version may have gone with the key
                return result
            case Watch():
                return self._keys.watch(command, ticket.peer)
            case Unwatch():
                return self._keys.unwatch(command, ticket.peer)
            case _:
                raise AssertionError(f"{command} is not for a run")

    def forget(self, peer: int, follows: set[tuple[str, str]]) -> None:
        """Tell a connection that is gone no more."""
        for kind, name in follows:
            (self._topics if kind == "topic" else self._keys).forget(name, peer)

    def close(self) -> None:
        """Forget all: the run is deleted, and everybody was sent away."""
        self.agents.close()
        self.barriers.close()
        self.news.close(Fault("dropped", f"run {self.name} was deleted"))

    def restore(self, record: Record) -> None:
        """Take back a record."""
        match record.kind:
            case "run":
                content = msgspec.json.decode(record.content or b"", type=RunContent)
                self.agents.size, self.used = content.size, content.used
                self.began_ms = content.began_ms
                self._noted = content.used
                self._keys.version = max(self._keys.version, content.version)
            case "outcome" | "cursor":
                self.barriers.restore(record)
            case "signal":
                self._signals.restore(record)
            case "event":
                self._topics.restore(record)
            case "key":
                self._keys.restore(record)
            case "answer":
                self._repeats.restore(record)
            case _:
                assert_never(record.kind)

    def line(self) -> RunLine:
        """Describe the run in a list."""
        present = self.agents.count(Presence.PRESENT)
        return RunLine(self.name, present, self.barriers.waiting, round(self.used * 1000))

    def story(self, now: float) -> RunStory:
        """Describe the run."""
        shown = COORD_NAMES_SHOWN_MAX
        agents = sorted(self.agents.all(), key=_place_of)
        counts = {str(state): self.agents.count(state) for state in Presence}
        counts |= {
            "observers": sum(agent.is_observer for agent in agents),
            "barriers": len(self.barriers),
            "signals": len(self._signals.counts),
            "topics": len(self._topics.topics),
            "keys": len(self._keys.values),
        }
        return RunStory(
            run=self.name,
            version=self.news.version,
            now_ms=round(now * 1000),
            began_ms=self.began_ms,
            size=self.agents.size,
            counts=counts,
            agents=tuple(_line_of(agent, now) for agent in agents[:shown]),
            barriers=self.barriers.lines(now),
            signals=dict(list(self._signals.counts.items())[:shown]),
            topics={name: topic.last for name, topic in list(self._topics.topics.items())[:shown]},
            keys={name: key.version for name, key in list(self._keys.values.items())[:shown]},
        )

    def _note(self, now: float) -> None:
        """Note what shows in the list of runs, too."""
        self.news.note(now)
        self._changed(now)

    def _lose(self, agent: Agent, now: float) -> None:
        self.barriers.withdraw(agent, now)

    def _judge(self, now: float) -> None:
        self.barriers.judge(now)


def _beat(agent: Agent, command: Beat, now: float) -> Time:
    if command.doing is not None:
        agent.say(command.doing, now)
    told_ms, heard_ms, sent_ms = command.told_ms, command.heard_ms, command.sent_ms
    if told_ms is not None and heard_ms is not None and sent_ms is not None:
        agent.clock.compare(told_ms, heard_ms, sent_ms, now * 1000)
    best = agent.clock.best
    if best is None:
        return Time(round(now * 1000))
    return Time(round(now * 1000), round(best.offset_ms, 1), round(best.way_ms / 2, 1))


def _place_of(agent: Agent) -> int:
    """Say where an agent stands in a list that is cut: first those for whom others may wait."""
    if agent.is_observer or agent.presence is Presence.LEFT:
        return 2
    return 1 if agent.stands else 0


def _line_of(agent: Agent, now: float) -> AgentLine:
    role = "observer" if agent.is_observer else "agent"
    did, did_at = agent.latest()
    return AgentLine(
        agent=agent.name,
        role=role,
        state=agent.presence,
        since_ms=round(agent.since * 1000),
        did=did,
        did_ms=round(did_at * 1000),
        says="" if did == agent.doing else agent.doing,
        doing=agent.story(now),
    )
