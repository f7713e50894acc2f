"""An agent of a test run: `async with Agent(url, run=..., name=...) as agent`.

The one rule: every call is answered, also when the connection broke meanwhile or the coordinator
was started again; and what it asked for happens once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from tidelab.agent.line import Line
from tidelab.core.coord.answer import (
    Done,
    Events,
    Published,
    Raised,
    Reached,
    Released,
    RunStory,
    Time,
    Written,
)
from tidelab.core.coord.client import KeyRead
from tidelab.core.coord.command import (
    Await,
    Beat,
    Cancel,
    Delete,
    Get,
    Inspect,
    Join,
    Publish,
    Put,
    Raise,
    Read,
    Subscribe,
    Unsubscribe,
    Wait,
)
from tidelab.errors import Conflict, Denied
from tidelab.limits import (
    COORD_DOING_CHARS_MAX,
    COORD_LEAD_MS,
    COORD_LEASE_S,
    COORD_OPEN_S,
    COORD_POLL_MAX_S,
    COORD_WAIT_S,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A barrier is open, and all who met there start at one moment."""

    barrier: str
    generation: int
    """How often agents have met there, this time included."""
    start_at: float
    """The moment on the clock of this machine, as `time.time()` tells it."""
    error_s: float
    """How wrong `start_at` is at most, because clocks can only be compared so exactly."""
    arrived: int
    rank: int | None
    """0 for the agent that came first; None for one that came when the barrier was open already."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a topic."""

    offset: int
    data: Any
    missed: int = 0
    """How many events just before this one are no longer kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key; one that is not there has version 0 and the value None."""

    value: Any
    version: int


