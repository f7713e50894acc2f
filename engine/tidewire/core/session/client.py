"""The client's end of a connection, as a state machine that outlives its sockets.

::

    (new) --connect--> OPENING --welcome--> OPEN --disconnect--> CLOSED --connect--> OPENING ...

It remembers the subscriptions and the cursor, so that every new connection takes up where the last
one ended: `connect` says hello, `welcome` makes it subscribe again with `from`. Large commits are
gathered until their last part, so a commit is handed out whole or not at all.
"""

from __future__ import annotations

import enum
from typing import Literal, NamedTuple, TypeAlias, assert_never

import msgspec

from tidewire import limits
from tidewire.core.model.lsn import Lsn, format_lsn, parse_lsn
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import decode_server, encode
from tidewire.core.protocol.codes import ERRORS
from tidewire.core.protocol.parsers import parse_value
from tidewire.core.stream.cursor import Cursor
from tidewire.errors import ProtocolError

Op: TypeAlias = Literal["insert", "update", "delete", "rekey", "truncate"]
Key: TypeAlias = tuple[object, ...]


class RowChange(NamedTuple):
    """What a commit did to one row: `values` are all columns of an insert, else the changed."""

    op: Op
    key: Key
    values: dict[str, object]
    old_key: Key | None = None


class Opened(NamedTuple):
    """The server accepted the session."""

    session: str
    epoch: str


class Joined(NamedTuple):
    """The server accepted a subscription."""

    id: str
    table: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]


class Committed(NamedTuple):
    """One transaction, whole: its changes by subscription."""

    lsn: Lsn
    at: int
    xid: int
    changes: dict[str, list[RowChange]]


class Progressed(NamedTuple):
    """Everything that was committed up to this position has been handed out."""

    lsn: Lsn


class WasReset(NamedTuple):
    """What these subscriptions have is not to be continued; the reason is a name of codes.json."""

    ids: tuple[str, ...]
    reason: str


class Refused(NamedTuple):
    """The server refused a message, or the subscription `ref`."""

    code: str
    text: str
    ref: str | None


Event: TypeAlias = Opened | Joined | Committed | Progressed | WasReset | Refused


