"""The client's end of a connection, as a state machine that outlives its sockets.

::

    (new) --connect--> OPENING --welcome--> OPEN --disconnect--> CLOSED --connect--> OPENING ...

It remembers the subscriptions and the cursor, so that every new connection takes up where the last
one ended. Each subscription has a phase of its own:

============ ==================== =================== =================== ====================
             WANTED               COPYING             STAGED              LIVE
============ ==================== =================== =================== ====================
`subscribed` COPYING, or LIVE     COPYING             STAGED              as in WANTED
chunk        breaks the protocol  COPYING; the last:  number 0: COPYING   passed over
                                  STAGED
staged       breaks the protocol  breaks the protocol `Committed`         passed over
commit       passed over          passed over         passed over         `Committed`
`live`       breaks the protocol  breaks the protocol LIVE                LIVE
`reset`      asks without `from`  COPYING             COPYING             COPYING (LIVE without
                                                                          `initial`)
`error`      WANTED, or forgotten WANTED, or          WANTED, or          LIVE
                                  forgotten           forgotten
disconnect   WANTED               WANTED: `resume`    WANTED: `resume`    WANTED: `from`
============ ==================== =================== =================== ====================

After a `reset` with `schema_changed` every one is WANTED, and asked for again. What comes for a
subscription that was given up is passed over: it was under way.

Rows are not kept here but handed out; only a commit in parts is gathered, until it is whole. The
session asks nothing of the clock: liveness is the socket's affair, and retries are the shell's.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import assert_never

from tidewire import limits
from tidewire.core.model.lsn import LSN_ZERO, Lsn, format_lsn
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import decode_server, encode
from tidewire.core.protocol.codes import ERRORS
from tidewire.core.protocol.events import (
    Chunk,
    Committed,
    Event,
    Joined,
    Opened,
    Progressed,
    Refused,
    RowChange,
    Step,
    WasReset,
)
from tidewire.core.protocol.form import read_lsn
from tidewire.core.session.wanted import Phase, Wanted, batches
from tidewire.core.stream.cursor import Cursor
from tidewire.errors import ProtocolError

__all__ = [
    "Chunk",
    "ClientSession",
    "Committed",
    "Event",
    "Joined",
    "Opened",
    "Progressed",
    "Refused",
    "RowChange",
    "State",
    "WasReset",
]


class State(enum.Enum):
    """Where the session is."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"


