"""The Python client for programs without an event loop: `with Client(url) as client`.

A thread of its own runs a loop, and in it the client of `connection.py`; each call is handed over
to that loop and waited for. One rule: whatever can change is looked at in the loop, between two
messages. So what a caller gets is one state, and no lock is held while it is read.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from tidewire import limits
from tidewire.client import connection
from tidewire.client.rows import Row, Rows
from tidewire.client.sqlite import SqliteStore
from tidewire.client.subscription import Commit, Shape
from tidewire.client.subscription import Subscription as Inner
from tidewire.client.subscription import Transaction as Told
from tidewire.core.protocol.events import RowChange
from tidewire.errors import Disconnected, TidewireError

_log = logging.getLogger("tidewire.client")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Result = TypeVar("Result")
_CLOSED = "the client was closed"


class Client:
    """A connection to a Tidewire server that heals by itself, for code that blocks.

    Use it as a context manager; its methods may be called from any thread, and those that wait in
    others raise Disconnected when the block is left. Arguments and errors are those of
    `tidewire.Client`.
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
        self._client = connection.Client(
            url, token=token, client=client, store=store, open_timeout_s=open_timeout_s
        )
        # A daemon: a program that is torn down without leaving the block must end all the same.
        self._thread = threading.Thread(target=self._run, name="tidewire", daemon=True)
        self._opened = threading.Event()
        self._error: Exception | None = None
        self._lock = threading.Lock()
        """Held while work is handed over: none is, once the loop has begun to end."""
        self._serving: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._has_left = False

    def __enter__(self) -> Self:
        """Connect, and stay connected until the block is left."""
        self._thread.start()
        try:
            self._opened.wait()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection, and the store with all that was received."""
        with self._lock:
            self._has_left = True
            if self._serving is not None:
                leave = self._leaving.set if kind is None else self._serving.cancel
                self._serving.get_loop().call_soon_threadsafe(leave)
        self._thread.join()
        if self._error is not None:
            if kind is None:
                raise self._error
            _log.error("%s", self._error, exc_info=self._error)  # the block's own goes its way

    # --- what the application wants ---

    @property
    def is_connected(self) -> bool:
        """There is a connection now."""
        return self._client.is_connected

    @property
    def position(self) -> str | None:
        """Everything that was committed up to here has been received; None before the first."""
        return self._client.position

    @property
    def saved_position(self) -> str | None:
        """The store's file holds everything up to here; None without, or when it holds nothing."""
        return self._client.saved_position

    def subscribe(
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
        """Follow rows of a table, `name` or `schema.name`; return when they are there."""
        shape: Shape[Row] = Shape(
            table,
            where=where,
            params=params,
            columns=columns,
            initial=initial,
            row_type=row_type,
        )
        (subscription,) = self.subscribe_all(shape, timeout_s=timeout_s)
        return subscription

    @overload
    def subscribe_all(
        self, a: Shape[A], /, *, timeout_s: float = ...
    ) -> tuple[Subscription[A]]: ...
    @overload
    def subscribe_all(
        self, a: Shape[A], b: Shape[B], /, *, timeout_s: float = ...
    ) -> tuple[Subscription[A], Subscription[B]]: ...
    @overload
    def subscribe_all(
        self, a: Shape[A], b: Shape[B], c: Shape[C], /, *, timeout_s: float = ...
    ) -> tuple[Subscription[A], Subscription[B], Subscription[C]]: ...
    @overload
    def subscribe_all(
        self,
        a: Shape[A],
        b: Shape[B],
        c: Shape[C],
        d: Shape[Any],
        /,
        *more: Shape[Any],
        timeout_s: float = ...,
    ) -> tuple[Subscription[Any], ...]: ...
    def subscribe_all(
        self, *shapes: Shape[Any], timeout_s: float = limits.SUBSCRIBE_S
    ) -> tuple[Subscription[Any], ...]:
        """Follow several shapes whose rows become visible together, as of one position."""

        async def subscribe() -> tuple[Subscription[Any], ...]:
            found = await self._client.subscribe_all(*shapes, timeout_s=timeout_s)
            return tuple(Subscription(self, inner) for inner in found)

        return self._call(subscribe)

    def unsubscribe(self, *subscriptions: Subscription[Any]) -> None:
        """Stop to follow; what was received stays readable."""
        self._call(lambda: self._client.unsubscribe(*(each._inner for each in subscriptions)))

    def rows(self, *subscriptions: Subscription[Any]) -> tuple[Rows[Any], ...]:
        """Return the rows of several subscriptions, all as of one position."""
        return self._look(lambda: tuple(each._inner.frozen() for each in subscriptions))

    def commits(self) -> Iterator[Transaction]:
        """Yield whole transactions over all subscriptions, from the first call on."""

        async def open() -> AsyncIterator[Told]:
            return self._client.commits()

        reader = self._call(open)

        def transactions() -> Iterator[Transaction]:
            for its in self._each(reader):
                changes = {Subscription(self, inner): its.changes[inner] for inner in its.changes}
                yield Transaction(lsn=its.lsn, at=its.at, xid=its.xid, changes=changes)

        return transactions()

    def wait_for(self, position: str | int, *, timeout_s: float = limits.WAIT_FOR_S) -> None:
        """Return when the rows hold everything that was committed up to a position of the WAL.

        `tidewire.blocking.position` tells the position of your own write.
        """
        self._call(lambda: self._client.wait_for(position, timeout_s=timeout_s))

    # --- the other thread ---

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass  # the block was left by an error, which is on its way already
        except Exception as error:  # noqa: BLE001 - it is raised where the block begins or ends
            self._error = error
        finally:
            self._opened.set()

    async def _serve(self) -> None:
        with self._lock:
            if self._has_left:
                return
            self._serving = asyncio.current_task()
        try:
            async with self._client:
                self._opened.set()
                await self._leaving.wait()
        finally:
            # What was handed over until now is a task before this one ends, and `asyncio.run`
            # cancels it: nobody waits for ever.
            with self._lock:
                self._serving = None

    def _call(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Have work done in the loop, and wait for it."""
        with self._lock:
            if self._serving is None:
                is_over = self._has_left or self._opened.is_set()
                raise Disconnected(_CLOSED if is_over else "not open: use `with Client(...)`")
            future = asyncio.run_coroutine_threadsafe(work(), self._serving.get_loop())
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Disconnected(_CLOSED) from None
        except BaseException:
            future.cancel()  # nobody waits for it any more: Ctrl-C
            raise

    def _look(self, work: Callable[[], Result]) -> Result:
        """Look at what the loop changes, between two of its steps."""

        async def look() -> Result:
            return work()

        try:
            return self._call(look)
        except Disconnected:
            self._thread.join()  # then nothing changes any more
            return work()

    def _each(self, reader: AsyncIterator[Result]) -> Iterator[Result]:
        async def read() -> Result:
            return await anext(reader)

        while True:
            try:
                yield self._call(read)
            except StopAsyncIteration:
                return


class Subscription(Generic[Row]):
    """One shape that a client follows; made by `Client.subscribe`."""

    def __init__(self, client: Client, inner: Inner[Row]) -> None:
        self._client = client
        self._inner = inner

    @property
    def shape(self) -> Shape[Row]:
        """What was asked for."""
        return self._inner.shape

    @property
    def table(self) -> str:
        """Its full name, as schema.table."""
        return self._inner.table

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Name and type of each column."""
        return self._inner.columns

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell rows apart."""
        return self._inner.key

    @property
    def resets(self) -> int:
        """How often the server could not continue where this client left off."""
        return self._inner.resets

    @property
    def error(self) -> TidewireError | None:
        """Why it has ended, if it has."""
        return self._inner.error

    @property
    def is_live(self) -> bool:
        """The rows are complete up to the client's position, and follow it."""
        return self._inner.is_live

    @property
    def rows(self) -> Rows[Row]:
        """The rows, by key, as they are at this moment: they stay so while you read them.

        Ask again for newer ones; each time all of them are put together. `Client.rows` gives those
        of several subscriptions as of one position. Raises RuntimeError when only commits were
        asked for.
        """
        return self._client._look(self._inner.frozen)

    def commits(self) -> Iterator[Commit]:
        """Yield commit after commit since the subscription became live, in the database's order.

        What interrupts it is that of `tidewire.Subscription.commits`. Raises Disconnected when the
        client is closed by another thread.
        """
        return self._client._each(self._inner.commits())

    def live(self) -> None:
        """Wait until the rows are there and follow the server; without `initial`, the commits."""
        self._client._call(self._inner.live)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subscription) and self._inner is other._inner

    def __hash__(self) -> int:
        return hash(self._inner)

    def __repr__(self) -> str:
        return repr(self._inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction of the database, as far as all subscriptions of a client see it."""

    lsn: str
    at: datetime
    xid: int
    changes: dict[Subscription[Any], list[RowChange]]
