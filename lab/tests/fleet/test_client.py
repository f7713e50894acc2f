"""Goal: a client records what it is told, comes back, suffers what the weather says, and arrives.

Method: a played server on a loopback socket, and a session whose frames are short words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tidelab.core.driver import Endpoint, Frame, Reply, Wanted
from tidelab.core.history.event import (
    Asserted,
    Claimed,
    ClientEvent,
    Connected,
    Disconnected,
    Received,
    Reset,
    Subscribed,
    Unsubscribed,
)
from tidelab.core.history.history import Journal
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.errors import WireError
from tidelab.fleet.client import Client
from tidelab.fleet.recorder import Recorder
from tidelab.fleet.weather import Weather

SHAPE = Shape("t", ("id",))
WORDS = Subprotocol("words")
Handler = Callable[[ServerConnection], Awaitable[None]]


class Words:
    """A session: `live 5`, `commit 6`, `reset`, `refuse` and `nonsense` are what it understands."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.closes = 0

    def open(self) -> Sequence[Frame]:
        return ["hello"]

    def subscribe(self, wanted: Sequence[Wanted]) -> Sequence[Frame]:
        self.ids += [each.id for each in wanted]
        return [f"subscribe {each.id}" for each in wanted] if self.closes else []

    def unsubscribe(self, id: str) -> Sequence[Frame]:
        self.ids.remove(id)
        return [f"unsubscribe {id}"]

    def receive(self, frame: Frame) -> Reply:
        word, _, rest = str(frame).partition(" ")
        events: tuple[ClientEvent, ...] = ()
        match word:
            case "live":
                self.closes = 1
                events = tuple(Subscribed(id, SHAPE, "copy") for id in self.ids)
                events += (Claimed(Lsn(int(rest)), tuple(self.ids)),)
            case "commit":
                events = (Received(Lsn(int(rest)), ()),)
            case "claim":
                events = (Claimed(Lsn(int(rest))),)
            case "reset":
                events = (Reset("lagged"),)
            case "refuse":
                events = (Unsubscribed(self.ids.pop(0)),)
            case _:
                raise WireError(f"what is {word}?")
        return Reply(events, (f"ack {rest}",))

    def wait(self, lsn: Lsn) -> Sequence[Frame]:
        return [f"wait {lsn}"]

    def close(self) -> None:
        pass

    def explain(self, id: str) -> str:
        return f"why not {id}"


