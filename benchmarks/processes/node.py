"""A node without PostgreSQL: our hub and our sockets, and transactions made up as pgoutput bytes.

Everything between the assembler and the kernel is the engine's own: `Assembler`, `Hub`, `Listener`,
`Connection`. Only the walsender and the catalog are played here. Events go out as fast as the
sockets take them: the next waits while anybody's window is nearly full, so that every delivery is a
live one, and how often somebody fell behind all the same is told.

stdout: "PORT PAYLOAD_BYTES"; stdin and answers as in `native/sender.c`, but that "stop" is answered
with "EVENTS STALLS SECONDS_OF_CPU".
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import time
from collections.abc import Callable

from benchmarks.measure import run
from engine.tests.core import pgoutput
from tidewire import limits
from tidewire.config import Config
from tidewire.core.encoder import Encoder
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import LSN_ZERO, Lsn
from tidewire.core.model.transaction import Transaction
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.core.wal.assembler import Assembler
from tidewire.server.admission import Admission
from tidewire.server.app import App
from tidewire.server.auth import Tokens
from tidewire.server.listener import Listener
from tidewire.server.sockets import write_to_all
from tidewire.spool.file import FileSpool
from tidewire.telemetry import Metrics

TABLE, INT8, TEXT = 16400, 20, 25
EVENT_BYTES = 200
FIRST_LSN, LSN_STEP = 0x1000000, 0x100
# How often the windows are looked at, and what must be free in each to go on.
LOOK_EVERY_BYTES = limits.WINDOW_BYTES // 16
ROOM_BYTES = limits.WINDOW_BYTES // 8
SPEC = ShapeSpec(
    relation_oid=TABLE,
    schema="public",
    table="ticks",
    columns=(ShapeColumn("id", "int8"), ShapeColumn("body", "text")),
    key=("id",),
)


class Source:
    """Transactions of one insert each, through the real assembler."""

    def __init__(self) -> None:
        self._assembler = Assembler(FileSpool())
        columns = (("id", INT8, True), ("body", TEXT, False))
        self._assembler.feed([pgoutput.relation(TABLE, "public", "ticks", columns)])
        self._number = 0
        self.padding = b""

    def take(self, count: int) -> list[Transaction]:
        """Make the next transactions."""
        messages = []
        for number in range(self._number + 1, self._number + count + 1):
            row = pgoutput.insert(TABLE, (b"%d" % (10_000_000 + number), self.padding))
            lsn = FIRST_LSN + number * LSN_STEP
            messages += pgoutput.transaction_messages(lsn, [row], xid=1_000_000 + number)
        self._number += count
        return self._assembler.feed(messages)


def _hub(schedule: Callable[[], None]) -> Hub:
    """Make a hub that nothing is copied for."""
    return Hub(
        FileSpool(),
        schedule=schedule,
        copy=lambda copy, spec: None,
        nudge=lambda position: None,
        write_to_all=write_to_all,
        name="bench",
    )


class BareNode:
    """What `Connection` asks of a node, as the engine does it; every table is `ticks`."""

    def __init__(self) -> None:
        config = Config(database_url="postgresql://unused", dev=True, listen="127.0.0.1:0")
        self.admission = Admission(config)
        self.tokens = Tokens((), is_open=True)
        self.metrics = Metrics()
        self.hub = _hub(self._schedule)
        self.hub.restart("bench", Lsn(FIRST_LSN - 1))
        self.stalls = 0
        app = App(
            self.admission, self.tokens, is_ready=lambda: True, status=dict, metrics=lambda: b""
        )
        self.listener = Listener(config, app, self)

    def count_sessions(self) -> int:
        """Count the connections that are open now."""
        return len(self.hub.sessions)

    def open_session(
        self,
        *,
        flush: Callable[[], None],
        send_ping: Callable[[], None],
        abort: Callable[[str], None],
        is_authenticated: bool,
    ) -> ServerSession:
        """Begin a session."""
        session = ServerSession(
            f"session-{len(self.hub.sessions)}",
            asyncio.get_running_loop().time(),
            flush=flush,
            send_ping=send_ping,
            abort=abort,
            authenticate=self.tokens.admit,
            is_authenticated=is_authenticated,
        )
        self.hub.open(session)
        return session

    def receive(self, session: ServerSession, payload: bytes) -> None:
        """Take a frame, and let every subscription have the one shape there is."""
        asked = self.hub.receive(session, payload, asyncio.get_running_loop().time())
        self.hub.join(session, [(request, SPEC) for request in asked])

    def stall(self, session: ServerSession, is_blocked: bool) -> None:
        """Note that a socket is full, or free again."""
        self.stalls += is_blocked
        self.hub.stall(session, is_blocked, asyncio.get_running_loop().time())

    def leave(self, session: ServerSession) -> None:
        """Forget a session."""
        self.hub.leave(session)

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_soon(self.hub.turn)

    # --- the load ---

    @property
    def has_room(self) -> bool:
        """Tell whether everybody is live and takes more."""
        for session in self.hub.sessions:
            outbox = session.outbox
            if outbox.limit - outbox.sent < ROOM_BYTES or not session.is_live:
                return False
        return True


class Publisher:
    """Deliver events while told to."""

    def __init__(self, node: BareNode, source: Source, event_bytes: int) -> None:
        self._node = node
        self._source = source
        self._event_bytes = event_bytes
        self._batch = 0
        self._is_woken = asyncio.Event()
        self.events = 0

    async def run(self) -> None:
        """Deliver batch after batch; each "go" and "stop" is answered when it holds."""
        while True:
            await self._is_woken.wait()
            self._is_woken.clear()
            if not self._batch:
                continue
            print(self.events, flush=True)
            await self._publish()
            cpu = resource.getrusage(resource.RUSAGE_SELF)
            print(self.events, self._node.stalls, cpu.ru_utime + cpu.ru_stime, flush=True)

    async def _publish(self) -> None:
        since_look, deliver = 0, self._node.hub.deliver
        while self._batch:
            deliver(self._source.take(self._batch), time.monotonic())
            self.events += self._batch
            since_look += self._batch * self._event_bytes
            # The engine yields in the same way between two drains of the replication socket.
            await asyncio.sleep(0)
            if since_look >= LOOK_EVERY_BYTES:
                since_look = 0
                # Nobody tells us that a window has opened: the hub needs no such event.
                while not self._node.has_room:  # noqa: ASYNC110
                    await asyncio.sleep(0.0005)

    def obey(self, line: str) -> None:
        """Take "go N" or "stop"."""
        word, *numbers = line.split()
        self._batch = int(numbers[0]) if word == "go" else 0
        self._is_woken.set()


async def main() -> None:
    node, source = BareNode(), Source()
    event_bytes = await fit(source)
    publisher = Publisher(node, source, event_bytes)
    is_over = asyncio.Event()

    def hear() -> None:
        line = os.read(sys.stdin.fileno(), 64).decode()
        if line:
            publisher.obey(line)
        else:
            is_over.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(node.listener.run_until_stopped())
        work = [tasks.create_task(publisher.run()), tasks.create_task(watch(node.hub))]
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), hear)
        gc.collect()
        gc.freeze()  # as `tidewire serve` does
        print(node.listener.port, event_bytes, flush=True)
        await is_over.wait()
        for task in work:
            task.cancel()
        # Nobody waits for this process: no closing handshakes with a thousand clients.
        os._exit(0)


async def fit(source: Source) -> int:
    """Choose the padding so that the payload of an event has the bytes wanted."""
    hub = _hub(lambda: None)
    hub.restart("bench", LSN_ZERO)
    shapes = frozenset({hub.index.acquire(SPEC).id})

    def payload_bytes() -> int:
        frame = Encoder(hub.index, FileSpool()).encode(source.take(1)[0]).frame(shapes)
        assert frame is not None
        return len(frame) - (2 if len(frame) < 128 else 4)

    source.padding = b"x" * (EVENT_BYTES - payload_bytes())
    return payload_bytes()


async def watch(hub: Hub) -> None:
    """Do what the engine does once a second."""
    while True:
        await asyncio.sleep(limits.PROGRESS_S)
        hub.tick(asyncio.get_running_loop().time())


if __name__ == "__main__":
    run(main)