class State(enum.Enum):
    """Where the session is."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"


class _Subscription:
    """One subscription of this client, accepted or not."""

    __slots__ = ("columns", "is_asked", "is_known", "key", "request", "shape")

    def __init__(self, request: frames.ShapeRequest) -> None:
        self.request = request
        self.is_asked = False
        """The server of this connection knows of it."""
        self.is_known = False
        """It was accepted once, so the cursor is one of its own."""
        self.shape: str | None = None
        self.columns: tuple[tuple[str, str], ...] = ()
        self.key: tuple[str, ...] = ()

    def accept(self, frame: frames.Subscribed) -> None:
        self.shape = frame.shape
        self.is_known = True
        self.columns = tuple((name, type_name) for name, type_name in frame.columns)
        self.key = tuple(frame.key)


class ClientSession:
    """Feed it messages of the server; collect events from `receive` and frames from `take`."""

    def __init__(self, client: str, token: str | None = None) -> None:
        self.client = client
        self.state = State.CLOSED
        self.cursor: Cursor | None = None
        self._token = token
        self._epoch = ""
        self._subscriptions: dict[str, _Subscription] = {}
        self._outgoing: list[bytes] = []
        self._window = limits.WINDOW_BYTES
        self._counted = 0
        self._unacked_bytes = 0
        self._parts: list[frames.Commit] = []

    # --- what the application wants ---

    def subscribe(self, id: str, table: str) -> None:
        """Ask for a table; it is asked for again on each new connection until given up."""
        assert id not in self._subscriptions, "ids are the caller's, and unique"
        if not self._subscriptions:
            self.cursor = None  # nobody continues anything: the next server may be behind it
        request = frames.ShapeRequest(id=id, table=table)
        self._subscriptions[id] = _Subscription(request)
        if self.state is State.OPEN:
            self._ask([request])

    def unsubscribe(self, id: str) -> None:
        """Give up a subscription."""
        subscription = self._subscriptions.pop(id, None)
        if subscription and subscription.is_asked and self.state is State.OPEN:
            self._send(frames.Unsubscribe(id=id))

    def ask_again(self, id: str) -> None:
        """Repeat a subscription that was refused with a code that allows it."""
        subscription = self._subscriptions.get(id)
        if subscription and not subscription.is_asked and self.state is State.OPEN:
            # With `from`: if others have moved the cursor on, the server tells that there is a gap.
            self._ask([self._resumed(subscription)])

    # --- the life of a connection ---

    def connect(self) -> None:
        """Begin on a new socket."""
        self.state = State.OPENING
        self._outgoing = []
        self._counted = self._unacked_bytes = 0
        self._parts = []
        if not any(subscription.is_known for subscription in self._subscriptions.values()):
            self.cursor = None  # there is nothing that it could continue
        for subscription in self._subscriptions.values():
            subscription.shape, subscription.is_asked = None, False
        self._send(frames.Hello(client=self.client, token=self._token))

    def disconnect(self) -> None:
        """Note that the socket is gone."""
        self.state = State.CLOSED
        self._parts = []

    def take(self) -> list[bytes]:
        """Hand over the messages to send."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def receive(self, payload: bytes | str) -> list[Event]:
        """Take one message of the server.

        Raises ProtocolError when the server does not keep to the protocol.
        """
        frame = decode_server(payload)
        match frame:
            case frames.Welcome():
                return [self._welcome(frame)]
            case frames.Subscribed():
                return self._subscribed(frame)
            case frames.Commit():
                return self._commit(frame, len(payload))
            case frames.UpToDate():
                return self._up_to_date(frame)
            case frames.Reset():
                return self._reset(frame)
            case frames.Error():
                return self._refused(frame)
            case frames.Pong():
                return []
            case _:
                assert_never(frame)

    # --- one method per message ---

    def _welcome(self, frame: frames.Welcome) -> Event:
        self.state = State.OPEN
        self._epoch = frame.epoch
        self._window = frame.limits.get("window_bytes", limits.WINDOW_BYTES)
        if self._subscriptions:
            self._ask([self._resumed(its) for its in self._subscriptions.values()])
        return Opened(frame.session, frame.epoch)

    def _resumed(self, subscription: _Subscription) -> frames.ShapeRequest:
        request = subscription.request
        if self.cursor is None or not subscription.is_known:
            return request
        lsn = format_lsn(self.cursor.lsn)
        start = frames.From(epoch=self.cursor.epoch, lsn=lsn, tag=self.cursor.tag)
        return msgspec.structs.replace(request, start=start)

    def _ask(self, requests: list[frames.ShapeRequest]) -> None:
        for request in requests:
            self._subscriptions[request.id].is_asked = True
        self._send(frames.Subscribe(shapes=requests))

    def _subscribed(self, frame: frames.Subscribed) -> list[Event]:
        subscription = self._subscriptions.get(frame.id)
        if subscription is None:
            return []  # given up in the meantime
        if not {name for name, _ in frame.columns}.issuperset(frame.key):
            raise ProtocolError("bad_frame", "a key that is none of the columns")
        subscription.accept(frame)
        return [Joined(frame.id, frame.table, subscription.columns, subscription.key)]

    def _commit(self, frame: frames.Commit, size: int) -> list[Event]:
        self._count(size)
        if not frame.part:
            self._parts = []  # the server began again, or went on to another commit
        if (frame.part or 0) != len(self._parts):
            raise ProtocolError("bad_frame", "a part of a commit is missing")
        self._parts.append(frame)
        if frame.part is not None and not frame.last:
            return []
        whole, self._parts = self._parts, []
        changes: dict[str, list[RowChange]] = {}
        for piece in whole:
            for part in piece.parts:
                self._read_part(part, changes)
        lsn = _lsn(frame.lsn)
        self._move(lsn, frame.tag)
        return [Committed(lsn, frame.at, frame.xid, changes)]

    def _read_part(self, part: frames.Part, changes: dict[str, list[RowChange]]) -> None:
        for id, subscription in self._subscriptions.items():
            if subscription.shape == part.shape:
                found = [_read_change(subscription, change) for change in part.changes]
                changes.setdefault(id, []).extend(found)

    def _up_to_date(self, frame: frames.UpToDate) -> list[Event]:
        lsn = _lsn(frame.lsn)
        self._move(lsn, frame.tag)
        return [Progressed(lsn)]

    def _reset(self, frame: frames.Reset) -> list[Event]:
        self._epoch = frame.epoch
        concerned = tuple(
            id
            for id, subscription in self._subscriptions.items()
            if frame.shape is None or subscription.shape == frame.shape
        )
        if frame.shape is None:
            self.cursor = None
            self._parts = []
        # After a change of the table the server has taken the subscriptions away: ask for the table
        # as it is now.
        is_gone = frame.reason == "schema_changed"
        if is_gone and (requests := [self._subscriptions[id].request for id in concerned]):
            for id in concerned:
                self._subscriptions[id].shape = None
            self._ask(requests)
        return [WasReset(concerned, frame.reason)]

    def _refused(self, frame: frames.Error) -> list[Event]:
        code = ERRORS.get(frame.code)
        subscription = self._subscriptions.get(frame.ref or "")
        if subscription is not None and subscription.shape is None:
            subscription.is_asked = False
        if subscription is not None and subscription.shape is None and not (code and code.retry):
            del self._subscriptions[frame.ref or ""]
        return [Refused(frame.code, frame.text, frame.ref)]

    # --- bookkeeping ---

    def _move(self, lsn: Lsn, tag: str) -> None:
        if self.cursor and self.cursor.epoch == self._epoch and lsn < self.cursor.lsn:
            raise ProtocolError("bad_frame", "the server's position went back")
        self.cursor = Cursor(self._epoch, lsn, tag)

    def _count(self, size: int) -> None:
        self._counted += 1
        self._unacked_bytes += size
        if self._unacked_bytes * 2 >= self._window:
            self._unacked_bytes = 0
            self._send(frames.Ack(n=self._counted))

    def _send(self, frame: frames.Frame) -> None:
        self._outgoing.append(encode(frame))


