"""The core, its clock and its storage: nothing is said before what it rests on is kept.

::

    connections --commands--> core --effects--> pending --commit--> storage
                                                   '-- then --> outboxes, and answers of HTTP

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

    def put(self, frame: bytes) -> None:
        """Send a frame."""
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
        self._pending: list[Effects] = []
        self._pending_count = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._stir = asyncio.Event()
        self._next = math.inf
        self._is_stopping = False
        # A clock that cannot be set back while we run, and goes on after a restart.
        self._epoch = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        return self._epoch + time.monotonic()

    @property
    def pending(self) -> int:
        """How many messages wait for the disk."""
        return self._pending_count

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
        self._add(Effects([], [(peer, answer)], []))

    def disconnect(self, peer: int) -> None:
        """Note that a connection is gone."""
        self._lines.pop(peer, None)
        self.core.disconnect(peer, self.now())
        self._settle()

    async def room(self) -> None:
        """Wait while too much waits for the disk."""
        await self._has_room.wait()

    # --- the loop ---

    async def run(self) -> None:
        """Keep and deliver until `stop`; raises StorageError when nothing can be kept any more."""
        while True:
            await self._wait()
            self.core.wake(self.now())
            self._settle()
            await self._flush()
            if self._is_stopping and not self._pending:
                return

    def stop(self) -> None:
        """Let `run` return when everything that is on its way was kept and delivered."""
        self._is_stopping = True
        self._stir.set()

    async def _wait(self) -> None:
        """Wait until something is pending, or a deadline has come."""
        self._next = self.core.next_deadline() or math.inf
        left_s = None if self._next == math.inf else max(0.0, self._next - self.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._stir.wait()

    def _settle(self) -> None:
        effects = self.core.take()
        if effects.writes or effects.messages or effects.closes:
            self._add(effects)
        if (self.core.next_deadline() or math.inf) < self._next:
            self._stir.set()  # `_wait` waits for too long

    def _add(self, effects: Effects) -> None:
        self._pending.append(effects)
        self._pending_count += len(effects.messages)
        if self._pending_count > COORD_PENDING_MAX:
            self._has_room.clear()
        self._stir.set()

    async def _flush(self) -> None:
        self._stir.clear()
        turns, self._pending, self._pending_count = self._pending, [], 0
        if writes := [write for turn in turns for write in turn.writes]:
            begin = time.monotonic()
            await self._storage.commit(writes)
            self.commits += 1
            self.writes += len(writes)
            self.commit_s += time.monotonic() - begin
        for turn in turns:
            self._deliver(turn)
        self._has_room.set()

    def _deliver(self, turn: Effects) -> None:
        last: Message | None = None
        frame = b""
        for peer, message in turn.messages:
            if message is not last:  # an event goes to many
                last, frame = message, encode(message)
            if (line := self._lines.get(peer)) is not None:
                line.put(frame)
                self.messages += 1
                if isinstance(message, Answer) and message.error is not None:
                    self.refused[message.error.code] += 1
        for peer in turn.closes:
            if (line := self._lines.get(peer)) is not None:
                line.close(4001, "sent away")
