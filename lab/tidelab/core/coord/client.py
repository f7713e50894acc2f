"""One agent's end of the protocol: what it asked for, and what of that has to be asked again.

::

    open(now) --join--> answered --> all that has no answer yet goes out, again
    close()                          nothing goes out until `open`
    receive(frame, now)              any number of times
    wake(now) at next_deadline()
    data_to_send()                   after each of these

The one rule: a request without an answer is asked again on the next connection, under the name
(`once`) that it had on the first, so that it happens once.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from tidelab.core.coord.answer import Body, Done, Joined, Time
from tidelab.core.coord.clock import Clock, Sample
from tidelab.core.coord.codec import fault_of_text
from tidelab.core.coord.command import (
    Abandon,
    Await,
    Beat,
    Command,
    Join,
    Once,
    Read,
    Unwatch,
    Wait,
    Watch,
)
from tidelab.core.coord.denial import Denial
from tidelab.errors import AgentEnded, Denied, RunForgotten
from tidelab.limits import (
    COORD_ANSWERS_KEPT,
    COORD_BEAT_S,
    COORD_BEATS_FIRST,
    COORD_FRAME_BYTES_MAX,
)


@dataclass(frozen=True, slots=True)
class Answered:
    """A request has its answer."""

    id: int
    result: Body | Denied


@dataclass(frozen=True, slots=True)
class Came:
    """The agent is present, on this connection."""


class KeyRead(Body, frozen=True):
    """A key as it is now; one that is not there has no version."""

    key: str
    version: int | None = None
    value: msgspec.Raw = msgspec.Raw(b"null")


News: TypeAlias = Answered | KeyRead | Came


@dataclass(slots=True)
class _Request:
    command: Command
    kind: type[Body]
    """What its answer is."""
    deadline: float | None
    """When the patience of the one who asks is at its end."""
    asked: float
    is_own: bool
    """Of ours, and not of the application: it ends with the connection."""


class _Head(msgspec.Struct):
    id: int | None = None
    ok: msgspec.Raw = msgspec.Raw(b"{}")
    error: Denial | None = None
    event: str | None = None


_head = msgspec.json.Decoder(_Head)
_changed = msgspec.json.Decoder(KeyRead)
_WAITING = (Wait, Await, Read)  # what may be abandoned: all else is answered at once


class Client:
    """The state of one agent, over all its connections."""

    def __init__(self, join: Join, chance: str) -> None:
        self._join, self._chance = join, chance
        """Requests are named by chance, so that no other process has named one so."""
        self._numbers = itertools.count(1)
        self._requests: dict[int, _Request] = {}
        self._in_doubt: set[int] = set()
        """Sent on this connection; a repeat finds its answer only if these are few."""
        self._held: deque[int] = deque()
        self._watched: set[str] = set()
        self._outgoing: list[bytes] = []
        self.is_present = False
        self._clock = Clock()
        self._beats = 0
        self._beat_at: float | None = None
        self._told: tuple[int, int] | None = None

    # --- the connection ---

    def open(self, now: float) -> None:
        """Begin to talk on a new connection."""
        self._ask_own(self._join, Joined, now)

    def close(self) -> None:
        """Note that the connection is gone."""
        self.is_present = False
        self._beat_at = self._told = None
        self._beats = 0
        self._outgoing.clear()
        self._in_doubt.clear()
        self._held.clear()
        self._requests = {id: r for id, r in self._requests.items() if not r.is_own}

    def receive(self, frame: bytes, now: float) -> list[News]:
        """Take a frame of the coordinator.

        Raises AgentEnded when it sends this agent away, or is no coordinator.
        """
        try:
            head = _head.decode(frame)
            if head.event is not None:
                return self._receive_push(head.event, frame)
            return self._receive_answer(head, now)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise AgentEnded(f"this is no coordinator of version 2: {error}") from error

    def data_to_send(self) -> list[bytes]:
        """Hand over the frames that have collected."""
        frames, self._outgoing = self._outgoing, []
        return frames

    def next_deadline(self) -> float | None:
        """Return when `wake` has to be called."""
        return self._beat_at

    def wake(self, now: float) -> None:
        """Compare the clocks when it is time."""
        if self._beat_at is not None and self._beat_at <= now:
            self._beat(now)

    # --- requests ---

    def ask(self, command: Command, kind: type[Body], now: float) -> int:
        """Ask for something; return the number under which it will be answered.

        Raises Denied when it cannot even be sent.
        """
        id = next(self._numbers)
        if isinstance(command, Once):
            command = replace(command, once=f"{self._chance}.{id}")
        patience = command.timeout_s if isinstance(command, Wait | Await) else None
        deadline = None if patience is None else now + patience
        request = _Request(replace(command, id=id), kind, deadline, now, is_own=False)
        _refuse(_frame_of(request, now))
        self._requests[id] = request
        if isinstance(command, Beat) and command.doing is not None:
            self._join = replace(self._join, doing=command.doing)
        if isinstance(command, Unwatch):
            self._watched.discard(command.key)
        if self.is_present:
            self._offer(id, now)
        return id

    def forget(self, id: int, now: float) -> None:
        """Note that nobody waits for an answer any more; it is not asked for again."""
        request = self._requests.pop(id, None)
        if request is not None and self.is_present and isinstance(request.command, _WAITING):
            self._ask_own(Abandon(request=id), Done, now)

    # --- clocks ---

    @property
    def skew(self) -> Sample | None:
        """Tell how far the coordinator's clock is ahead of ours; None before it was heard."""
        return self._clock.best

    # --- inside ---

    def _receive_push(self, event: str, frame: bytes) -> list[News]:
        agent, run = self._join.agent, self._join.run
        match event:
            case "changed":
                return [_changed.decode(frame)]
            case "replaced":
                told = f"another connection is {agent} of run {run} now"
                raise AgentEnded(f"{told}: give every process a name of its own")
            case "dropped":
                raise AgentEnded(f"run {run} was deleted")
            case _:
                return []  # of a topic that is followed no more, or of a newer server

    def _receive_answer(self, head: _Head, now: float) -> list[News]:
        request = self._requests.pop(head.id or 0, None)
        self._in_doubt.discard(head.id or 0)
        while self._held and len(self._in_doubt) < COORD_ANSWERS_KEPT:
            self._offer(self._held.popleft(), now)
        if request is None:
            return []  # nobody waits for it any more
        result: Body | Denied
        if head.error is None:
            result = msgspec.json.decode(head.ok, type=request.kind)
        else:
            result = head.error.error()
        if request.is_own:
            return self._receive_own(request, result, now)
        assert head.id is not None, "a request was found by it"
        if isinstance(request.command, Watch) and not isinstance(result, Denied):
            self._watched.add(request.command.key)
        return [Answered(head.id, result)]

    def _receive_own(self, request: _Request, result: Body | Denied, now: float) -> list[News]:
        match result:
            case Joined():
                self._compare(request.asked, result.now_ms, now)
                self._join = replace(self._join, began_ms=result.began_ms)
                return self._come(now)
            case Time():
                self._compare(request.asked, result.now_ms, now)
                self._told = (result.now_ms, _ms(now))
                self._beats += 1
                self._beat_at = now + COORD_BEAT_S
                if self._beats < COORD_BEATS_FIRST:
                    self._beat(now)
            case KeyRead():
                return [result]
            case Denied(code="gone") if isinstance(request.command, Join):
                raise RunForgotten(str(result))
            case Denied() if isinstance(request.command, Join):
                raise AgentEnded(f"{self._join.agent} may not join run {self._join.run}: {result}")
            case _:
                pass  # no beat, or no watch: what follows from that is told to whoever asks next
        return []

    def _come(self, now: float) -> list[News]:
        """Be present: ask again for all that has no answer, and for all that is watched."""
        self.is_present = True
        self._beat(now)
        for key in sorted(self._watched):
            self._ask_own(Watch(key=key), KeyRead, now)
        for id in [id for id, request in self._requests.items() if not request.is_own]:
            self._offer(id, now)
        return [Came()]

    def _offer(self, id: int, now: float) -> None:
        """Send a request, unless so many are in doubt that its answer might be forgotten."""
        request = self._requests.get(id)
        if request is None:
            return
        if isinstance(request.command, Once) and not isinstance(request.command, Wait):
            if len(self._in_doubt) >= COORD_ANSWERS_KEPT:
                self._held.append(id)
                return
            self._in_doubt.add(id)
        self._outgoing.append(_frame_of(request, now))

    def _ask_own(self, command: Command, kind: type[Body], now: float) -> None:
        id = next(self._numbers)
        request = _Request(replace(command, id=id), kind, None, now, is_own=True)
        self._requests[id] = request
        self._outgoing.append(_frame_of(request, now))

    def _beat(self, now: float) -> None:
        """Compare the clocks, for us and for the coordinator."""
        self._beat_at = None
        beat = Beat(sent_ms=_ms(now))
        if self._told is not None:
            beat = replace(beat, told_ms=self._told[0], heard_ms=self._told[1])
        self._ask_own(beat, Time, now)

    def _compare(self, sent: float, now_ms: int, heard: float) -> None:
        # The same four times as the coordinator's own comparison, seen from here: it thinks for
        # no time at all.
        self._clock.compare(sent * 1000, now_ms, now_ms, heard * 1000)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _frame_of(request: _Request, now: float) -> bytes:
    """Write a request; a repeat waits only for what is left of its time."""
    command = request.command
    if isinstance(command, Wait | Await) and request.deadline is not None:
        left_s = round(request.deadline - now, 3)
        command = replace(command, timeout_s=max(left_s, _LEAST_S))
    return msgspec.json.encode(command)


def _refuse(frame: bytes) -> None:
    """Refuse what the coordinator could not answer under its number, or would close for."""
    if len(frame) > COORD_FRAME_BYTES_MAX:
        told = f"a request has at most {COORD_FRAME_BYTES_MAX} bytes, this one has {len(frame)}"
        raise Denied("too_large", told)
    if fault := fault_of_text(frame):
        raise Denied(fault.code, fault.message)


_LEAST_S = 0.001  # a time to wait must be one: the answer may be there already
