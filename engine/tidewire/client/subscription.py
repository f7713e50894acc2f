"""What a client follows: a shape that it asks for, and the subscription that comes of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic

from tidewire.client.inbox import Inbox
from tidewire.client.rows import Row, Rows, check_columns
from tidewire.core.model.lsn import format_lsn
from tidewire.core.protocol.codec import decode_client, encode
from tidewire.core.protocol.events import Committed, Joined, RowChange
from tidewire.core.protocol.frames import Parameter, ShapeRequest, Subscribe
from tidewire.core.store import Table
from tidewire.errors import ProtocolError, SyncError, TidewireError
from tidewire.limits import INBOUND_FRAME_BYTES, NAME_CHARS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One transaction of the database, as far as one subscription sees it."""

    lsn: str
    """Where it ends in the write-ahead log."""
    at: datetime
    """When it was committed, by the database's clock."""
    xid: int
    changes: list[RowChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction of the database, as far as all subscriptions of a client see it."""

    lsn: str
    at: datetime
    xid: int
    changes: dict[Subscription[Any], list[RowChange]]


@dataclass(frozen=True, slots=True)
class Shape(Generic[Row]):
    """What to follow: rows and columns of one table, for `Client.subscribe_all`.

    `where` is a condition in SQL with `$1` ... for `params`; what is no JSON value goes as its text
    (a Decimal, a UUID, a date). `columns` are all if not given.
    `initial=False` leaves out the rows that are there: only commits come. `row_type` is a
    dataclass, a msgspec struct, a TypedDict or anything that takes the columns by keyword.
    """

    table: str
    where: str | None = field(default=None, kw_only=True)
    params: Sequence[object] = field(default=(), kw_only=True)
    columns: Sequence[str] | None = field(default=None, kw_only=True)
    initial: bool = field(default=True, kw_only=True)
    row_type: type[Row] | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, request: ShapeRequest) -> Shape[Any]:
        """Return the shape that was asked for."""
        return Shape(
            request.table,
            where=request.where,
            params=request.params or (),
            columns=request.columns,
            initial=request.initial,
        )

    def is_asked_like(self, other: Shape[Any]) -> bool:
        """Tell whether the two are the same to a server; `row_type` is not its affair."""
        # Compared as they are written: to Python 1, 1.0 and True are equal.
        return encode(Subscribe(shapes=[self.request("")])) == encode(
            Subscribe(shapes=[other.request("")])
        )

    def request(self, id: str) -> ShapeRequest:
        """Return what the server is asked for."""
        return ShapeRequest(
            id=id,
            table=self.table,
            columns=None if self.columns is None else list(self.columns),
            where=self.where,
            params=[_on_the_wire(value) for value in self.params] or None,
            initial=self.initial,
        )

    def check(self) -> None:
        """Refuse what no server would read.

        Raises SyncError.
        """
        written = encode(Subscribe(shapes=[self.request("x" * NAME_CHARS)]))
        if len(written) > INBOUND_FRAME_BYTES // 2:
            text = (
                f"{self.table}: {len(written)} bytes; at most {INBOUND_FRAME_BYTES // 2} are sent"
            )
            raise SyncError("bad_params", text)
        try:
            decode_client(written)
        except ProtocolError as error:
            raise SyncError(error.code, f"{self.table[:NAME_CHARS]}: {error.text}") from None


def _on_the_wire(value: object) -> Parameter:
    # PostgreSQL reads its own text forms; JSON has no infinity, and few readers have long integers.
    match value:
        case None | bool() | str():
            return value
        case int() if abs(value) < 2**53:
            return value
        case float() if math.isfinite(value):
            return value
        case bytes():
            return f"\\x{value.hex()}"
        case _:
            return str(value)


class Subscription(Generic[Row]):
    """One shape that a client follows; made by `Client.subscribe`."""

    def __init__(
        self, id: str, shape: Shape[Row], table: Table, moved: asyncio.Event, patience_s: float
    ) -> None:
        self.id = id
        self.shape = shape
        self.table = shape.table
        """Its full name, as schema.table, once the server has accepted it."""
        self.columns: tuple[tuple[str, str], ...] = ()
        """Name and type of each column."""
        self.key: tuple[str, ...] = ()
        """The columns that tell rows apart."""
        self.resets = 0
        """How often the server could not continue where this client left off."""
        self.error: TidewireError | None = None
        """Why it has ended, if it has."""
        self.is_live = False
        """The rows are complete up to the client's position, and follow it."""
        self.was_live = False
        self.is_restored = False
        """Its rows were in the store when the program began."""
        self.has_ended = False
        self.refused_at: float | None = None
        self._patience_s = patience_s
        self._table = table
        self._rows = Rows(table, shape.row_type)
        self._moved = moved
        self._inbox: Inbox[Commit] = Inbox()

    @property
    def rows(self) -> Rows[Row]:
        """The rows, by key, as of the client's position: a view that stays current.

        After a reset they stand still, and `is_live` is false, until a new copy takes their place
        in one step. Raises RuntimeError when only commits were asked for.
        """
        self._check_rows()
        return self._rows

    def frozen(self) -> Rows[Row]:
        """Return the rows as they are now, in a view that stays as it is. Raises as `rows`."""
        self._check_rows()
        return Rows(self._table.frozen(), self.shape.row_type)

    def _check_rows(self) -> None:
        if not self.shape.initial:
            raise RuntimeError(f"{self.table} was subscribed with initial=False: it has no rows")

    def commits(self) -> AsyncIterator[Commit]:
        """Yield commit after commit since the subscription became live, in the database's order.

        `rows` is never behind the commit that was handed out, and may be ahead of it: rows change
        when a commit arrives, whether or not somebody reads here.

        Raises SyncError where commits are missing: Lagged when this consumer was too slow, others
        when the server could not continue where the client left off. Call `commits` again to read
        on behind the gap. Raises Disconnected when the client gave up. Ends after `unsubscribe`.
        """
        return self._inbox.read()

    async def live(self) -> None:
        """Wait until the rows are there and follow the server; without `initial`, the commits.

        Raises SyncError when the server refused, Disconnected when the client gave up.
        """
        await all_live([self], self._moved)

    def __repr__(self) -> str:
        return f"<Subscription {self.id} of {self.table}{'' if self.is_live else ', not live'}>"

    # --- for the client ---

    def adopt(self, shape: Shape[Any], patience_s: float) -> None:
        """Become what the program asks for: it is the same to the server.

        Raises RowError when the application's type does not go with the columns.
        """
        self.shape, self._patience_s = shape, patience_s
        self._rows = Rows(self._table, shape.row_type)
        self._check_type()

    def join(self, event: Joined) -> None:
        """Take what the server says about the shape.

        Raises RowError when the application's type does not go with it.
        """
        self.table, self.columns, self.key = event.table, event.columns, event.key
        self._check_type()
        if self._table.is_live:
            self.go_live()  # the rows go on where they were

    def _check_type(self) -> None:
        if self.shape.row_type is not None and self.columns:
            check_columns(self.shape.row_type, {name for name, _ in self.columns}, self.table)

    def go_live(self) -> None:
        """Note that what is visible now is complete."""
        self.is_live = self.was_live = True
        self.refused_at = None

    def is_out_of_patience(self, now: float) -> bool:
        """Note a refusal; tell whether it goes on for too long. What was live once waits on."""
        if self.refused_at is None:
            self.refused_at = now
        return not self.was_live and now - self.refused_at >= self._patience_s

    def take(self, event: Committed, changes: list[RowChange]) -> None:
        """Hand a commit to the consumer."""
        lsn, at = format_lsn(event.lsn), commit_time(event)
        commit = Commit(lsn=lsn, at=at, xid=event.xid, changes=changes)
        self._inbox.put(commit, len(changes))

    def interrupt(self, error: SyncError) -> bool:
        """Tell that it is not continued, and return whether that is news.

        With rows, a new copy is on its way; until it is there nothing more can be missed.
        """
        if not self.is_live:
            return False
        self.is_live = not self.shape.initial
        self.resets += 1
        self._inbox.interrupt(error)
        return True

    def end(self, error: TidewireError | None = None) -> None:
        """Tell that nothing more comes."""
        self.error = self.error or error
        self.is_live, self.has_ended = False, True
        self._inbox.end(error)


def commit_time(event: Committed) -> datetime:
    """Return when a transaction was committed."""
    return _EPOCH + timedelta(microseconds=event.at)


async def all_live(subscriptions: Sequence[Subscription[Any]], moved: asyncio.Event) -> None:
    """Wait until all are live, or one has ended.

    Raises the error of that one.
    """
    while not all(subscription.is_live for subscription in subscriptions):
        for subscription in subscriptions:
            if subscription.error is not None:
                raise subscription.error
            if subscription.has_ended:
                raise SyncError("unknown_id", f"{subscription.table} was unsubscribed")
        moved.clear()
        await moved.wait()