class Stage:
    """A client before a played server; `until` runs it for as long as something is awaited."""

    def __init__(self, handler: Handler, *faults: str, seed: int = 1) -> None:
        self.handler, self.faults, self.seed = handler, faults, seed
        self.journal = Journal([lambda _: self.changed.set()])
        self.changed = asyncio.Event()
        self.moved = asyncio.Event()

    async def until(
        self, condition: Callable[[], object], act: Callable[[Client], None] = lambda _: None
    ) -> Client:
        async with serve(
            self.handler, "127.0.0.1", 0, close_timeout=0.1, subprotocols=[WORDS]
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            client = Client(
                "c",
                Endpoint(f"ws://127.0.0.1:{port}", ("words",)),
                Words(),
                Recorder(self.journal),
                random=Random(self.seed),
                weather=Weather(Random(self.seed), self.faults),
                make_shape=lambda: (SHAPE, True),
                moved=self.moved,
            )
            async with asyncio.TaskGroup() as group, asyncio.timeout(20):
                task = group.create_task(client.run())
                act(client)
                while not condition():
                    self.changed.clear()
                    await self.changed.wait()
                task.cancel()
        return client

    def events(self, *kinds: type) -> list[object]:
        return [record.event for record in self.journal.records if isinstance(record.event, kinds)]


async def drain(socket: ServerConnection, into: list[str]) -> None:
    try:
        async for message in socket:
            into.append(str(message))  # noqa: PERF401 -- what has come counts although the rest fails
    except ConnectionClosed:
        pass


def test_what_is_told_is_recorded_in_order_and_answered() -> None:
    heard: list[str] = []

    async def play(socket: ServerConnection) -> None:
        for word in ("live 5", "commit 6", "claim 7"):
            await socket.send(word)
        await drain(socket, heard)

    async def run() -> None:
        stage = Stage(play)
        client = await stage.until(lambda: Claimed(Lsn(7)) in stage.events(Claimed))
        kinds = [type(record.event) for record in stage.journal.records]
        assert (kinds[0], kinds[-1]) == (Connected, Disconnected)
        assert Disconnected("the run is over", True) in stage.events(Disconnected)
        assert client.commits == 1
        assert set(client.reached.values()) == {7}
        assert client.has_arrived(Lsn(7))
        assert not client.has_arrived(Lsn(8))

    asyncio.run(run())
    assert heard[0] == "hello"


def test_a_client_comes_back_when_the_server_ends_the_connection() -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send("live 5")
        await socket.close()

    async def run() -> None:
        stage = Stage(play)
        client = await stage.until(lambda: len(stage.events(Connected)) == 3)
        assert client.connections == 3
        assert all(not e.is_wanted for e in stage.events(Disconnected)[:2])  # type: ignore[attr-defined]

    asyncio.run(run())


def test_cuts_end_connections_after_so_many_frames() -> None:
    async def play(socket: ServerConnection) -> None:
        try:
            for n in range(2000):
                await socket.send(f"claim {n}")
        except ConnectionClosed:
            pass

    async def run() -> None:
        stage = Stage(play, "cuts")
        await stage.until(lambda: Disconnected("cut") in stage.events(Disconnected))

    asyncio.run(run())


def test_a_half_open_connection_is_left_and_another_one_made() -> None:
    sockets: list[ServerConnection] = []

    async def play(socket: ServerConnection) -> None:
        sockets.append(socket)
        try:
            for n in range(2000):
                await socket.send(f"claim {n}")
            await socket.wait_closed()
        except ConnectionClosed:
            pass

    def is_left() -> bool:
        left = Disconnected("half-open") in stage.events(Disconnected)
        return left and len(sockets) > len(stage.events(Disconnected))

    async def run() -> None:
        await stage.until(is_left)

    stage = Stage(play, "half-open")
    asyncio.run(run())


def test_a_server_that_errs_breaks_an_assertion_and_not_the_run() -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send("nonsense")
        await socket.wait_closed()

    async def run() -> None:
        stage = Stage(play)
        await stage.until(lambda: len(stage.events(Connected)) == 2)
        [asserted, *_] = stage.events(Asserted)
        assert isinstance(asserted, Asserted)
        assert not asserted.holds
        assert "what is nonsense?" in asserted.detail

    asyncio.run(run())


def test_what_the_server_ended_is_asked_for_again_and_explained() -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send("live 5")
        await socket.send("refuse")
        async for message in socket:
            if str(message).startswith("subscribe"):
                await socket.send("claim 8")

    async def run() -> None:
        stage = Stage(play)
        client = await stage.until(lambda: Claimed(Lsn(8)) in stage.events(Claimed))
        first = next(iter(client.wanted))
        assert client.explain() == f"{first}: why not {first}"

    asyncio.run(run())


def test_a_calm_client_asks_for_its_goal_and_arrives() -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send("live 5")
        async for message in socket:
            if str(message) == "wait 9":
                await socket.send("claim 9")

    async def run() -> None:
        stage = Stage(play, "cuts", "slow", "churn")
        client = await stage.until(stage.moved.is_set, lambda client: client.calm(Lsn(9)))
        assert client.reached

    asyncio.run(run())


def test_a_reset_takes_the_position_away() -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send("live 5")
        await socket.send("reset")
        await socket.wait_closed()

    async def run() -> None:
        stage = Stage(play)
        client = await stage.until(lambda: stage.events(Reset))
        assert client.reached == {}

    asyncio.run(run())


def test_nothing_overtakes_an_answer_that_is_held_back() -> None:
    heard: list[str] = []
    clients: list[Client] = []

    async def play(socket: ServerConnection) -> None:
        await socket.send("live 5")
        async for message in socket:
            heard.append(str(message))
            if message == "wait 9":
                await socket.send("claim 9")

    def has_waited() -> bool:
        if stage.events(Claimed):
            clients[0].calm(Lsn(9))
        return Claimed(Lsn(9)) in stage.events(Claimed)

    async def run() -> None:
        await stage.until(has_waited, clients.append)

    # A seed that holds back for twenty frames, and pauses after each.
    stage = Stage(play, "late-acks", "slow", seed=354)
    asyncio.run(run())
    assert heard[:3] == ["hello", "ack 5", "wait 9"]


def test_who_is_sent_away_comes_back_when_called() -> None:
    clients: list[Client] = []

    async def play(socket: ServerConnection) -> None:
        await socket.send("live 5")
        await socket.wait_closed()

    def is_back() -> bool:
        if stage.events(Claimed) and not stage.events(Disconnected):
            clients[0].leave()
        if Disconnected("away") in stage.events(Disconnected):
            assert clients[0].is_connected is (len(stage.events(Connected)) == 2)
            clients[0].come_back()
        return len(stage.events(Connected)) == 2

    async def run() -> None:
        await stage.until(is_back, clients.append)

    stage = Stage(play)
    asyncio.run(run())


def test_a_stirred_client_asks_for_more_or_gives_something_up() -> None:
    async def play(socket: ServerConnection) -> None:
        await socket.send("live 5")
        async for message in socket:
            if str(message).startswith(("subscribe", "unsubscribe")):
                await socket.send("claim 8")

    async def run() -> None:
        stage = Stage(play)
        has_churned = Claimed(Lsn(8))
        await stage.until(
            lambda: has_churned in stage.events(Claimed), lambda client: client.stir()
        )

    asyncio.run(run())