def _lsn(text: str) -> Lsn:
    try:
        return parse_lsn(text)
    except ValueError as error:
        raise ProtocolError("bad_frame", str(error)) from None


def _read_change(subscription: _Subscription, change: list[object]) -> RowChange:
    match change:
        case ["i", list(row)] if len(row) == len(subscription.columns):
            values = _values(subscription, dict(zip(_names(subscription), row, strict=True)))
            return RowChange("insert", tuple(values[name] for name in subscription.key), values)
        case ["u", list(key), dict(values)]:
            return RowChange("update", _key(subscription, key), _values(subscription, values))
        case ["d", list(key)]:
            return RowChange("delete", _key(subscription, key), {})
        case ["k", list(old), list(new), dict(values)]:
            key_now = _key(subscription, new)
            key_before = _key(subscription, old)
            return RowChange("rekey", key_now, _values(subscription, values), key_before)
        case ["t"]:
            return RowChange("truncate", (), {})
        case _:
            raise ProtocolError("bad_frame", "a change of no known form")


def _names(subscription: _Subscription) -> list[str]:
    return [name for name, _ in subscription.columns]


def _values(subscription: _Subscription, values: dict[str, object]) -> dict[str, object]:
    types = dict(subscription.columns)
    return {name: parse_value(types.get(name, ""), value) for name, value in values.items()}


def _key(subscription: _Subscription, key: list[object]) -> Key:
    if len(key) != len(subscription.key):
        raise ProtocolError("bad_frame", "a key of another length than `subscribed` said")
    types = dict(subscription.columns)
    pairs = zip(subscription.key, key, strict=True)
    return tuple(parse_value(types.get(name, ""), value) for name, value in pairs)
