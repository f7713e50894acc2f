"""The Python client: `async with Client(url) as client`.

One task owns the socket: it connects, feeds the session, hands commits to the subscriptions and
comes back after every failure, where it left off. Consumers read bounded queues; one that is too
slow is told how much it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from tidewire import limits
from tidewire.core.model.lsn import format_lsn
from tidewire.core.protocol.codes import CLOSE_BY_NUMBER, ERRORS
from tidewire.core.session.client import (
    ClientSession,
    Committed,
    Event,
    Joined,
    Opened,
    Progressed,
    Refused,
    RowChange,
    WasReset,
)
from tidewire.errors import Disconnected, Lagged, ProtocolError, SyncError

_log = logging.getLogger("tidewire.client")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction of the database, as far as one subscription sees it."""

    lsn: str
    """Where it ends in the write-ahead log."""
    at: datetime
    """When it was committed, by the database's clock."""
    xid: int
    changes: list[RowChange]


class Subscription:
    """One table that a client follows; made by `Client.subscribe`."""

    def __init__(self, id: str, table: str) -> None:
        self.id = id
        self.table = table
        """Its full name, as schema.table, once the server has accepted it."""
        self.columns: tuple[tuple[str, str], ...] = ()
        """Name and type of each column."""
        self.key: tuple[str, ...] = ()
        """The columns that tell rows apart."""
        self.resets = 0
        """How often the server could not continue where this client left off."""
        self._waiting: deque[Commit | SyncError] = deque()
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        self._joined = asyncio.Event()

    async def commits(self) -> AsyncIterator[Commit]:
        """Yield commit after commit, in the order of the database.

        Raises SyncError where commits are missing: Lagged when this consumer was too slow, others
        when the server could not continue where the client left off. Call `commits` again to read
        on behind the gap. Raises Disconnected when the client gave up.
        """
        while True:
            if self._waiting:
                found = self._waiting.popleft()
                if isinstance(found, SyncError):
                    raise found
                yield found
                continue
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()

    async def joined(self) -> None:
        """Wait until the server has accepted the subscription.

        Raises SyncError when it refused, Disconnected when the client gave up.
        """
        await self._joined.wait()
        if self._error is not None:
            raise self._error

    def _take(self, commit: Commit) -> None:
        if len(self._waiting) >= limits.CLIENT_COMMITS:
            # Nothing is dropped silently: the consumer learns how many are missing.
            missed = sum(w.missed if isinstance(w, Lagged) else 1 for w in self._waiting)
            self._waiting.clear()
            self._waiting.append(Lagged(missed))
        self._waiting.append(commit)
        self._changed.set()

    def _interrupt(self, reason: str) -> None:
        self.resets += 1
        self._waiting.append(SyncError(reason, ERRORS[reason].text if reason in ERRORS else ""))
        self._changed.set()

    @property
    def _was_joined(self) -> bool:
        return self._joined.is_set() and self._error is None

    def _join(self, event: Joined) -> None:
        self.table, self.columns, self.key = event.table, event.columns, event.key
        self._joined.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._changed.set()
        self._joined.set()


