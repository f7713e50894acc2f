"""Where old clients come in: each gets a conversation, in which its messages become deeds.

The rule: an agent's messages are obeyed one after the other, and state changes only inside one
synchronous call of the core.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import assert_never
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake
from websockets.http11 import Response

from tidelab.coordinator.connection import Connection, Manners
from tidelab.coordinator.metrics import Family
from tidelab.coordinator.testsync.metrics import Tally, families
from tidelab.coordinator.testsync.storage import Storage
from tidelab.core.coord.testsync import answer
from tidelab.core.coord.testsync import frame as text_of
from tidelab.core.coord.testsync.answer import Answer
from tidelab.core.coord.testsync.credentials import Credentials
from tidelab.core.coord.testsync.limits import GONE_S, MESSAGE_BYTES_MAX, PING_S, UNSENT_BYTES_MAX
from tidelab.core.coord.testsync.meeting import Agent
from tidelab.core.coord.testsync.meetings import Hang, KeepData, Meetings, SendData, Tell
from tidelab.core.coord.testsync.routes import Request, route_agents
from tidelab.core.coord.websocket import Opcode, frame, head
from tidelab.errors import RefusedError, StorageError

_log = logging.getLogger("tidelab.testsync")


class AgentsDesk:
    """All agents of old clients."""

    def __init__(self, credentials: Credentials, storage: Storage) -> None:
        self.credentials = credentials
        self.manners = Manners(
            message_bytes_max=MESSAGE_BYTES_MAX,
            unsent_bytes_max=UNSENT_BYTES_MAX,
            cuts_slow=False,
            ping=frame(Opcode.PING, b"ping"),
            ping_s=PING_S,
            checks_text=False,  # the original takes it for JSON that is wrong
            minds_silence=False,
            gone_s=GONE_S,
            stop=(1001, "the server stops"),
            subprotocol=None,  # the original chooses none
        )
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
        """Let `run` return when the last data are stored."""
        self._stopped.set()

    def measure(self) -> list[Family]:
        """Count what is there, and what has been since the start."""
        return families(self._meetings.counts(), self.tally)

    def open(
        self, request: Handshake, accepted: Response, connection: Connection
    ) -> Conversation | bytes:
        """Let an agent in, or refuse it."""
        route = route_agents(_request(request), self.credentials)
        if isinstance(route, Answer):
            return self._refuse(route, request.method)
        if accepted.status_code != 101:
            return self._refuse(answer.NO_HANDSHAKE, request.method)
        try:
            agent = self._meetings.register(route.test_id)
        except RefusedError as refused:
            return self._refuse(answer.error(refused.code, str(refused)), "GET")
        self._connections[agent] = connection
        _log.info("test %d: an agent came", route.test_id)
        return Conversation(self, agent, connection)

    def refuse_garbage(self) -> bytes:
        """Answer what is no handshake."""
        return self._refuse(answer.NO_HANDSHAKE, "GET")

    def _refuse(self, reply: Answer, method: str) -> bytes:
        if reply.status >= 400:
            self.tally.refused[reply.status] += 1
        return _refusal(reply, method)

    def leave(self, agent: Agent) -> None:
        """Forget an agent that is gone."""
        del self._connections[agent]
        self._meetings.leave(agent, now_ms())
        _log.info("test %d: an agent left", agent.meeting.test_id)

    def obey(self, agent: Agent, connection: Connection, message: bytes) -> None:
        """Do what an agent asks for; what takes time holds the agent's next message back."""
        deed = self._meetings.receive(agent, message, now_ms())
        match deed:
            case None:
                pass
            case Tell(agents, text):
                self._tell(agents, text)
            case SendData() | KeepData():
                connection.hold()
                self._tasks.create_task(self._handle_data(connection, deed))
            case Hang():
                connection.close()
            case _:
                assert_never(deed)

    async def _clean(self) -> None:
        """Forget from time to time what nobody has used for long."""
        while True:
            await asyncio.sleep(max(0, self._meetings.next_deadline() - now_ms()) / 1000)
            old = self._meetings.clean(now_ms())
            try:
                await self._storage.forget(old.before_ms, old.but_of)
            except StorageError as error:
                _log.error("old data not removed: %s", error)

    def _tell(self, agents: Iterable[Agent], text: bytes) -> None:
        data = frame(Opcode.TEXT, text)
        for agent in agents:
            if connection := self._connections.get(agent):
                connection.send(data)

    async def _handle_data(self, connection: Connection, deed: SendData | KeepData) -> None:
        try:
            match deed:
                case SendData(test_id):
                    data = await self._storage.read(test_id) or b""
                    connection.send(head(Opcode.BINARY, len(data)))
                    connection.send(data)  # apart, because it is not copied so
                case KeepData(test_id, content):
                    await self._storage.keep(test_id, content, now_ms())
                    self.tally.data_writes += 1
        except StorageError as error:
            _log.error("test %d: %s", deed.test_id, error)
            self.tally.refused[500] += 1
            connection.put(text_of.error(500, str(error)))
        except Exception:  # noqa: BLE001 - a bug in one conversation must not end all the others
            connection.break_down()
        connection.go_on()


class Conversation:
    """One agent that was let in."""

    __slots__ = ("_agent", "_connection", "_desk")

    def __init__(self, desk: AgentsDesk, agent: Agent, connection: Connection) -> None:
        self._desk, self._agent, self._connection = desk, agent, connection

    def receive(self, message: bytes) -> None:
        """Obey the agent."""
        self._desk.obey(self._agent, self._connection, message)

    def leave(self) -> None:
        """Count the agent no longer."""
        self._desk.leave(self._agent)


def _request(handshake: Handshake) -> Request:
    path, _, query = handshake.path.partition("?")
    authorization = handshake.headers.get_all("Authorization")
    return Request(
        handshake.method, unquote(path), query, authorization[0] if authorization else None
    )


def _refusal(reply: Answer, method: str) -> bytes:
    headers = Headers([*reply.headers_for(method), ("Connection", "close")])
    body = b"" if method == "HEAD" else reply.body
    return Response(reply.status, HTTPStatus(reply.status).phrase, headers, body).serialize()


def now_ms() -> int:
    """Return the time by which agents of several machines start together."""
    return time.time_ns() // 1_000_000
