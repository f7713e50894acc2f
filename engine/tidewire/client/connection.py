"""The Python client: `async with Client(url) as client`.

One task reads the socket: it connects, feeds the session, hands on what comes to the rows and the
subscriptions, and comes back after every failure, where it left off. Another one writes, so that a
server which reads slowly holds up nobody. Consumers read bounded inboxes.

Memory: the rows of all subscriptions, twice those of a table while a new copy replaces it; one
commit that comes in parts, until it is whole; an inbox for each subscription (CLIENT_COMMITS and
CLIENT_CHANGES of `limits.py`).

With a store a third task has the rows written down (`saver.py`); without, they end with the
process.
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
from tidewire.client.positions import Positions
from tidewire.client.rows import Row
from tidewire.client.saver import Saver
from tidewire.client.socket import WEATHER, open_socket, pause_s
from tidewire.client.sqlite import SqliteStore
from tidewire.client.subscription import Shape, Subscription, Transaction, all_live
from tidewire.core.model.lsn import Lsn, format_lsn, parse_lsn
from tidewire.core.protocol.codes import ERRORS
from tidewire.core.protocol.events import Opened, Refused
from tidewire.core.session.client import ClientSession
from tidewire.errors import (
    Disconnected,
    Diverged,
    ProtocolError,
    StoreError,
    SyncError,
    TidewireError,
)

_log = logging.getLogger("tidewire.client")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class Client:
    """A connection to a Tidewire server that heals by itself.

    Use it as an async context manager; entering waits for the first welcome, at most
    `open_timeout_s`. With a `store` the rows outlive the process: the next one that subscribes the
    same is sent what it missed. What is not subscribed again within STORE_UNASKED_S, or before the
    client is closed without an error, is forgotten.

    Raises Disconnected on entering, when there is no server or it does not let this client in, and
    StoreError when the store cannot be used; on leaving StoreError, when it could not be written.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        client: str | None = None,
        store: SqliteStore | None = None,
        open_timeout_s: float = limits.CONNECT_TIMEOUT_S,
    ) -> None:
        self.url = url
        self._open_timeout_s = open_timeout_s
        self.is_connected = False
        self._moved = asyncio.Event()
        self._session = ClientSession(client or secrets.token_hex(8), token)
        self._saver = Saver(store) if store is not None else None
        unsaved = self._saver.unsaved if self._saver is not None else None
        self._following = Following(self._session, self._moved, unsaved)
        self._socket: ClientConnection | None = None
        self._tasks = asyncio.TaskGroup()
        self._own_tasks: set[asyncio.Task[None]] = set()
        self._refused: set[str] = set()
        self._opened = asyncio.Event()
        self._has_output = asyncio.Event()
        self._positions = Positions(
            self._session, self._following, self._moved, self._has_output.set
        )
        self._trouble = "no answer"
        self._has_talked = False

    async def __aenter__(self) -> Self:
        """Connect, and stay connected until the block is left."""
        if self._saver is not None and (saved := await self._saver.open()):
            self._following.restore(saved)
        await self._tasks.__aenter__()
        if self._saver is not None:
            self._start(self._save(self._saver))
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
        """Close the connection, and the store with all that was received."""
        if kind is None and self._following.error is None:
            self._following.forget_unasked()
        self._stop(Disconnected("the client was closed"))
        # The error of the block goes its own way; the group only waits for its tasks.
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            await self._close_store(has_failed=error is not None)

    async def _close_store(self, *, has_failed: bool) -> None:
        try:
            if self._saver is not None:
                await self._saver.close()
        except StoreError as error:
            if not has_failed:
                raise
            _log.error("%s", error)  # the block's own error matters more

    async def _wait_open(self) -> None:
        try:
            async with asyncio.timeout(self._open_timeout_s):
                await self._opened.wait()
        except TimeoutError:
            text = f"no server at {self.url} within {self._open_timeout_s:g} s: {self._trouble}"
            raise Disconnected(text) from None
        if self._following.error is not None:
            raise self._following.error

    # --- what the application wants ---

    @property
    def position(self) -> str | None:
        """Everything that was committed up to here has been received; None before the first."""
        return self._positions.now

    @property
    def saved_position(self) -> str | None:
        """The store's file holds everything up to here; None without, or when it holds nothing."""
        position = self._saver.position if self._saver is not None else None
        return format_lsn(position) if position is not None else None

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
        if self._following.error is not None:
            raise self._following.error
        made = self._following.add(shapes, patience_s=timeout_s)
        self._has_output.set()
        try:
            await all_live(made, self._moved)
            if any(subscription.is_restored for subscription in made):
                await self._positions.catch_up(made)
        except BaseException:
            for subscription in made:
                self._following.give_back(subscription)
            self._tell()
            raise
        return made

    async def unsubscribe(self, *subscriptions: Subscription[Any]) -> None:
        """Stop to follow; what was received stays readable."""
        for subscription in subscriptions:
            self._following.drop(subscription)
        self._tell()

    def _tell(self) -> None:
        """Have everybody look at what has changed, other than by a message."""
        self._has_output.set()
        self._moved.set()
        if self._saver is not None:
            self._saver.note()

    def commits(self) -> AsyncIterator[Transaction]:
        """Yield whole transactions over all subscriptions, from the first call on.

        Bounded, and interrupted by SyncError, as `Subscription.commits`; there is one consumer.
        """
        return self._following.transactions().read()

    async def wait_for(self, position: str | int, *, timeout_s: float = limits.WAIT_FOR_S) -> None:
        """Return when the rows hold everything that was committed up to a position of the WAL.

        It waits for subscriptions that are loading, too. `tidewire.position` tells the position
        of your own write.

        Raises WaitTimeout, which says how far it got; Disconnected when the client gave up;
        ValueError when `position` is none.
        """
        wanted = parse_lsn(position) if isinstance(position, str) else Lsn(position)
        await self._positions.wait_for(
            wanted,
            timeout_s=timeout_s,
            trouble=lambda: "" if self.is_connected else self._trouble,
        )

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
                await asyncio.sleep(pause_s(error, random.random()))  # noqa: S311
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
                if self._saver is not None:
                    await self._saver.keep_up(self._session.cursor)
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

    async def _save(self, saver: Saver) -> None:
        forgetting = asyncio.get_running_loop().call_later(limits.STORE_UNASKED_S, self._forget)
        try:
            await saver.run()
        except StoreError as error:
            _log.error("%s", error)
            self._stop(error)
        finally:
            forgetting.cancel()

    def _forget(self) -> None:
        self._following.forget_unasked()
        self._tell()

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
        self._tell()

    def _stop(self, error: TidewireError) -> None:
        for task in self._own_tasks:
            task.cancel()
        self._end(error)

    def _end(self, error: TidewireError) -> None:
        self._following.end(error)
        self._opened.set()
        self._moved.set()
