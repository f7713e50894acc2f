"""One client: a session of the driver, a socket, and the weather over it.

The one rule: one coroutine, one order. What came is recorded before anything else is read, and the
session decides what is said.

    connect --refused--> wait a little --> connect ...
    connected: frames in, events into the history, frames out; acknowledgements may be held back
    ended by the weather: the socket is aborted, or left half open and forgotten
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from random import Random
from typing import Protocol, runtime_checkable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from tidelab.core.driver import Endpoint, Frame, Session, Wanted
from tidelab.core.history.event import (
    Claimed,
    ClientEvent,
    Connected,
    Disconnected,
    Received,
    Reset,
    Subscribed,
    Unsubscribed,
)
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.errors import WireError
from tidelab.fleet.recorder import Recorder
from tidelab.fleet.weather import CLEAR, Sky, Weather
from tidelab.limits import (
    ASK_AGAIN_S,
    CONNECT_AGAIN_S,
    FRAME_BYTES_MAX,
    FRAMES_AHEAD,
    SOCKET_OPEN_S,
)

WIRE = "the server keeps to its protocol"
ACCEPTED = "every wanted shape is accepted in the end"


@runtime_checkable
class Explains(Protocol):
    """A session that can say why the server ended a subscription."""

    def explain(self, id: str) -> str:
        """Return the reason."""
        ...


class Client:
    """Keep one client of the fleet going until it is cancelled."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        session: Session,
        recorder: Recorder,
        *,
        random: Random,
        weather: Weather,
        make_shape: Callable[[], tuple[Shape, bool]],
        moved: asyncio.Event,
    ) -> None:
        self.name = name
        self.wanted: dict[str, Wanted] = {}
        self.reached: dict[str, Lsn] = {}
        """The last position of each live subscription."""
        self.connections = 0
        self.commits = 0
        self.is_connected = False
        self._endpoint, self._session, self._recorder = endpoint, session, recorder
        self._random, self._weather, self._make_shape = random, weather, make_shape
        self._names = 0
        self._goal: Lsn | None = None
        self._is_calm = False
        self._again: list[tuple[float, Wanted]] = []
        self._forgotten: list[ClientConnection] = []
        self._held: deque[tuple[int, Frame]] = deque()
        self._moved = moved
        self._here = asyncio.Event()
        self._here.set()
        self._is_stirred = False

    def want(self, count: int) -> list[Wanted]:
        """Draw new subscriptions; the caller asks for them, or the next connection does."""
        found = []
        for _ in range(count):
            self._names += 1
            shape, has_rows = self._make_shape()
            found.append(Wanted(f"{self.name}.{self._names}", shape, has_rows))
        self.wanted |= {each.id: each for each in found}
        return found

    async def run(self) -> None:
        """Connect again and again, until cancelled."""
        first = self._session.subscribe(self.want(self._random.randint(1, 5)))
        assert not first, "nothing can be sent before a connection is open"
        try:
            while True:
                await self._here.wait()
                sky = CLEAR if self._is_calm else self._weather.next_sky()
                try:
                    socket = await self._connect()
                except (OSError, TimeoutError, InvalidHandshake):
                    await asyncio.sleep(self._random.uniform(0.02, CONNECT_AGAIN_S))
                    continue
                await self._live(socket, sky)
                # A calm fleet comes back at once, but not in a circle that takes all of the CPU.
                await asyncio.sleep(0.02 if self._is_calm else sky.back_after_s + 0.01)
        finally:
            self._abandon()

    def leave(self) -> None:
        """Go away, and take the half-open connections along."""
        self._here.clear()
        self._abandon()

    def come_back(self) -> None:
        """Connect again."""
        self._here.set()

    def stir(self) -> None:
        """Ask for more or give something up, as soon as the server has said something."""
        self._is_stirred = True

    def _abandon(self) -> None:
        for socket in self._forgotten:
            socket.transport.abort()
        self._forgotten.clear()

    def calm(self, goal: Lsn) -> None:
        """Suffer no more faults, and ask to be told at a position."""
        self._is_calm, self._goal = True, goal

    def has_arrived(self, goal: Lsn) -> bool:
        """Tell whether every subscription that is wanted has got to a position."""
        return all(self.reached.get(id, Lsn(0)) >= goal for id in self.wanted)

    # --- one connection ---

    async def _connect(self) -> ClientConnection:
        return await connect(
            self._endpoint.url,
            subprotocols=[Subprotocol(each) for each in self._endpoint.subprotocols] or None,
            additional_headers=self._endpoint.headers,
            compression=None,
            proxy=None,
            open_timeout=SOCKET_OPEN_S,
            ping_interval=None,
            max_size=FRAME_BYTES_MAX,
            max_queue=FRAMES_AHEAD,
        )

    async def _live(self, socket: ClientConnection, sky: Sky) -> None:
        self.is_connected = True
        self.connections += 1
        self._record(Connected())
        reason, is_wanted = "the server closed it", False
        try:
            reason = await self._talk(socket, sky)
        except ConnectionClosed as closed:
            reason = f"closed: {closed}"
        except WireError as error:
            reason = f"the client broke it off: {error}"
            self._recorder.meet(WIRE, holds=False, detail=f"client {self.name}: {error}")
        except asyncio.CancelledError:
            reason, is_wanted = "the run is over", True
            raise
        finally:
            self.is_connected = False
            self._session.close()
            if reason == "half-open" and self._here.is_set():
                socket.transport.pause_reading()
                self._forgotten.append(socket)
            else:
                socket.transport.abort()
            self._record(Disconnected(reason, is_wanted))

    async def _talk(self, socket: ClientConnection, sky: Sky) -> str:
        """Exchange frames until the weather ends it; return how."""
        self._held.clear()
        self._say(self._session.open())
        if self._goal is not None:
            self._say(self._session.wait(self._goal))
        frames, asked = 0, self._goal
        while True:
            if self._goal != asked:
                asked = self._goal
                assert asked is not None
                self._say(self._session.wait(asked))
            if not self._here.is_set():
                return "away"
            self._ask_again()
            await self._send(socket, frames)
            frame = await self._next(socket)
            if frame is not None:
                frames += 1
                self._say(self._take(frame), at=frames + sky.ack_late_by_frames)
            await self._send(socket, inf if self._is_calm or frame is None else frames)
            if frame is None or self._is_calm:
                continue
            if sky.end_after_frames is not None and frames >= sky.end_after_frames:
                return sky.ending
            is_due = sky.churn_every_frames and frames % sky.churn_every_frames == 0
            if is_due or self._is_stirred:
                self._is_stirred = False
                self._churn()
            if sky.pause_every_frames and frames % sky.pause_every_frames == 0:
                await asyncio.sleep(sky.pause_s)

    async def _next(self, socket: ClientConnection) -> Frame | None:
        """Return the next frame, or None if there was none for a while: then others get a look."""
        try:
            async with asyncio.timeout(ASK_AGAIN_S):
                return await socket.recv()
        except TimeoutError:
            return None

    def _take(self, frame: Frame) -> Sequence[Frame]:
        reply = self._session.receive(frame)
        for event in reply.events:
            self._record(event)
            self._note(event)
        return reply.frames

    def _note(self, event: ClientEvent) -> None:
        """Keep in mind what the run wants to know, and what has to be asked for again."""
        match event:
            case Claimed(lsn, live):
                for id in {*live, *self.reached} & self.wanted.keys():
                    self.reached[id] = lsn
                self._moved.set()
            case Received(is_staged=False):
                self.commits += 1
            case Subscribed(id, _, mode):
                if mode != "resume":
                    self.reached.pop(id, None)
            case Reset(_, None):
                self.reached.clear()
            case Reset(_, id) if id is not None:
                self.reached.pop(id, None)
            case Unsubscribed(id) if id in self.wanted:
                self.reached.pop(id, None)
                now = asyncio.get_running_loop().time()
                self._again.append((now + ASK_AGAIN_S, self.wanted[id]))
            case _:
                pass

    def _ask_again(self) -> None:
        now = asyncio.get_running_loop().time()
        due = [wanted for at, wanted in self._again if at <= now and wanted.id in self.wanted]
        self._again = [(at, wanted) for at, wanted in self._again if at > now]
        if due:
            self._say(self._session.subscribe(due))

    def _churn(self) -> None:
        """Ask for more, or give something up."""
        waiting = {wanted.id for _, wanted in self._again}
        free = [id for id in self.wanted if id not in waiting]
        if len(self.wanted) < 6 and (len(free) < 2 or self._random.random() < 0.5):
            self._say(self._session.subscribe(self.want(self._random.randint(1, 2))))
        elif len(free) > 1:
            id = self._random.choice(free)
            del self.wanted[id]
            self.reached.pop(id, None)
            frames = self._session.unsubscribe(id)
            self._record(Unsubscribed(id))
            self._say(frames)

    def _say(self, frames: Sequence[Frame], *, at: int = 0) -> None:
        """Hold frames back until so many have come; nothing that is said overtakes them."""
        self._held.extend((at, frame) for frame in frames)

    async def _send(self, socket: ClientConnection, come: float) -> None:
        """Send what need not wait any longer, now that so many frames have come."""
        while self._held and self._held[0][0] <= come:
            await socket.send(self._held.popleft()[1])

    def _record(self, event: ClientEvent) -> None:
        self._recorder.record(self.name, event)

    def explain(self) -> str:
        """Say for each subscription that is not live what is known about it."""
        session = self._session
        return "; ".join(
            f"{id}: {(isinstance(session, Explains) and session.explain(id)) or 'not live'}"
            for id in self.wanted
            if id not in self.reached
        )
