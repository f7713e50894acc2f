"""All tests of one server: what an agent says, and what is to be done about it.

The rule: every message of an agent leads to at most one deed, which the shell does before it gives
us that agent's next message. A message that makes no sense is answered with an error frame, and
changes nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from tidelab.core.coord.testsync import frame
from tidelab.core.coord.testsync.limits import (
    AGENTS_MAX,
    CHECKPOINTS_MAX,
    MEETINGS_MAX,
    RETENTION_S,
)
from tidelab.core.coord.testsync.meeting import Agent, Meeting
from tidelab.core.coord.testsync.message import (
    Close,
    Command,
    CountConnections,
    ReadData,
    UpdateData,
    WaitCheckpoint,
    read_message,
    shorten,
)
from tidelab.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Tell:
    """Send one text to some agents: it is encoded once."""

    agents: tuple[Agent, ...]
    text: bytes


@dataclass(frozen=True, slots=True)
class SendData:
    """Send the data of a test to the agent that asked, as bytes."""

    test_id: int


@dataclass(frozen=True, slots=True)
class KeepData:
    """Replace the data of a test."""

    test_id: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Hang:
    """End the connection of the agent that asked."""


@dataclass(frozen=True, slots=True)
class ForgetData:
    """Forget data that are older than a time, but those of tests that have agents."""

    before_ms: int
    but_of: frozenset[int]


Deed: TypeAlias = Tell | SendData | KeepData | Hang


class Meetings:
    """The tests that somebody has connected to."""

    def __init__(self, now_ms: int) -> None:
        self._meetings: dict[int, Meeting] = {}
        self._empty_since_ms: dict[int, int] = {}
        self._cleaning_at_ms = now_ms + RETENTION_S * 1000
        self._agents_count = 0
        self._checkpoints_count = 0
        self._released = deque[tuple[Meeting, str]]()
        """Checkpoints that are remembered for whoever comes late, the oldest first."""
        self.refused: Counter[int] = Counter()
        """Messages that were answered with an error, by its code."""

    def counts(self) -> dict[str, int]:
        """Count what is there, for the metrics."""
        return {
            "agents": self._agents_count,
            "tests": len(self._meetings),
            "checkpoints": self._checkpoints_count,
        }

    def register(self, test_id: int) -> Agent:
        """Add an agent to a test.

        Raises:
            RefusedError: there are as many agents, or tests, as this server takes.
        """
        if self._agents_count >= AGENTS_MAX:
            raise RefusedError(503, f"this server takes {AGENTS_MAX} agents, and has them")
        meeting = self._meetings.get(test_id)
        if meeting is None:
            if len(self._meetings) >= MEETINGS_MAX:
                raise RefusedError(503, f"this server takes {MEETINGS_MAX} tests, and has them")
            meeting = self._meetings[test_id] = Meeting(test_id)
        self._empty_since_ms.pop(test_id, None)
        self._agents_count += 1
        return meeting.join()

    def leave(self, agent: Agent, now_ms: int) -> None:
        """Forget an agent that is gone, everywhere. Being gone twice is being gone."""
        meeting = agent.meeting
        if agent not in meeting.agents:
            return
        before = len(meeting.checkpoints)
        meeting.leave(agent)
        self._agents_count -= 1
        self._checkpoints_count += len(meeting.checkpoints) - before
        if not meeting.agents:
            self._empty_since_ms[meeting.test_id] = now_ms

    def receive(self, agent: Agent, payload: bytes, now_ms: int) -> Deed | None:
        """Take one message of an agent and say what is to be done about it."""
        try:
            return self._obey(agent, read_message(payload), now_ms)
        except RefusedError as refused:
            self.refused[refused.code] += 1
            return Tell((agent,), frame.error(refused.code, str(refused)))

    def _obey(self, agent: Agent, command: Command, now_ms: int) -> Deed | None:
        meeting = agent.meeting
        match command:
            case ReadData():
                return SendData(meeting.test_id)
            case UpdateData(content):
                return KeepData(meeting.test_id, content)
            case CountConnections():
                return Tell((agent,), frame.connection_count(len(meeting.agents)))
            case WaitCheckpoint(identifier, target_count):
                return self._arrive(agent, identifier, target_count, now_ms)
            case Close():
                return Hang()
            case _:
                assert_never(command)

    def _arrive(self, agent: Agent, identifier: str, target_count: int, now_ms: int) -> Tell | None:
        meeting = agent.meeting
        if identifier not in meeting.checkpoints and self._checkpoints_count >= CHECKPOINTS_MAX:
            self._make_room(identifier)
        before = len(meeting.checkpoints)
        arrival = meeting.arrive(agent, identifier, target_count, now_ms)
        self._checkpoints_count += len(meeting.checkpoints) - before
        if arrival is None:
            return None
        if arrival.is_late:
            text = frame.released_before(identifier, arrival.start_at_ms)
        else:
            text = frame.released(identifier, arrival.start_at_ms)
            self._released.append((meeting, identifier))
        return Tell(arrival.told, text)

    def _make_room(self, identifier: str) -> None:
        """Forget the checkpoint that was released longest ago."""
        if not self._released:
            told = f"no room for checkpoint {shorten(identifier)!r}: agents wait at all there are"
            raise RefusedError(503, told)
        meeting, oldest = self._released.popleft()
        del meeting.checkpoints[oldest]
        self._checkpoints_count -= 1

    def next_deadline(self) -> int:
        """Return the time at which `clean` wants to be called, in milliseconds."""
        return self._cleaning_at_ms

    def clean(self, now_ms: int) -> ForgetData:
        """Forget tests that nobody came back to, and say which data to forget."""
        self._cleaning_at_ms = now_ms + RETENTION_S * 1000
        oldest_ms = now_ms - RETENTION_S * 1000
        for test_id, since_ms in list(self._empty_since_ms.items()):
            if since_ms <= oldest_ms:
                del self._empty_since_ms[test_id]
                self._checkpoints_count -= len(self._meetings.pop(test_id).checkpoints)
        self._released = deque(at for at in self._released if at[0].test_id in self._meetings)
        in_use = self._meetings.keys() - self._empty_since_ms.keys()
        return ForgetData(oldest_ms, frozenset(in_use))
