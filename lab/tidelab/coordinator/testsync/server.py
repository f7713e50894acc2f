"""A whole TestSync server: the composition root of this folder.

Everything that runs belongs to one TaskGroup: two listeners, the cleaning, and one conversation for
each agent. State changes only inside one synchronous call of the core.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from websockets.frames import Frame, Opcode

from tidelab.coordinator.testsync.app import AgentsApp, Application, DataApp, beside
from tidelab.coordinator.testsync.connection import Connection
from tidelab.coordinator.testsync.listener import Listener, bind
from tidelab.coordinator.testsync.storage import MemoryStorage, SqliteStorage, Storage
from tidelab.core.coord.testsync import frame
from tidelab.core.coord.testsync.configuration import Configuration
from tidelab.core.coord.testsync.credentials import Credentials
from tidelab.core.coord.testsync.meeting import Agent
from tidelab.core.coord.testsync.meetings import Hang, KeepData, Meetings, SendData, Tell
from tidelab.errors import StorageError

SOCKETS_OF_ASGI = "websockets-sansio"  # uvicorn's own, for what is mounted beside us
_INTERNAL_ERROR = 1011
_log = logging.getLogger("tidelab.testsync")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens."""

    http_url: str
    ws_url: str


@contextlib.asynccontextmanager
async def serving(
    configuration: Configuration, *, v2: Application | None = None
) -> AsyncIterator[Addresses]:
    """Serve old clients for as long as the context lasts; close all connections at its end.

    `v2` is an ASGI application that gets all of `/v2` on the HTTP port, sockets included.

    Raises:
        ConfigurationError: a port is in use, or the storage cannot be opened.
    """
    with contextlib.ExitStack() as held:
        storage = held.enter_context(contextlib.closing(_open_storage(configuration)))
        http_socket = held.enter_context(bind(configuration.host, configuration.http_port))
        ws_socket = held.enter_context(bind(configuration.host, configuration.ws_port))
        async with asyncio.TaskGroup() as tasks:
            desk = AgentsDesk(configuration.credentials, storage, tasks)
            data_app = DataApp(configuration.credentials, storage, now_ms)
            http = (
                Listener(http_socket, data_app)
                if v2 is None
                else Listener(http_socket, beside(data_app, "/v2", v2), websocket=SOCKETS_OF_ASGI)
            )
            ws = Listener(
                ws_socket,
                AgentsApp(configuration.credentials),
                websocket=functools.partial(Connection, desk),
            )
            for listener in (http, ws):
                tasks.create_task(listener.run_until_stopped())
            cleaning = tasks.create_task(desk.clean())
            try:
                yield Addresses(
                    f"http://{_authority(http_socket)}", f"ws://{_authority(ws_socket)}"
                )
            finally:
                cleaning.cancel()
                http.should_exit = ws.should_exit = True


class AgentsDesk:
    """Where agents come in: each gets a conversation, in which its messages become deeds."""

    def __init__(
        self, credentials: Credentials, storage: Storage, tasks: asyncio.TaskGroup
    ) -> None:
        self.credentials = credentials
        self._storage = storage
        self._tasks = tasks
        self._meetings = Meetings(now_ms())
        self._connections: dict[Agent, Connection] = {}

    def register(self, test_id: int, connection: Connection) -> Agent:
        """Take an agent in, and begin to converse with it."""
        agent = self._meetings.register(test_id)
        self._connections[agent] = connection
        self._tasks.create_task(self._converse(agent, connection))
        _log.info("test %d: an agent came", test_id)
        return agent

    def leave(self, agent: Agent) -> None:
        """Forget an agent that is gone."""
        if self._connections.pop(agent, None) is not None:
            self._meetings.leave(agent, now_ms())
            _log.info("test %d: an agent left", agent.meeting.test_id)

    async def clean(self) -> None:
        """Forget from time to time what nobody has used for long."""
        while True:
            await asyncio.sleep(max(0, self._meetings.next_deadline() - now_ms()) / 1000)
            old = self._meetings.clean(now_ms())
            try:
                await self._storage.forget(old.before_ms, old.but_of)
            except StorageError as error:
                _log.error("old data not removed: %s", error)

    async def _converse(self, agent: Agent, connection: Connection) -> None:
        try:
            while (message := await connection.next_message()) is not None:
                await self._obey(agent, connection, message)
        except Exception:  # noqa: BLE001 - a bug in one conversation must not end all the others
            _log.exception("test %d: a conversation broke down", agent.meeting.test_id)
            connection.close(_INTERNAL_ERROR, "internal error")

    async def _obey(self, agent: Agent, connection: Connection, message: bytes) -> None:
        deed = self._meetings.receive(agent, message, now_ms())
        match deed:
            case None:
                pass
            case Tell(agents, text):
                self._tell(agents, text)
            case SendData() | KeepData():
                await self._handle_data(connection, deed)
            case Hang():
                connection.close()
            case _:
                assert_never(deed)

    def _tell(self, agents: Iterable[Agent], text: bytes) -> None:
        data = Frame(Opcode.TEXT, text).serialize(mask=False)
        for agent in agents:
            if connection := self._connections.get(agent):
                connection.send(data)

    async def _handle_data(self, connection: Connection, deed: SendData | KeepData) -> None:
        try:
            match deed:
                case SendData(test_id):
                    data = await self._storage.read(test_id)
                    connection.send(Frame(Opcode.BINARY, data or b"").serialize(mask=False))
                case KeepData(test_id, content):
                    await self._storage.keep(test_id, content, now_ms())
        except StorageError as error:
            _log.error("test %d: %s", deed.test_id, error)
            text = frame.error(500, str(error))
            connection.send(Frame(Opcode.TEXT, text).serialize(mask=False))


def now_ms() -> int:
    """Return the time by which agents of several machines start together."""
    return time.time_ns() // 1_000_000


def _open_storage(configuration: Configuration) -> Storage:
    if configuration.sqlite_path is None:
        return MemoryStorage()
    return SqliteStorage(Path(configuration.sqlite_path))


def _authority(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
