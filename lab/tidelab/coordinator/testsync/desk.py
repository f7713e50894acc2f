"""Where old clients come in: each gets a conversation, in which its messages become deeds.

The rule: state changes only inside one synchronous call of the core.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import assert_never

from websockets.frames import Frame, Opcode

from tidelab.coordinator.metrics import Family
from tidelab.coordinator.testsync.connection import Connection
from tidelab.coordinator.testsync.metrics import Tally, families
from tidelab.coordinator.testsync.storage import Storage
from tidelab.core.coord.testsync import frame
from tidelab.core.coord.testsync.credentials import Credentials
from tidelab.core.coord.testsync.meeting import Agent
from tidelab.core.coord.testsync.meetings import Hang, KeepData, Meetings, SendData, Tell
from tidelab.errors import StorageError

_INTERNAL_ERROR = 1011
_log = logging.getLogger("tidelab.testsync")


class AgentsDesk:
    """All agents of old clients."""

    def __init__(self, credentials: Credentials, storage: Storage) -> None:
        self.credentials = credentials
        self._storage = storage
        self._tasks = asyncio.TaskGroup()
        self._stopped = asyncio.Event()
        self._meetings = Meetings(now_ms())
        self._connections: dict[Agent, Connection] = {}
        self.tally = Tally(self._meetings.refused)

    async def run(self) -> None:
        """Converse with whoever comes, until `stop`."""
        async with self._tasks as tasks:
            cleaning = tasks.create_task(self._clean())
            await self._stopped.wait()
            cleaning.cancel()

    def stop(self) -> None:
        """Let `run` return when all conversations have ended."""
        self._stopped.set()

    def measure(self) -> list[Family]:
        """Count what is there, and what has been since the start."""
        return families(self._meetings.counts(), self.tally)

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

    async def _clean(self) -> None:
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
                    self.tally.data_writes += 1
        except StorageError as error:
            _log.error("test %d: %s", deed.test_id, error)
            self.tally.refused[500] += 1
            text = frame.error(500, str(error))
            connection.send(Frame(Opcode.TEXT, text).serialize(mask=False))


def now_ms() -> int:
    """Return the time by which agents of several machines start together."""
    return time.time_ns() // 1_000_000
