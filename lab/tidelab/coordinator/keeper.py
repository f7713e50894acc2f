"""The core, its clock and its storage: nothing is said before what it rests on is kept.

::

    connections --commands--> core --effects--commit--> storage
                                          '-- then --> sockets, and answers of HTTP

The one rule: effects leave in the order in which they came. All that comes while the disk is busy
is one transaction, the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from tidelab.coordinator.storage.storage import Storage
from tidelab.core.coord.answer import Answer, Fault, Push
from tidelab.core.coord.codec import encode
from tidelab.core.coord.command import Command
from tidelab.core.coord.coordinator import Coordinator, Rights
from tidelab.core.coord.desk import Effects
from tidelab.limits import COORD_PENDING_MAX

Message = Answer | Push


class Line(Protocol):
    """The way back to one connection."""

    def put(self, text: bytes) -> None:
        """Send a text."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was sent."""
        ...


class Keeper:
    """Run the core."""

    def __init__(self, core: Coordinator, storage: Storage) -> None:
        self.core = core
        self.commands = self.commits = self.writes = self.messages = 0
        """Counted since the start, for the metrics."""
        self.commit_s = 0.0
        self.refused: Counter[str] = Counter()
        """Requests that were answered with an error, by its code; counted here and at the gate."""
        self._storage = storage
        self._lines: dict[int, Line] = {}
        self._numbers = itertools.count(1)
        self._held: list[Callable[[], None]] = []
        """Called when there is room again."""
        self._stir = asyncio.Event()
        self._next = math.inf
        self._is_closing = self._is_stopping = False
        # A clock that cannot be set back while we run, and goes on after a restart.
        self._epoch = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        return self._epoch + time.monotonic()

    @property
    def pending(self) -> int:
        """How many messages wait for the disk."""
        return self.core.pending

    @property
    def connections(self) -> int:
        """How many sockets and requests are open."""
        return len(self._lines)

    # --- connections ---

    def connect(self, rights: Rights, line: Line) -> int:
        """Begin a socket; return its number."""
        peer = next(self._numbers)
        self._lines[peer] = line
        self.core.connect(peer, rights)
        return peer

    def visit(self, rights: Rights, line: Line, run: str, agent: str | None) -> int | Fault:
        """Begin an HTTP request; return its number."""
        peer = next(self._numbers)
        fault = self.core.visit(peer, rights, run, agent, self.now())
        self._settle()
        if fault is not None:
            return fault
        self._lines[peer] = line
        return peer

    def receive(self, peer: int, command: Command) -> None:
        """Take a command."""
        self.commands += 1
        self.core.receive(peer, command, self.now())
        self._settle()

    def answer(self, peer: int, answer: Answer) -> None:
        """Answer what was no command, behind all that is on its way."""
        self.core.say(peer, answer)
        self._stir.set()

    def refuse(self, fault: Fault) -> bytes:
        """Count a request that was not let in, and write the answer to it."""
        self.refused[fault.code] += 1
        return encode(Answer(error=fault))

    def disconnect(self, peer: int) -> None:
        """Note that a connection is gone."""
        self._lines.pop(peer, None)
        self.core.disconnect(peer, self.now())
        self._settle()

    @property
    def has_room(self) -> bool:
        """Tell whether little enough waits for the disk."""
        return self.core.pending <= COORD_PENDING_MAX

    def when_room(self, go_on: Callable[[], None]) -> None:
        """Have something called as soon as there is room again."""
        self._held.append(go_on)

    # --- the loop ---

    async def run(self) -> None:
        """Keep and deliver until `stop`; raises StorageError when nothing can be kept any more."""
        while True:
            await self._wait()
            if not self._is_closing:
                self.core.wake(self.now())
            await self._flush()
            if self._is_stopping and not self.core.has_effects:
                return

    def close(self, fault: Fault) -> None:
        """Let nobody wait any longer by HTTP, and let time stand: nobody dies of our going."""
        self._is_closing = True
        self.core.refuse_visits(fault)
        self._stir.set()

    def stop(self) -> None:
        """Let `run` return when everything that is on its way was kept and delivered."""
        self._is_stopping = True
        self._stir.set()

    async def _wait(self) -> None:
        """Wait until something is pending, or a deadline has come."""
        self._next = self._deadline()
        left_s = None if self._next == math.inf else max(0.0, self._next - self.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._stir.wait()

    def _settle(self) -> None:
        """Wake the loop when there is something to deliver, or when it waits for too long."""
        if self.core.has_effects or self._deadline() < self._next:
            self._stir.set()

    def _deadline(self) -> float:
        return math.inf if self._is_closing else self.core.next_deadline() or math.inf

    async def _flush(self) -> None:
        self._stir.clear()
        effects = self.core.take()
        if effects.writes:
            begin = time.monotonic()
            await self._storage.commit(effects.writes)
            self.commits += 1
            self.writes += len(effects.writes)
            self.commit_s += time.monotonic() - begin
        self._deliver(effects)
        held, self._held = self._held, []
        for go_on in held:
            go_on()

    def _deliver(self, effects: Effects) -> None:
        last: Message | None = None
        text = b""
        for peer, message in effects.messages:
            if message is not last:  # an event goes to many
                last, text = message, encode(message)
            if (line := self._lines.get(peer)) is not None:
                line.put(text)
                self.messages += 1
                if isinstance(message, Answer) and message.error is not None:
                    self.refused[message.error.code] += 1
        for peer in effects.closes:
            if (line := self._lines.get(peer)) is not None:
                line.close(4001, "sent away")