class Agent:
    """A named participant of a run, connected to its coordinator.

    Use it as an async context manager: entering waits at most `open_timeout_s` for the coordinator,
    leaving says goodbye. A lost connection heals within `lease_s`; beyond that the agent is dead.
    `roster` are those who meet at barriers that name nobody. `size` says how many agents the run
    will ever have: with either, barriers that can never be full end at once. An agent that does
    other things while it waits says `is_concurrent`.

    All methods raise Denied when the coordinator says no, and AgentEnded when the agent is over: as
    RunForgotten when the coordinator was started again and had kept the run in memory only.
    """

    def __init__(
        self,
        url: str,
        *,
        run: str,
        name: str,
        token: str | None = None,
        role: Literal["agent", "observer"] = "agent",
        roster: Sequence[str] | None = None,
        size: int | None = None,
        lease_s: float = COORD_LEASE_S,
        is_concurrent: bool = False,
        open_timeout_s: float = COORD_OPEN_S,
    ) -> None:
        self.url, self.run, self.name, self.roster = url, run, name, roster
        join = Join(
            run=run, agent=name, role=role, lease_s=lease_s, size=size, is_concurrent=is_concurrent
        )
        self._line = Line(url, join, token, open_timeout_s)

    async def __aenter__(self) -> Self:
        """Join the run."""
        await self._line.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the run; those who wait for this agent are told how it ended."""
        try:
            # Of an error only the kind: its text may hold what is nobody else's business.
            await self._line.leave(None if kind is None else f"ended with {kind.__name__}")
        finally:
            await self._line.close()

    async def doing(self, what: str) -> None:
        """Say what is being done, for those who wait for this agent in vain."""
        await self._line.ask(Beat(doing=what[:COORD_DOING_CHARS_MAX]), Time)

    async def inspect(self) -> RunStory:
        """Describe the run: who is there, and who waits for whom."""
        return await self._line.ask(Inspect(run=self.run), RunStory)

    # --- barriers and signals ---

    async def barrier(
        self,
        name: str,
        *,
        target: int | None = None,
        roster: Sequence[str] | None = None,
        quorum: int | None = None,
        timeout_s: float = COORD_WAIT_S,
        lead_s: float = COORD_LEAD_MS / 1000,
    ) -> Start:
        """Wait until `target` agents or those of `roster` are here; return when all are to start.

        With `quorum` that many suffice when no more come. All must say the same numbers and names;
        `timeout_s` and `lead_s`, from the last arrival to the start, are those of who comes first.
        A wait that is cancelled gives up its place.

        Raises BarrierBroken, which says who did not come and what each was doing; Conflict when
        others wait for somebody else.
        """
        if target is None and roster is None:
            roster = self.roster
        wait = Wait(
            barrier=name,
            target=target,
            roster=None if roster is None else tuple(roster),
            quorum=quorum,
            timeout_s=timeout_s,
            lead_ms=round(lead_s * 1000),
        )
        released = await self._line.ask(wait, Released)
        skew = self._line.skew
        assert skew is not None, "the answer to joining has compared the clocks"
        return Start(
            barrier=name,
            generation=released.generation,
            start_at=(released.start_at_ms - skew.offset_ms) / 1000,
            error_s=(skew.way_ms / 2 + 1) / 1000,  # the coordinator tells whole milliseconds
            arrived=released.arrived,
            rank=released.rank,
        )

    async def meet(
        self,
        name: str,
        *,
        target: int | None = None,
        roster: Sequence[str] | None = None,
        quorum: int | None = None,
        timeout_s: float = COORD_WAIT_S,
        lead_s: float = COORD_LEAD_MS / 1000,
    ) -> Start:
        """Wait as at `barrier`, and then until the start: all go on at one moment."""
        start = await self.barrier(
            name, target=target, roster=roster, quorum=quorum, timeout_s=timeout_s, lead_s=lead_s
        )
        await asyncio.sleep(start.start_at - self._line.now())
        return start

    async def cancel(self, barrier: str, reason: str = "") -> None:
        """Send away everybody who waits at a barrier, and tell them why."""
        await self._line.ask(Cancel(barrier=barrier, reason=reason), Done)

    async def raise_signal(self, name: str) -> int:
        """Count a signal up; return its number, which nobody else gets."""
        return (await self._line.ask(Raise(signal=name), Raised)).sequence

    async def wait_signal(
        self, name: str, *, count: int = 1, timeout_s: float = COORD_WAIT_S
    ) -> int:
        """Wait until a signal was raised so often; return how often it was.

        Raises SignalTimeout.
        """
        wait = Await(signal=name, count=count, timeout_s=timeout_s)
        return (await self._line.ask(wait, Reached)).count

    # --- topics ---

    async def publish(self, topic: str, data: Any) -> int:
        """Append an event to a topic; return its offset."""
        publish = Publish(topic=topic, data=_raw(data))
        return (await self._line.ask(publish, Published)).offset

    async def follow(self, topic: str, *, offset: int | None = 1) -> AsyncIterator[Event]:
        """Yield the events of a topic from an offset on, and then each that follows, in order.

        None begins with the first that is published after the first step. What is no longer kept
        is counted in `Event.missed`.
        """
        if offset is None:
            offset = (await self._line.ask(Subscribe(topic=topic), Events)).next
            await self._line.ask(Unsubscribe(topic=topic), Done)
        while True:
            read = Read(topic=topic, offset=offset, wait_s=COORD_POLL_MAX_S)
            page = await self._line.ask(read, Events)
            missed = 0 if page.gap is None else page.gap[1] - page.gap[0] + 1
            for event in page.events:
                yield Event(event.offset, msgspec.json.decode(event.data), missed)
                missed = 0
            offset = page.next

    # --- keys ---

    async def get(self, key: str) -> Entry:
        """Read a key."""
        try:
            value = await self._line.ask(Get(key=key), KeyRead)
        except Denied as error:
            if error.code != "not_found":
                raise
            return Entry(None, 0)
        return _entry(value)

    async def put(self, key: str, value: Any, *, if_version: int | None = None) -> int:
        """Write a key; return its new version.

        With `if_version` only when that is its version, 0 meaning that it is not there. Raises
        Conflict otherwise, with the version that is.
        """
        put = Put(key=key, value=_raw(value), if_version=if_version)
        return (await self._line.ask(put, Written)).version

    async def change(self, key: str, function: Callable[[Any], Any]) -> Entry:
        """Write what a function makes of the value, which is None when there is none.

        When others write at the same time the function is called again, with what they wrote.
        """
        while True:
            before = await self.get(key)
            value = function(before.value)
            try:
                return Entry(value, await self.put(key, value, if_version=before.version))
            except Conflict:
                continue

    async def delete(self, key: str, *, if_version: int | None = None) -> None:
        """Remove a key. Raises Denied when it is not there, Conflict on another version."""
        await self._line.ask(Delete(key=key, if_version=if_version), Done)

    async def watch(self, key: str) -> AsyncIterator[Entry]:
        """Yield a key as it is, and then whenever it changes; of a quick series, the newest."""
        async for changed in self._line.watch(key):
            yield _entry(changed)


def _entry(read: KeyRead) -> Entry:
    return Entry(msgspec.json.decode(read.value), read.version or 0)


def _raw(value: Any) -> msgspec.Raw:
    """Write a value as JSON; raises ValueError for what JSON has no number for, as NaN."""
    text = msgspec.json.encode(value)
    if b"null" in text:  # so msgspec writes NaN and infinity, without a word
        json.dumps(msgspec.to_builtins(value), allow_nan=False)
    return msgspec.Raw(text)
