"""A test kit for copies that meet the log: held copies, watched clients, a raw client, a cutter."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

import tidewire
from engine.tests.integration.live import Live
from tidewire import Client, Subscription, limits
from tidewire.core.parts import CommitParts
from tidewire.core.shape.shape import ShapeSpec
from tidewire.core.wal.assembler import Assembler
from tidewire.postgres.snapshot import TableSnapshot

Message = dict[str, Any]
PARTS = dict(CommitParts.__init__.__kwdefaults__ or {})
# For what does not depend on the version of the server.
only_newest = pytest.mark.parametrize("server", ["wheel"], indirect=True)
only_newest_own = pytest.mark.parametrize("own_server", ["wheel"], indirect=True)


# --- the engine, slowed down and made small ---


class Gate:
    """A place where the copies of tables wait, each for the test to say its name."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self._open: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def enter(self, name: str) -> None:
        self.arrived.append(name)
        await self._open[name].wait()

    def open(self, *names: str) -> None:
        """Let these tables through, from now on."""
        for name in names:
            self._open[name].set()


def hold_rows(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold each copy where its snapshot was taken, and nothing was read yet."""
    gate, original = Gate(), TableSnapshot.chunks

    async def chunks(self: TableSnapshot) -> AsyncIterator[bytes]:
        await gate.enter(self._spec.table)
        async for rows in original(self):
            yield rows

    monkeypatch.setattr(TableSnapshot, "chunks", chunks)
    return gate


def hold_snapshots(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold each copy where its table was looked up, and nothing is locked yet."""
    gate, original = Gate(), TableSnapshot.open

    async def open(url: str, spec: ShapeSpec) -> TableSnapshot:
        await gate.enter(spec.table)
        return await original(url, spec)

    monkeypatch.setattr(TableSnapshot, "open", open)
    return gate


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a few rows more than a chunk, a part, and what a transaction may take of memory."""
    monkeypatch.setattr(limits, "CHUNK_BYTES", 500)
    monkeypatch.setattr(limits, "COMMIT_PART_BYTES", 2_000)
    monkeypatch.setattr(CommitParts.__init__, "__kwdefaults__", PARTS | {"part_bytes_max": 2_000})
    monkeypatch.setattr(Assembler.__init__, "__defaults__", (8_000,))


# --- clients ---


class Watched(Client):
    """A client that calls `look` after every message: nothing that is visible goes unseen."""

    def __init__(self, url: str, look: Callable[[], object] = lambda: None) -> None:
        super().__init__(url)
        self.look = look
        self.kinds: list[str] = []
        """What has come, by type."""

    def _take(self, message: bytes) -> None:
        super()._take(message)
        self.kinds.append(json.loads(message)["type"])
        self.look()


def as_table(name: str) -> sql.Identifier:
    schema, _, table = name.partition(".")
    return sql.Identifier(schema, table)


async def compare(live: Live, client: Client, *subscriptions: Subscription[Any]) -> None:
    """Wait until all that was written is there; then the rows are those that a SELECT finds."""
    async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
        # A commit flushes the log: reading alone writes to it, too.
        await connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")
        await client.wait_for(await tidewire.position(connection), timeout_s=20)
        for subscription in subscriptions:
            assert subscription.is_live
            names = [name for name, _ in subscription.columns]
            where = subscription.shape.where or "true"
            query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
                sql.SQL(", ").join(map(sql.Identifier, names)),
                as_table(subscription.table),
                sql.SQL(where),
            )
            cursor = await connection.execute(query)
            found = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
            key = subscription.key
            assert len(subscription.rows) == len(found), subscription.table
            assert subscription.rows == {
                row[key[0]] if len(key) == 1 else tuple(row[name] for name in key): row
                for row in found
            }, subscription.table


class Wire:
    """A client that reads the frames themselves, and acknowledges them."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.counted = 0
        self.fingerprint = ""
        """Of the table that was subscribed to last."""

    async def say(self, type: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def text(self) -> str:
        """Read one message as it came."""
        text = str(await self.socket.recv())
        if json.loads(text)["type"] in ("snapshot", "commit"):
            self.counted += 1
            await self.say("ack", n=self.counted)
        return text

    async def message(self) -> Message:
        message: Message = json.loads(await self.text())
        self.fingerprint = message.get("fingerprint", self.fingerprint)
        return message

    def place(self, epoch: str, told: Message) -> Message:
        """Return what goes on, in another request, from where this message was told."""
        start = {"epoch": epoch, "lsn": told["lsn"], "tag": told["tag"]}
        return {"from": start, "fingerprint": self.fingerprint}

    async def until(self, type: str) -> list[Message]:
        """Read up to a message of a type, and return them all."""
        found = [await self.message()]
        while found[-1]["type"] != type:
            assert found[-1]["type"] != "error", found[-1]
            found.append(await self.message())
        return found

    async def subscribe(self, **shape: object) -> list[Message]:
        """Ask for one shape, and read until it is live."""
        shape = {"id": "1", **shape}
        await self.say("subscribe", shapes=[shape])
        found = await self.until("up_to_date")
        while shape["id"] not in found[-1].get("live", []):
            found += await self.until("up_to_date")
        return found

    async def error(self, type: str, **fields: object) -> Message:
        """Say something wrong; return the answer."""
        await self.say(type, **fields)
        return await self.until_error()

    async def until_error(self) -> Message:
        while (message := await self.message())["type"] != "error":
            pass
        return message

    async def changes(self) -> list[list[Any]]:
        """Read one commit of one shape."""
        (*_, commit) = await self.until("commit")
        (part,) = commit["parts"]
        changes: list[list[Any]] = part["changes"]
        return changes


@contextlib.asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """Connect a raw client, welcomed."""
    async with connect(
        url, subprotocols=[Subprotocol("tidewire.v1")], max_size=None, compression=None
    ) as socket:
        raw = Wire(socket)
        await raw.say("hello", client="raw")
        await raw.until("welcome")
        try:
            yield raw
        finally:
            socket.transport.abort()  # one that does not read would not see the close, either


# --- the network ---


class Cutter:
    """A proxy that ends each connection behind so many of the server's messages."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self.url = ""
        self.budgets: Iterator[int] = iter(())
        """For each connection to come; without one it is not cut."""
        self.passed: list[int] = []
        """Messages that came through, by connection."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.passed.append(0)
        number, budget = len(self.passed) - 1, next(self.budgets, None)
        try:
            async with asyncio.TaskGroup() as tasks:
                upward = tasks.create_task(self._upward(reader, server_writer))
                await self._downward(server_reader, writer, number, budget)
                upward.cancel()
        finally:
            writer.close()  # not aborted: the last message arrives
            server_writer.transport.abort()
            for each in (writer, server_writer):
                with contextlib.suppress(ConnectionError):
                    await each.wait_closed()

    async def _upward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _downward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
        budget: int | None,
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            while budget is None or self.passed[number] < budget:
                first, frame = await _frame(reader)
                writer.write(frame)
                self.passed[number] += first & 0x0F == 1
                await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(2)
    size = head[1] & 0x7F
    if size >= 126:
        long = await reader.readexactly(2 if size == 126 else 8)
        head, size = head + long, int.from_bytes(long)
    return head[0], head + await reader.readexactly(size)


@contextlib.asynccontextmanager
async def cutter(url: str) -> AsyncIterator[Cutter]:
    """Run a proxy before an engine until the block is left."""
    proxy = Cutter(url)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        proxy.url = f"ws://127.0.0.1:{port}{urlsplit(url).path}"
        yield proxy


# --- databases ---


async def script(live: Live, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    async with await psycopg.AsyncConnection.connect(live.url, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


async def together(live: Live, statements: Iterable[str]) -> None:
    """Run statements in one transaction."""
    async with await psycopg.AsyncConnection.connect(live.url) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


@contextlib.asynccontextmanager
async def as_role(live: Live, *statements: str) -> AsyncIterator[Live]:
    """Make a role, which may replicate and publish and nothing else, and be it."""
    role, database = f"r_{secrets.token_hex(4)}", live.url.rpartition("/")[2]
    try:
        await script(
            live,
            f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{role}'",
            f'GRANT CREATE ON DATABASE "{database}" TO {role}',
            *(statement.replace("ROLE", role) for statement in statements),
        )
        host = urlsplit(live.url).netloc.rpartition("@")[2]
        yield Live(f"postgresql://{role}:{role}@{host}/{database}")
    finally:
        await script(live, f"REASSIGN OWNED BY {role} TO CURRENT_USER", f"DROP OWNED BY {role}")
        await script(live, f"DROP ROLE {role}")
