"""The Python client: `async with Client(url) as client`.

One task reads the socket: it connects, feeds the session, hands on what comes to the rows and the
subscriptions, and comes back after every failure, where it left off. Another one writes, so that a
server which reads slowly holds up nobody. Consumers read bounded inboxes.

Memory: the rows of all subscriptions, twice those of a table while a new copy replaces it; one
commit that comes in parts, until it is whole; an inbox for each subscription (CLIENT_COMMITS and
CLIENT_CHANGES of `limits.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tidewire import limits
from tidewire.client.following import Following
from tidewire.client.rows import Row
from tidewire.client.socket import WEATHER, open_socket
from tidewire.client.subscription import Shape, Subscription, Transaction, all_live
from tidewire.core.model.lsn import Lsn, format_lsn, parse_lsn
from tidewire.core.protocol.codes import ERRORS
from tidewire.core.protocol.events import Opened, Refused
from tidewire.core.session.client import ClientSession
from tidewire.errors import Disconnected, Diverged, ProtocolError, SyncError, WaitTimeout

_log = logging.getLogger("tidewire.client")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


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
        self._moved = asyncio.Event()
        self._session = ClientSession(client or secrets.token_hex(8), token)
        self._following = Following(self._session, self._moved)
        self._socket: ClientConnection | None = None
        self._tasks = asyncio.TaskGroup()
        self._own_tasks: set[asyncio.Task[None]] = set()
        self._refused: set[str] = set()
        self._opened = asyncio.Event()
        self._has_output = asyncio.Event()
        self._error: Disconnected | None = None
        self._trouble = "no answer"
        self._has_talked = False
        self._turn = 0.0
        self._made = 0

    async def __aenter__(self) -> Self:
        """Connect, and stay connected until the block is left."""
        await self._tasks.__aenter__()
        self._start(self._run())
        self._start(self._write())
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
        for task in self._own_tasks:
            task.cancel()
        self._end(Disconnected("the client was closed"))
        # The error of the block goes its own way; the group only waits for its tasks.
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

    # --- what the application wants ---

    @property
    def position(self) -> str | None:
        """Everything that was committed up to here has been received; None before the first."""
        cursor = self._session.cursor
        return format_lsn(cursor.lsn) if cursor else None

    async def subscribe(
        self,
        table: str,
        *,
        where: str | None = None,
        params: Sequence[object] = (),
        columns: Sequence[str] | None = None,
        initial: bool = True,
        row_type: type[Row] | None = None,
        timeout_s: float = limits.SUBSCRIBE_S,
    ) -> Subscription[Row]:
        """Follow rows of a table, `name` or `schema.name`; return when they are there.

        The other arguments are those of `Shape`. `timeout_s` is for how long a server that cannot
        serve it now is asked again; it does not limit the time that a copy takes.

        Raises SyncError when the server refuses, RowError when `row_type` wants other columns,
        Disconnected when the client gave up.
        """
        shape: Shape[Row] = Shape(
            table,
            where=where,
            params=params,
            columns=columns,
            initial=initial,
            row_type=row_type,
        )
        (subscription,) = await self.subscribe_all(shape, timeout_s=timeout_s)
        return subscription

    @overload
    async def subscribe_all(
        self, a: Shape[A], /, *, timeout_s: float = ...
    ) -> tuple[Subscription[A]]: ...
    @overload
    async def subscribe_all(
        self, a: Shape[A], b: Shape[B], /, *, timeout_s: float = ...
    ) -> tuple[Subscription[A], Subscription[B]]: ...
    @overload
    async def subscribe_all(
        self, a: Shape[A], b: Shape[B], c: Shape[C], /, *, timeout_s: float = ...
    ) -> tuple[Subscription[A], Subscription[B], Subscription[C]]: ...
    @overload
    async def subscribe_all(
        self,
        a: Shape[A],
        b: Shape[B],
        c: Shape[C],
        d: Shape[Any],
        /,
        *more: Shape[Any],
        timeout_s: float = ...,
    ) -> tuple[Subscription[Any], ...]: ...
    async def subscribe_all(
        self, *shapes: Shape[Any], timeout_s: float = limits.SUBSCRIBE_S
    ) -> tuple[Subscription[Any], ...]:
        """Follow several shapes whose rows become visible together, as of one position.

        All or none: when the server refuses one, the others are given up. Raises as `subscribe`.
        """
        if self._error is not None:
            raise self._error
        made = self._following.add(shapes, patience_s=timeout_s)
        self._has_output.set()
        try:
            await all_live(made, self._moved)
        except BaseException:
            await self.unsubscribe(*made)
            raise
        return made

    async def unsubscribe(self, *subscriptions: Subscription[Any]) -> None:
        """Stop to follow; what was received stays readable."""
        for subscription in subscriptions:
            self._following.drop(subscription)
        self._has_output.set()
        self._moved.set()

    def commits(self) -> AsyncIterator[Transaction]:
        """Yield whole transactions over all subscriptions, from the first call on.

        Bounded, and interrupted by SyncError, as `Subscription.commits`; there is one consumer.
        """
        return self._following.transactions(self._error).read()

    async def wait_for(self, position: str | int, *, timeout_s: float = limits.WAIT_FOR_S) -> None:
        """Return when the rows hold everything that was committed up to a position of the WAL.

        It waits for subscriptions that are loading, too. `tidewire.position` tells the position
        of your own write.

        Raises WaitTimeout, which says how far it got; Disconnected when the client gave up;
        ValueError when `position` is none.
        """
        wanted = parse_lsn(position) if isinstance(position, str) else Lsn(position)
        try:
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._next_turn()):
                        return await self._reach(wanted)
                self._session.wait(wanted)
                self._has_output.set()
                await self._reach(wanted)
        except TimeoutError:
            raise WaitTimeout(self._how_far(wanted, timeout_s), self.position) from None
        finally:
            self._session.stop_waiting(wanted)

    def _next_turn(self) -> float | None:
        """Say when a position may be asked for; None leaves it to the progress of each second."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._turn)
        if turn > now + limits.PROGRESS_S:
            return None
        self._turn = turn + 1 / limits.WAITS_PER_S
        return turn

    async def _reach(self, wanted: Lsn) -> None:
        while True:
            if self._error is not None:
                raise self._error
            if self._holds(wanted):
                return
            self._moved.clear()
            await self._moved.wait()

    def _holds(self, wanted: Lsn) -> bool:
        cursor = self._session.cursor
        is_there = cursor is not None and cursor.lsn >= wanted
        return not self._following.subscriptions or (is_there and not self._following.loading)

    def _how_far(self, wanted: Lsn, timeout_s: float) -> str:
        loading = ", ".join(self._following.loading)
        facts = [
            f"not at {format_lsn(wanted)} within {timeout_s:g} s",
            f"the rows are as of {self.position or 'no position yet'}",
            *([f"loading: {loading}"] if loading else []),
            *([] if self.is_connected else [f"not connected: {self._trouble}"]),
        ]
        return "; ".join(facts)

    # --- tasks ---

    def _start(self, work: Any) -> None:
        task = self._tasks.create_task(work)
        self._own_tasks.add(task)
        task.add_done_callback(self._own_tasks.discard)

    async def _run(self) -> None:
        wait_s = limits.BACKOFF_FIRST_S
        while True:
            try:
                async with open_socket(self.url) as socket:
                    await self._read(socket)
            except Disconnected as error:
                self._end(error)
                return
            except Diverged as error:
                self._start_over(error)
            except WEATHER as error:
                self._trouble = str(error) or type(error).__name__
                _log.info("connection lost: %s", self._trouble)
            if self._has_talked:
                wait_s, self._has_talked = limits.BACKOFF_FIRST_S, False
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(wait_s * 2, limits.BACKOFF_LONGEST_S)

    async def _read(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._session.connect()
        try:
            while True:
                self._has_output.set()
                self._take(await socket.recv(decode=False))
                self._moved.set()
        finally:
            self._socket = None
            self.is_connected = False
            self._session.disconnect()

    async def _write(self) -> None:
        while True:
            await self._has_output.wait()
            self._has_output.clear()
            if (socket := self._socket) is None:
                continue
            for message in self._session.take():
                with contextlib.suppress(ConnectionClosed):  # the task that reads deals with it
                    await socket.send(message, text=True)

    async def _ask_again(self) -> None:
        await asyncio.sleep(limits.BACKOFF_LONGEST_S * random.uniform(0.2, 0.5))  # noqa: S311
        ids, self._refused = self._refused, set()
        self._session.ask_again(*sorted(ids))  # in one message: they become live together
        self._has_output.set()

    def _take(self, message: bytes) -> None:
        try:
            events = self._session.receive(message)
        except ProtocolError as error:
            raise Disconnected(f"the server broke the protocol: {error}") from error
        for event in events:
            match event:
                case Opened():
                    self.is_connected = self._has_talked = True
                    self._opened.set()
                case Refused():
                    self._refuse(event)
                case _:
                    self._following.take(event)

    def _refuse(self, event: Refused) -> None:
        subscription = self._following.subscriptions.get(event.ref or "")
        if subscription is None or not event.has_ended:
            _log.warning("the server refused: %s: %s", event.code, event.text)
            return
        code, now = ERRORS.get(event.code), asyncio.get_running_loop().time()
        if code is None or not code.retry or subscription.is_out_of_patience(now):
            self._following.drop(subscription, SyncError(event.code, event.text))
            return
        _log.info("%s: asking again: %s", subscription.table, event.text)
        if not self._refused:
            self._start(self._ask_again())
        self._refused.add(subscription.id)

    def _start_over(self, error: Diverged) -> None:
        _log.error("starting over with new copies: %s", error)
        self._trouble = str(error)
        self._has_talked = False  # the same again would be the same again: ever slower
        self._session.start_over()
        self._following.start_over(error)
        self._moved.set()

    def _end(self, error: Disconnected) -> None:
        self._error = self._error or error
        self._following.end(error)
        self._opened.set()
        self._moved.set()
