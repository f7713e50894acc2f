"""The wire of `protocol/PROTOCOL.md`, version 1, as a driver of the lab.

The one rule: this is a second reading of the protocol's text. It shares no code with the engine, so
that what the engine misunderstands about its own protocol does not cancel out.

Each subscription goes through phases; a cut brings it back to ASKED::

    ASKED --subscribed initial--> COPYING --last chunk--> STAGED --up_to_date names it--> LIVE
    ASKED --subscribed catchup--> LIVE
    ASKED --subscribed live-----> TAIL --first commit of it, or the server is at its end--> LIVE
    LIVE  --reset--> COPYING, or TAIL without rows

A tail has no position of its own on the wire. It counts as live from the first commit that it gets,
or from the first `up_to_date` that is about nobody in particular: then the server has read its log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tidelab.core.driver import Endpoint, Frame, Reply, Wanted
from tidelab.core.history.event import (
    Claimed,
    ClientEvent,
    Copied,
    Part,
    Received,
    Reset,
    RowChange,
    Subscribed,
    Unsubscribed,
)
from tidelab.core.history.position import Lsn, format_lsn, parse_lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import Table
from tidelab.core.oracle.rendering import render_where
from tidelab.driver.netting import Net, by_key
from tidelab.driver.wire import Json, Phase, Steps, Subscription, WireFrame, read_frame
from tidelab.errors import WireError

SUBPROTOCOL = "tidewire.v1"
PATH = "/v1/sync"


@dataclass(slots=True)
class _Cursor:
    epoch: str
    lsn: str
    tag: str


@dataclass(slots=True)
class _Connection:
    """What is forgotten with the socket."""

    is_open: bool = False
    epoch: str = ""
    window: int = 1 << 20
    counted: int = 0
    unacked: int = 0
    named: set[str] = field(default_factory=set)
    """Names of shapes that the server has announced."""
    parts: dict[bool, list[WireFrame]] = field(default_factory=lambda: {False: [], True: []})


class TidewireSession:
    """One client over all its connections."""

    def __init__(self, client: str, tables: Mapping[str, Table]) -> None:
        self._client = client
        self._tables = tables
        self._subscriptions: dict[str, Subscription] = {}
        self._cursor: _Cursor | None = None
        self._connection: _Connection | None = None
        self._waits: set[Lsn] = set()
        self._refusals: dict[str, str] = {}

    # --- what the client wants ---

    def open(self) -> Sequence[Frame]:
        """Greet; the subscriptions follow when the server has answered."""
        self._connection = _Connection()
        return [_write({"type": "hello", "client": self._client})]

    def subscribe(self, wanted: Sequence[Wanted]) -> Sequence[Frame]:
        """Ask for subscriptions in one frame."""
        for each in wanted:
            request = _request(each, self._tables[each.shape.table])
            self._subscriptions[each.id] = Subscription(each, request)
        return self._ask([each.id for each in wanted])

    def unsubscribe(self, id: str) -> Sequence[Frame]:
        """Give one up; what is under way for it will be passed over."""
        del self._subscriptions[id]
        is_open = self._connection is not None and self._connection.is_open
        return [_write({"type": "unsubscribe", "id": id})] if is_open else []

    def wait(self, lsn: Lsn) -> Sequence[Frame]:
        """Ask for a word at a position, on this connection or the next."""
        self._waits.add(lsn)
        is_open = self._connection is not None and self._connection.is_open
        return [_write({"type": "wait", "lsn": format_lsn(lsn)})] if is_open else []

    def close(self) -> None:
        """Forget what belonged to the connection."""
        self._connection = None
        for each in self._subscriptions.values():
            each.phase, each.shape = Phase.ASKED, None
            each.forget_staged()

    def explain(self, id: str) -> str:
        """Say why the server ended a subscription."""
        return self._refusals.get(id, "")

    @property
    def position(self) -> str | None:
        """Return the cursor, as the wire writes it."""
        return None if self._cursor is None else self._cursor.lsn

    # --- what the server says ---

    def receive(self, frame: Frame) -> Reply:
        """Take in one frame; raises WireError if the server does not keep to the protocol."""
        if self._connection is None:
            return Reply()  # it was under way when the connection was given up
        connection, message = self._connection, read_frame(frame)
        match message.type:
            case "welcome":
                return self._welcome(connection, message)
            case "subscribed":
                return Reply(self._subscribed(connection, message))
            case "snapshot":
                events = self._snapshot(connection, message)
                return Reply(events, self._count(connection, len(frame)))
            case "commit":
                events = self._commit(connection, message)
                return Reply(events, self._count(connection, len(frame)))
            case "up_to_date":
                return Reply(self._up_to_date(connection, message))
            case "reset":
                return self._reset(connection, message)
            case "error":
                return Reply(self._error(message))
        return Reply()  # `pong`, and what a later version may say

    def _welcome(self, connection: _Connection, message: WireFrame) -> Reply:
        connection.is_open, connection.epoch = True, message.epoch
        window = message.limits.get("window_bytes")
        connection.window = window if isinstance(window, int) else connection.window
        frames = [*self._ask(list(self._subscriptions))]
        frames += [_write({"type": "wait", "lsn": format_lsn(lsn)}) for lsn in sorted(self._waits)]
        return Reply((), tuple(frames))

    def _ask(self, ids: Sequence[str]) -> Sequence[Frame]:
        if self._connection is None or not self._connection.is_open or not ids:
            return []
        found = [self._subscriptions[id] for id in ids]
        shapes = [self._again(each) for each in found]
        # What goes on comes first: only there a cursor counts.
        return [
            _write({"type": "subscribe", "shapes": sorted(shapes, key=lambda s: "from" not in s)})
        ]

    def _again(self, each: Subscription) -> Json:
        """Write a request that goes on where an earlier connection ended."""
        if each.has_position and self._cursor is not None:
            cursor = self._cursor
            start = {"epoch": cursor.epoch, "lsn": cursor.lsn, "tag": cursor.tag}
            return {**each.request, "from": start, "fingerprint": each.fingerprint}
        if each.copy is not None:
            resume = {"copy": each.copy, "chunk": each.chunks}
            return {**each.request, "resume": resume}
        return each.request

    def _subscribed(self, connection: _Connection, message: WireFrame) -> tuple[ClientEvent, ...]:
        if message.shape is None:
            raise WireError("subscribed without the name of a shape")
        connection.named.add(message.shape)
        each = self._subscriptions.get(message.id)
        if each is None:
            return ()  # given up in the meantime
        types = dict(message.columns)
        if missing := [name for name in each.wanted.shape.columns if name not in types]:
            raise WireError(f"{message.id}: column {missing[0]!r} was asked for and is not sent")
        each.shape, each.columns = message.shape, tuple(message.columns)
        each.key = tuple((name, types[name]) for name in message.key)
        each.fingerprint = message.fingerprint
        match message.mode:
            case "initial" if each.wanted.has_rows:
                each.has_position = False
                each.phase = Phase.STAGED if each.is_whole else Phase.COPYING
                return (Subscribed(message.id, each.wanted.shape, "copy"),)
            case "catchup" if each.has_position:
                each.phase = Phase.LIVE
                return (Subscribed(message.id, each.wanted.shape, "resume"),)
            case "live" if not each.wanted.has_rows:
                each.phase = Phase.TAIL
                return (Subscribed(message.id, each.wanted.shape, "tail"),)
        raise WireError(f"{message.id}: mode {message.mode!r} does not answer the request")

    def _snapshot(self, connection: _Connection, message: WireFrame) -> tuple[ClientEvent, ...]:
        events: list[ClientEvent] = []
        for id, each in self._of_shape(connection, message.shape):
            is_next = (each.copy, each.chunks) == (message.copy, message.chunk)
            is_open = each.phase is Phase.COPYING and is_next
            is_new = message.chunk == 0 and each.phase in (Phase.COPYING, Phase.STAGED)
            if is_open or is_new:
                if message.chunk == 0:
                    each.forget_staged()
                each.copy, each.chunks = message.copy, message.chunk + 1
                each.is_whole = bool(message.last)
                each.phase = Phase.STAGED if message.last else Phase.COPYING
                rows = tuple(each.read_row(row) for row in message.rows)
                events.append(Copied(id, rows, begins=message.chunk == 0))
            elif each.phase is Phase.COPYING:
                had = f"{each.chunks} of copy {each.copy}"
                raise WireError(f"{id}: chunk {message.chunk} of {message.copy}, expected {had}")
        return tuple(events)

    def _commit(self, connection: _Connection, message: WireFrame) -> tuple[ClientEvent, ...]:
        parts = connection.parts[message.stage]
        if not message.part:
            parts.clear()  # the server began again, or went on to another commit
        if (message.part or 0) != len(parts):
            raise WireError(f"part {message.part} of {message.lsn} came after {len(parts)} parts")
        parts.append(message)
        if message.part is not None and not message.last:
            return ()
        whole, connection.parts[message.stage] = list(parts), []
        steps, lsn = self._read_parts(connection, whole), parse_lsn(message.lsn)
        if message.stage:
            return self._stage(lsn, steps)
        events: list[ClientEvent] = []
        if begun := self._begin_tails(list(steps)):
            events.append(Claimed(Lsn(lsn - 1), begun))
        self._move(connection, message)
        parts_ = tuple(Part(id, self._net(id, found)) for id, found in steps.items())
        return (*events, Received(lsn, parts_))

    def _stage(self, lsn: Lsn, steps: Mapping[str, Steps]) -> tuple[ClientEvent, ...]:
        """Keep staged commits back until they are whole: a large one comes in frames of one lsn."""
        events: list[ClientEvent] = []
        for id, found in steps.items():
            each = self._subscriptions[id]
            if each.staged_at != lsn:
                events += self._release(id)
                each.staged_at = lsn
            each.staged += found
        return tuple(events)

    def _release(self, id: str) -> list[ClientEvent]:
        """Hand out the staged commit that was kept back: no more of it will come."""
        each = self._subscriptions[id]
        if each.staged_at is None:
            return []
        part = Part(id, self._net(id, each.staged))
        event = Received(each.staged_at, (part,), is_staged=True)
        each.forget_staged()
        return [event]

    def _read_parts(self, connection: _Connection, whole: Sequence[WireFrame]) -> dict[str, Steps]:
        """Return what a commit means for each subscription that it is for, step by step."""
        is_staged = whole[0].stage
        steps: dict[str, Steps] = {}
        for message in whole:
            for part in message.parts:
                for id, each in self._of_shape(connection, part.shape):
                    if is_staged == (each.phase in (Phase.COPYING, Phase.STAGED)):
                        changes = tuple(map(each.read_change, part.changes))
                        steps.setdefault(id, []).append(changes)
        return steps

    def _net(self, id: str, steps: Steps) -> tuple[RowChange, ...]:
        each = self._subscriptions[id]
        key = tuple(name for name, _ in each.key)
        changes = steps[0]
        if len(steps) > 1:
            net = Net(key)
            for step in steps:
                net.apply(step)
            changes = net.changes()
        return by_key(changes, key, frozenset(name for name, _ in each.columns))

    def _up_to_date(self, connection: _Connection, message: WireFrame) -> tuple[ClientEvent, ...]:
        named = tuple(id for id in message.live if id in self._subscriptions)
        tails = () if message.live else self._begin_tails(list(self._subscriptions))
        self._move(connection, message)
        staged = [event for id in named for event in self._release(id)]
        for id in named:
            each = self._subscriptions[id]
            if each.phase not in (Phase.STAGED, Phase.LIVE):
                raise WireError(f"{id} is called live, but it is {each.phase.value}")
            each.go_live()
        lsn = parse_lsn(message.lsn)
        self._waits = {wanted for wanted in self._waits if wanted > lsn}
        return (*staged, Claimed(lsn, (*named, *tails)))

    def _begin_tails(self, ids: Sequence[str]) -> tuple[str, ...]:
        found = [id for id in ids if self._subscriptions[id].phase is Phase.TAIL]
        for id in found:
            self._subscriptions[id].go_live()
        return tuple(found)

    def _reset(self, connection: _Connection, message: WireFrame) -> Reply:
        connection.epoch = message.epoch
        if message.shape is None:
            self._cursor = None
        has_ended = message.reason == "schema_changed"
        concerned = [
            (id, each)
            for id, each in self._subscriptions.items()
            if each.shape is not None
            and message.shape in (None, each.shape)
            and (has_ended or each.phase in (Phase.LIVE, Phase.TAIL))
        ]
        for _, each in concerned:
            each.has_position = False
            each.forget_copy()
            each.phase = Phase.COPYING if each.wanted.has_rows else Phase.TAIL
        if message.shape is None:
            return Reply((Reset(message.reason),))
        events = tuple(Reset(message.reason, id) for id, _ in concerned)
        if not has_ended:
            return Reply(events)
        for _, each in concerned:
            each.phase, each.shape = Phase.ASKED, None
        return Reply(events, tuple(self._ask([id for id, _ in concerned])))

    def _error(self, message: WireFrame) -> tuple[ClientEvent, ...]:
        each = self._subscriptions.get(message.ref or "")
        if each is None or each.phase in (Phase.LIVE, Phase.TAIL):
            return ()
        self._refusals[each.wanted.id] = f"{message.code}: {message.text}"
        del self._subscriptions[each.wanted.id]
        return (Unsubscribed(each.wanted.id),)

    def _of_shape(
        self, connection: _Connection, shape: str | None
    ) -> list[tuple[str, Subscription]]:
        if shape not in connection.named:
            raise WireError(f"shape {shape!r} was never announced")
        return [(id, each) for id, each in self._subscriptions.items() if each.shape == shape]

    def _move(self, connection: _Connection, message: WireFrame) -> None:
        before, self._cursor = self._cursor, _Cursor(connection.epoch, message.lsn, message.tag)
        if self._cursor == before:
            return
        for each in self._subscriptions.values():
            if each.phase is not Phase.LIVE:
                each.has_position = False  # it did not move along

    def _count(self, connection: _Connection, size: int) -> tuple[Frame, ...]:
        connection.counted += 1
        connection.unacked += size
        if connection.unacked * 2 < connection.window:
            return ()
        connection.unacked = 0
        return (_write({"type": "ack", "n": connection.counted}),)


class TidewireDriver:
    """Speak the protocol with the server at a host and port of this machine."""

    name = "tidewire"

    def __init__(self, authority: str) -> None:
        self._url = f"ws://{authority}{PATH}"

    def endpoint(self) -> Endpoint:
        """Return where to connect to."""
        return Endpoint(self._url, (SUBPROTOCOL,))

    def session(self, client: str, tables: Mapping[str, Table]) -> TidewireSession:
        """Make the session of a client."""
        return TidewireSession(client, tables)


def _request(wanted: Wanted, table: Table) -> Json:
    shape: Shape = wanted.shape
    request: Json = {"id": wanted.id, "table": shape.table}
    if shape.columns != tuple(column.name for column in table.columns):
        request["columns"] = list(shape.columns)
    where = render_where(shape, table)
    if where is not None:
        request["where"] = where
    if not wanted.has_rows:
        request["initial"] = False
    return request


def _write(message: Json) -> str:
    return msgspec.json.encode(message).decode()