class Client:
    """A connection to a Tidewire server that heals by itself.

    Use it as an async context manager; entering waits for the first welcome, at most
    `open_timeout_s`.

    Raises Disconnected on entering, when there is no server or it does not let this client in.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        client: str | None = None,
        open_timeout_s: float = limits.CONNECT_TIMEOUT_S,
    ) -> None:
        self.url = url
        self._open_timeout_s = open_timeout_s
        self.is_connected = False
        self._session = ClientSession(client or secrets.token_hex(8), token)
        self._subscriptions: dict[str, Subscription] = {}
        self._socket: ClientConnection | None = None
        self._tasks = asyncio.TaskGroup()
        self._running: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._opened = asyncio.Event()
        self._error: Disconnected | None = None
        self._trouble = "no answer"
        self._has_talked = False
        self._made = 0

    async def __aenter__(self) -> Self:
        """Connect, and stay connected until the block is left."""
        await self._tasks.__aenter__()
        self._running = self._tasks.create_task(self._run())
        try:
            await self._wait_open()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        assert self._running is not None
        self._running.cancel()
        for task in self._asking:
            task.cancel()
        for subscription in self._subscriptions.values():
            subscription._fail(Disconnected("the client was closed"))
        # The error of the block goes its own way; the group only waits for its task.
        await self._tasks.__aexit__(None, None, None)

    async def _wait_open(self) -> None:
        try:
            async with asyncio.timeout(self._open_timeout_s):
                await self._opened.wait()
        except TimeoutError:
            text = f"no server at {self.url} within {self._open_timeout_s:g} s: {self._trouble}"
            raise Disconnected(text) from None
        if self._error is not None:
            raise self._error

    @property
    def position(self) -> str | None:
        """Everything that was committed up to here has been received; None before the first."""
        cursor = self._session.cursor
        return format_lsn(cursor.lsn) if cursor else None

    async def subscribe(self, table: str) -> Subscription:
        """Follow the changes of a table, `name` or `schema.name`.

        Raises SyncError when the server refuses, Disconnected when the client gave up.
        """
        if self._error is not None:
            raise self._error
        self._made += 1
        subscription = Subscription(f"{self._made}", table)
        self._subscriptions[subscription.id] = subscription
        self._session.subscribe(subscription.id, table)
        await self._send()
        try:
            await subscription.joined()
        except BaseException:
            await self.unsubscribe(subscription)
            raise
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Stop to follow; what was received stays readable."""
        if self._subscriptions.pop(subscription.id, None):
            self._session.unsubscribe(subscription.id)
            await self._send()

    # --- the task that owns the socket ---

    async def _run(self) -> None:
        wait_s = limits.BACKOFF_FIRST_S
        while True:
            try:
                await self._connect_once()
            except _GiveUp as error:
                self._give_up(error)
                return
            except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake) as error:
                self._trouble = str(error) or type(error).__name__
                _log.info("connection lost: %s", self._trouble)
            if self._has_talked:
                wait_s, self._has_talked = limits.BACKOFF_FIRST_S, False
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(wait_s * 2, limits.BACKOFF_LONGEST_S)

    async def _connect_once(self) -> None:
        try:
            socket = await connect(
                self.url,
                subprotocols=[Subprotocol("tidewire.v1")],
                max_size=limits.CLIENT_MESSAGE_BYTES,
                compression=None,
                open_timeout=limits.CONNECT_TIMEOUT_S,
                close_timeout=limits.CLOSE_S,
                ping_interval=limits.HEARTBEAT_S,
                ping_timeout=limits.DEAD_S,
            )
            try:
                await self._talk(socket)
            finally:
                await socket.close()
        except InvalidURI as error:
            raise _GiveUp(str(error), None) from error
        except InvalidStatus as error:
            status = error.response.status_code
            if status < 500:
                body = (error.response.body or b"").decode(errors="replace").strip()
                raise _GiveUp(f"the server refused with HTTP {status}: {body}", status) from error
            raise
        except ConnectionClosed as error:
            self._judge_close(error)
            raise

    async def _talk(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._session.connect()
        try:
            await self._send()
            while True:
                message = await socket.recv(decode=False)
                try:
                    events = self._session.receive(message)
                except ProtocolError as error:
                    raise _GiveUp(f"the server broke the protocol: {error}", None) from error
                for event in events:
                    self._handle(event)
                await self._send()
        finally:
            self._socket = None
            self.is_connected = False
            self._session.disconnect()

    async def _send(self) -> None:
        if self._socket is None:
            return
        for message in self._session.take():
            with contextlib.suppress(ConnectionClosed):  # the task that reads deals with it
                await self._socket.send(message, text=True)

    def _judge_close(self, error: ConnectionClosed) -> None:
        code = error.rcvd.code if error.rcvd else None
        known = CLOSE_BY_NUMBER.get(code or 0)
        if error.rcvd and known and known.number != 1000 and not known.retry:
            raise _GiveUp(f"{known.name}: {error.rcvd.reason or known.text}", code) from error

    def _give_up(self, error: _GiveUp) -> None:
        self._error = Disconnected(error.text, error.code)
        for subscription in self._subscriptions.values():
            subscription._fail(self._error)
        self._opened.set()

    # --- events ---

    def _handle(self, event: Event) -> None:
        match event:
            case Opened():
                self.is_connected = self._has_talked = True
                self._opened.set()
            case Joined():
                if subscription := self._subscriptions.get(event.id):
                    subscription._join(event)
            case Committed():
                self._hand_out(event)
            case WasReset():
                for id in event.ids:
                    if subscription := self._subscriptions.get(id):
                        subscription._interrupt(event.reason)
                _log.warning("the server cannot continue: %s; commits are missing", event.reason)
            case Refused():
                self._refuse(event)
            case Progressed():
                pass

    def _hand_out(self, event: Committed) -> None:
        for id, changes in event.changes.items():
            if subscription := self._subscriptions.get(id):
                subscription._take(_commit(event, changes))

    def _refuse(self, event: Refused) -> None:
        subscription = self._subscriptions.get(event.ref or "")
        if subscription is None:
            _log.warning("the server refused: %s: %s", event.code, event.text)
            return
        code = ERRORS.get(event.code)
        if subscription._was_joined and code is not None and code.retry:
            task = self._tasks.create_task(self._ask_again(subscription.id))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            subscription._fail(SyncError(event.code, event.text))

    async def _ask_again(self, id: str) -> None:
        await asyncio.sleep(limits.BACKOFF_LONGEST_S * random.uniform(0.2, 0.5))  # noqa: S311
        self._session.ask_again(id)
        await self._send()


class _GiveUp(Exception):
    """Say that connecting again would not help."""

    def __init__(self, text: str, code: int | None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def _commit(event: Committed, changes: list[RowChange]) -> Commit:
    at = _EPOCH + timedelta(microseconds=event.at)
    return Commit(format_lsn(event.lsn), at, event.xid, changes)
