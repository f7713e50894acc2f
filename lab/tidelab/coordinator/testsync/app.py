"""HTTP of both ports: two small ASGI applications around the routes of the core."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tidelab.coordinator.listener import Receive, Scope, Send
from tidelab.coordinator.testsync.metrics import Tally
from tidelab.coordinator.testsync.storage import Storage
from tidelab.core.coord.testsync import answer
from tidelab.core.coord.testsync.answer import Answer
from tidelab.core.coord.testsync.credentials import Credentials
from tidelab.core.coord.testsync.limits import POST_BYTES_MAX, REQUEST_S
from tidelab.core.coord.testsync.routes import (
    Create,
    Read,
    Register,
    Request,
    route_agents,
    route_data,
)
from tidelab.errors import StorageError

_log = logging.getLogger("tidelab.testsync")


class DataApp:
    """The HTTP port: data of tests."""

    def __init__(
        self, credentials: Credentials, storage: Storage, tally: Tally, now_ms: Callable[[], int]
    ) -> None:
        self._credentials = credentials
        self._storage = storage
        self._tally = tally
        self._now_ms = now_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            async with asyncio.timeout(REQUEST_S):
                reply = await self._answer(_request(scope), receive)
        except TimeoutError:
            reply = answer.TIMED_OUT
        except ConnectionResetError:
            return  # a part of a body is no body
        await _send(scope, send, reply, self._tally)

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        route = route_data(request, self._credentials)
        match route:
            case Create(test_id):
                return await self._create(test_id, receive)
            case Read(test_id):
                return await self._read(test_id)
            case Answer():
                return route

    async def _create(self, test_id: int, receive: Receive) -> Answer:
        body = await _receive_body(receive)
        if body is None:
            return answer.TOO_LARGE
        try:
            is_new = await self._storage.create(test_id, body, self._now_ms())
        except StorageError as error:
            _log.error("test %d: data not stored: %s", test_id, error)
            return answer.CANNOT_STORE
        if not is_new:
            return answer.HAS_DATA
        self._tally.data_writes += 1
        return answer.data(body)

    async def _read(self, test_id: int) -> Answer:
        try:
            data = await self._storage.read(test_id)
        except StorageError as error:
            _log.error("test %d: data not read: %s", test_id, error)
            return answer.CANNOT_READ
        return answer.NO_SUCH_TEST if data is None else answer.data(data)


class AgentsApp:
    """The WebSocket port, for requests that do not ask for a WebSocket."""

    def __init__(self, credentials: Credentials, tally: Tally) -> None:
        self._credentials = credentials
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        route = route_agents(_request(scope), self._credentials)
        reply = answer.NO_HANDSHAKE if isinstance(route, Register) else route
        await _send(scope, send, reply, self._tally)


def _request(scope: Scope) -> Request:
    authorization = next((v for k, v in scope["headers"] if k == b"authorization"), None)
    return Request(
        scope["method"],
        scope["path"],
        scope["query_string"].decode("latin-1"),
        None if authorization is None else authorization.decode("latin-1"),
    )


async def _receive_body(receive: Receive) -> bytes | None:
    """Return the whole body, or nothing if it is too large.

    What is too much is read all the same, and dropped: a client that is cut while it sends would
    not see our answer.
    """
    parts: list[bytes] = []
    size, is_more = 0, True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        size += len(message["body"])
        if size <= POST_BYTES_MAX:
            parts.append(message["body"])
        is_more = message["more_body"]
    return b"".join(parts) if size <= POST_BYTES_MAX else None


async def _send(scope: Scope, send: Send, reply: Answer, tally: Tally) -> None:
    if reply.status >= 400:
        tally.refused[reply.status] += 1
    headers = [
        (name.lower().encode(), value.encode("latin-1"))
        for name, value in reply.headers_for(scope["method"])
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