class ClientSession:
    """Feed it messages of the server; collect events from `receive` and frames from `take`."""

    def __init__(self, client: str, token: str | None = None) -> None:
        self.client = client
        self.state = State.CLOSED
        self.cursor: Cursor | None = None
        self.welcomed_at = LSN_ZERO
        """Where the server was when it accepted the last connection."""
        self._token = token
        self.epoch = ""
        self._subscriptions: dict[str, Wanted] = {}
        # Shapes that the server of this connection has named: others it may not speak of; and
        # those of subscriptions given up on it: what was under way still comes.
        self._named, self._left = set[str](), set[str]()
        self._waits: set[Lsn] = set()
        self._outgoing: list[bytes] = []
        self._window = limits.WINDOW_BYTES
        self._counted = 0
        self._unacked_bytes = 0
        self._parts: dict[bool, list[frames.Commit]] = {False: [], True: []}
        """Commits of which parts are missing: one for the live and one for the staged."""

    # --- what the application wants ---

    def subscribe(self, id: str, table: str, *, initial: bool = True) -> None:
        """Ask for a whole table."""
        self.subscribe_all([frames.ShapeRequest(id=id, table=table, initial=initial)])

    def subscribe_all(self, requests: Sequence[frames.ShapeRequest]) -> None:
        """Ask for shapes that become live together; and again on each new connection."""
        if not self._subscriptions:
            self.cursor = None  # nobody continues anything: the next server may be behind it
        for request in requests:
            assert request.id not in self._subscriptions, "ids are the caller's, and unique"
            self._subscriptions[request.id] = Wanted(request)
        if self.state is State.OPEN:
            self._ask(requests)

    def go_on(self, cursor: Cursor, requests: Iterable[frames.ShapeRequest]) -> None:
        """Take up, before the first connection, what another session had, fingerprints and all."""
        self.subscribe_all(list(requests))
        for subscription in self._subscriptions.values():
            subscription.has_position = True
        self.cursor = cursor

    def unsubscribe(self, *ids: str) -> None:
        """Give up subscriptions."""
        for id in ids:
            subscription = self._subscriptions.pop(id, None)
            if subscription and subscription.shape:
                self._left.add(subscription.shape)
            if subscription and subscription.is_asked and self.state is State.OPEN:
                self._send(frames.Unsubscribe(id=id))

    def ask_again(self, *ids: str) -> None:
        """Repeat subscriptions that were refused with a code that allows it."""
        found = [self._subscriptions[id] for id in ids if id in self._subscriptions]
        if self.state is State.OPEN:
            again = [its for its in found if not its.is_asked]
            # Who is late cannot go on from a cursor that the others move.
            self._ask([its.resumed() if self._has_live else self._resumed(its) for its in again])

    def wait(self, lsn: Lsn) -> None:
        """Ask to be told as soon as everything up to a position has been handed out."""
        # Beyond the limit progress is told too, but once a second only.
        if self.state is State.OPEN and lsn not in self._waits and len(self._waits) < limits.WAITS:
            self._send(frames.Wait(lsn=format_lsn(lsn)))
        self._waits.add(lsn)

    def stop_waiting(self, lsn: Lsn) -> None:
        """Do not ask for a position on the next connection."""
        self._waits.discard(lsn)

    @property
    def is_loading(self) -> bool:
        """Some subscription is not live: it is being copied, or not even accepted."""
        return any(not its.has_position for its in self._subscriptions.values())

    # --- the life of a connection ---

    def connect(self) -> None:
        """Begin on a new socket."""
        self.state = State.OPENING
        self._outgoing = []
        self._counted = self._unacked_bytes = 0
        self._leave()
        if not any(its.has_position for its in self._subscriptions.values()):
            self.cursor = None  # there is nothing that it could continue
        if self.cursor is None:
            for subscription in self._subscriptions.values():
                subscription.has_position = False
        self._send(frames.Hello(client=self.client, token=self._token))

    def disconnect(self) -> None:
        """Note that the socket is gone."""
        self.state = State.CLOSED
        self._leave()

    def start_over(self) -> None:
        """Forget what was received, after `disconnect`: the next connection brings new copies."""
        assert self.state is State.CLOSED, "the server of this connection would not know of it"
        self.cursor = None
        for subscription in self._subscriptions.values():
            subscription.forget()

    def _leave(self) -> None:
        self._parts = {False: [], True: []}
        self._named, self._left = set[str](), set[str]()
        for subscription in self._subscriptions.values():
            subscription.leave()

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
            case frames.Snapshot():
                return self._snapshot(frame, len(payload))
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
        self.epoch, self.welcomed_at = frame.epoch, read_lsn(frame.lsn)
        self._window = frame.limits.get("window_bytes", limits.WINDOW_BYTES)
        for subscription in self._subscriptions.values():
            subscription.keep_copy_of(frame.epoch)
        self._ask([self._resumed(its) for its in self._subscriptions.values()])
        for lsn in sorted(self._waits)[: limits.WAITS]:
            self._send(frames.Wait(lsn=format_lsn(lsn)))
        return Opened(frame.session, frame.epoch)

    def _resumed(self, subscription: Wanted) -> frames.ShapeRequest:
        if self.cursor is None or not subscription.has_position:
            return subscription.resumed()
        return subscription.continued(self.cursor)

    def _ask(self, requests: Iterable[frames.ShapeRequest]) -> None:
        # `from` counts in the first message of a connection only.
        for batch in batches(sorted(requests, key=lambda request: request.start is None)):
            for request in batch:
                self._subscriptions[request.id].ask(request)
            self._send(frames.Subscribe(shapes=batch))

    def _subscribed(self, frame: frames.Subscribed) -> list[Event]:
        self._named.add(frame.shape)
        subscription = self._subscriptions.get(frame.id)
        if subscription is None:
            self._left.add(frame.shape)
            return []  # given up in the meantime
        has_lost = subscription.accept(frame)
        if has_lost and not any(its.has_position for its in self._subscriptions.values()):
            self.cursor = None  # nobody continues anything: the server may be behind it
        form = subscription.form
        joined = Joined(
            frame.id, frame.table, form.columns, form.key, frame.mode, frame.fingerprint
        )
        return [WasReset((frame.id,), "other_history"), joined] if has_lost else [joined]

    def _snapshot(self, frame: frames.Snapshot, size: int) -> list[Event]:
        self._count(size)
        loading = [
            (id, its)
            for id, its in self._of_shape(frame.shape)
            if its.phase in {Phase.COPYING, Phase.STAGED}
        ]
        if not loading:
            return []  # given up in the meantime
        takers = [(id, its) for id, its in loading if its.expects(frame)]
        if not takers:
            if frame.shape in self._left:
                return []
            raise ProtocolError("bad_frame", f"chunk {frame.chunk} of a copy is out of order")
        form = takers[0][1].form
        rows = [form.read_row(row) for row in frame.rows]
        for _, subscription in takers:
            subscription.take_chunk(frame, self.epoch)
        ids = tuple(id for id, _ in takers)
        return [Chunk(ids, frame.copy, frame.chunk, rows, frame.last)]

    def _commit(self, frame: frames.Commit, size: int) -> list[Event]:
        self._count(size)
        gathered = self._parts[frame.stage]
        if not frame.part:
            gathered.clear()  # the server began again, or went on to another commit
        if (frame.part or 0) != len(gathered):
            raise ProtocolError("bad_frame", "a part of a commit is missing")
        gathered.append(frame)
        if frame.part is not None and not frame.last:
            return []
        whole, self._parts[frame.stage] = gathered, []
        steps = tuple(self._read_step(piece) for piece in whole)
        lsn = read_lsn(frame.lsn)
        lost = [] if frame.stage else self._move(lsn, frame.tag)
        return [*lost, Committed(lsn, frame.at, frame.xid, steps, frame.stage)]

    def _read_step(self, frame: frames.Commit) -> Step:
        step: Step = {}
        phase = Phase.STAGED if frame.stage else Phase.LIVE
        for part in frame.parts:
            of_shape = self._of_shape(part.shape)
            takers = [(id, its) for id, its in of_shape if its.phase is phase]
            is_early = frame.stage and any(its.phase is not Phase.LIVE for _, its in of_shape)
            if is_early and not takers and part.shape not in self._left:
                raise ProtocolError("bad_frame", "a staged commit before the copy is whole")
            if takers:
                found = [takers[0][1].form.read_change(change) for change in part.changes]
                for id, _ in takers:
                    step.setdefault(id, []).extend(found)
        return step

    def _up_to_date(self, frame: frames.UpToDate) -> list[Event]:
        named = [(id, self._subscriptions[id]) for id in frame.live if id in self._subscriptions]
        fresh = tuple(id for id, its in named if its.phase is not Phase.LIVE)
        if any(its.phase not in {Phase.STAGED, Phase.LIVE} for _, its in named):
            raise ProtocolError("bad_frame", "live before the copy is whole")
        lsn = read_lsn(frame.lsn)
        lost = self._move(lsn, frame.tag)
        for _, subscription in named:
            subscription.go_live()
        return [*lost, Progressed(lsn, fresh)]

    def _reset(self, frame: frames.Reset) -> list[Event]:
        if has_new_epoch := frame.epoch != self.epoch:
            self.epoch, self.welcomed_at = frame.epoch, LSN_ZERO
        if frame.shape is None:
            self.cursor = None
            self._parts[False] = []
        # After a change of the table the server has taken the subscriptions away: ask for the table
        # as it is now.
        is_gone = frame.reason == "schema_changed"
        concerned = {
            id: its
            for id, its in self._subscriptions.items()
            if (frame.shape is None and its.is_known) or (frame.shape and its.shape == frame.shape)
        }
        for subscription in concerned.values():
            subscription.reset(has_ended=is_gone, keeps_copy=not has_new_epoch)
        if is_gone:
            self._ask([subscription.request for subscription in concerned.values()])
        return [WasReset(tuple(concerned), frame.reason)]

    def _refused(self, frame: frames.Error) -> list[Event]:
        code, id = ERRORS.get(frame.code), frame.ref or ""
        subscription = self._subscriptions.get(id)
        if subscription is None or subscription.phase is Phase.LIVE:
            return [Refused(frame.code, frame.text, frame.ref)]
        subscription.refuse()
        if not (code and code.retry):
            del self._subscriptions[id]
        return [Refused(frame.code, frame.text, frame.ref, has_ended=True)]

    # --- bookkeeping ---

    @property
    def _has_live(self) -> bool:
        return any(its.phase is Phase.LIVE for its in self._subscriptions.values())

    def _of_shape(self, shape: str) -> list[tuple[str, Wanted]]:
        if shape not in self._named:
            raise ProtocolError("bad_frame", f"a shape that nobody has: {shape[:200]!r}")
        return [(id, its) for id, its in self._subscriptions.items() if its.shape == shape]

    def _move(self, lsn: Lsn, tag: str) -> list[Event]:
        before = self.cursor
        goes_back = before and before.epoch == self.epoch and lsn < before.lsn
        if goes_back and self._has_live:
            raise ProtocolError("bad_frame", "the server's position went back")
        self.cursor = Cursor(self.epoch, lsn, tag)
        self._waits = {wanted for wanted in self._waits if wanted > lsn}
        # Who was refused on this connection is not moved along, and cannot go on from here, even if
        # it was asked for again.
        lost = {
            id: its
            for id, its in self._subscriptions.items()
            if its.has_position and its.phase is not Phase.LIVE and before != self.cursor
        }
        for subscription in lost.values():
            subscription.forget()
        return [WasReset(tuple(lost), "lagged")] if lost else []

    def _count(self, size: int) -> None:
        self._counted += 1
        self._unacked_bytes += size
        if self._unacked_bytes * 2 >= self._window:
            self._unacked_bytes = 0
            self._send(frames.Ack(n=self._counted))

    def _send(self, frame: frames.Frame) -> None:
        self._outgoing.append(encode(frame))
