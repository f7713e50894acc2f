"""All sessions of one node, and the log they read.

A session is a cursor into the log. *Live* means that the cursor is at the tail: such sessions stand
in the audience of their set of shapes, and a commit is encoded once per audience and handed to all
members. Whoever cannot take a commit (full window, full socket) stops at it, leaves the audience
and reads the log at its own pace until it is at the tail again::

    (join) --> behind <--> live         behind: `number` is the next commit to read
                 |  ^
               ahead                    its cursor is beyond what this node has read so far

Nobody waits for anybody: bounded memory per session, and one that falls off the log is told so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal, assert_never

from tidewire import limits
from tidewire.core.audience import Audience, Audiences
from tidewire.core.encoder import EncodedCommit, Encoder
from tidewire.core.model.lsn import Lsn, format_lsn, parse_lsn
from tidewire.core.model.spool import Spool
from tidewire.core.model.transaction import Transaction
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import encode, text_frame
from tidewire.core.session.server import Node, ServerSession, State
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import Shape, ShapeId, ShapeSpec
from tidewire.core.stream.cursor import Cursor
from tidewire.core.stream.history import History, Place
from tidewire.errors import DecodeError, SpoolError

ResetReason = Literal["lagged", "other_history", "schema_changed"]
Asked = Sequence[frames.ShapeRequest]


class Hub:
    """Deliver transactions to sessions, and answer what sessions ask.

    `schedule` is called when `turn` has work to do: the shell calls `turn` soon after.
    """

    def __init__(self, spool: Spool, *, schedule: Callable[[], None]) -> None:
        self.epoch = ""
        self.history = History()
        self.index = ShapeIndex()
        self.sessions: dict[ServerSession, None] = {}
        self._schedule = schedule
        self._encoder = Encoder(self.index, spool)
        self._audiences = Audiences()
        self._ready: dict[ServerSession, None] = {}
        self._ahead: dict[ServerSession, Cursor] = {}
        self._effort = 0
        """Commits looked at in this turn."""
        self._running: dict[Audience, None] = {}
        """Audiences whose run is not handed out yet; empty between two deliveries."""

    # --- the life of a session ---

    def open(self, session: ServerSession) -> None:
        """Add a session that has said nothing yet."""
        self.sessions[session] = None

    def leave(self, session: ServerSession) -> None:
        """Forget a session and all it had."""
        self.sessions.pop(session, None)
        self._audiences.leave(session)
        self._ready.pop(session, None)
        self._ahead.pop(session, None)
        for shape in session.shapes.values():
            self.index.release(shape)
        session.retire()

    def receive(self, session: ServerSession, payload: bytes, now: float) -> Asked:
        """Take one frame of a client; return the shapes that the catalog has to resolve.

        The answer to those is given with `join` or `refuse`.
        """
        request = session.receive(payload, now, Node(self.epoch, self.history.progress))
        asked: Asked = ()
        match request:
            case frames.Subscribe(shapes=shapes):
                sound = [shape for shape in shapes if _has_sound_start(session, shape)]
                asked = [shape for shape in sound if session.reserve(shape)]
            case frames.Unsubscribe(id=id):
                if session.give_up(id):
                    self._change_shapes(session, remove=[id])
            case frames.Ack():
                self._wake(session)
            case None:
                pass
            case _:
                assert_never(request)
        session.flush()
        return asked

    def refuse(
        self, session: ServerSession, request: frames.ShapeRequest, code: str, text: str
    ) -> None:
        """Answer a subscription that cannot be."""
        if session.settle(request):
            session.refuse(code, text, request.id)
            session.flush()

    def join(
        self,
        session: ServerSession,
        shapes: Iterable[tuple[frames.ShapeRequest, ShapeSpec]],
        *,
        fresh: Collection[str] = (),
    ) -> None:
        """Make subscriptions live together, or let them catch up from where the client left off.

        Those in `fresh` cannot be continued: their table is in the stream only since now.
        """
        wanted = [(request, spec) for request, spec in shapes if session.settle(request)]
        if session.state is not State.OPEN or not wanted:
            return
        is_first, held = not session.shapes, session.shape_ids
        add = {request.id: self.index.acquire(spec) for request, spec in wanted}
        self._change_shapes(session, add=add)
        for request, _ in wanted:
            session.send_subscribed(request, add[request.id])
        resumed = [request for request, _ in wanted if request.start]
        going_on = [request for request in resumed if is_first and request.id not in fresh]
        if is_first:
            self._place(session, {request.start for request in going_on if request.start})
        # What the session still has to read from before now is for these shapes only.
        continued = held.union(add[request.id].id for request in going_on)
        session.since.update(
            (shape.id, self.history.next) for shape in add.values() if shape.id not in continued
        )
        for request in resumed:
            # One session has one cursor, and it has left that position already.
            if request not in going_on:
                self._reset(session, "other_history", add[request.id])
        self._wake(session)
        session.flush()

    def _place(self, session: ServerSession, starts: set[frames.From]) -> None:
        self._ahead.pop(session, None)
        session.stand_at(self.history.next)
        if not starts:
            return
        cursor = _cursor(starts.pop())
        if starts or cursor.epoch != self.epoch:
            self._reset(session, "other_history")
        else:
            self._locate(session, cursor)

    def _locate(self, session: ServerSession, cursor: Cursor) -> None:
        place, number = self.history.locate(cursor.lsn, cursor.tag)
        match place:
            case Place.FOUND:
                session.stand_at(number)
            case Place.AHEAD:
                self._ahead[session] = cursor
                self._ready.pop(session, None)
            case Place.LOST:
                self._reset(session, "lagged")
            case Place.FOREIGN:
                self._reset(session, "other_history")
            case _:
                assert_never(place)

    def _reset(
        self, session: ServerSession, reason: ResetReason, shape: Shape | None = None
    ) -> None:
        name = shape.id if shape else None
        session.send(frames.Reset(reason=reason, epoch=self.epoch, shape=name))

    def _change_shapes(
        self,
        session: ServerSession,
        *,
        add: dict[str, Shape] | None = None,
        remove: Iterable[str] = (),
    ) -> None:
        was_live = session.is_live
        self._audiences.leave(session)
        for id in remove:
            self.index.release(session.shapes.pop(id))
        session.shapes.update(add or {})
        session.shape_ids = frozenset(shape.id for shape in session.shapes.values())
        session.stand_at(self.history.next if was_live else session.number)
        self._wake(session)

    # --- commits ---

    def deliver(self, transactions: Iterable[Transaction], now: float) -> None:
        """Append commits to the log and hand them to all live sessions.

        Raises DecodeError when a row message is not sound; that commit is not in the log then.
        """
        try:
            for transaction in transactions:
                self._deliver_one(transaction, now)
        finally:
            self._settle_runs()
            self._settle_ahead()

    def _deliver_one(self, transaction: Transaction, now: float) -> None:
        if transaction.size > limits.COMMIT_PART_BYTES:
            self._settle_runs()
            self._step_back(self.history.append(transaction, now))
            return
        encoded = self._encoder.encode(transaction)
        number = self.history.append(transaction, now)
        if encoded.parts or encoded.unfit:
            self._encoder.remember(number, encoded)
            self._spread(number, transaction.lsn, encoded)

    def _spread(self, number: int, lsn: Lsn, encoded: EncodedCommit) -> None:
        for audience in self._audiences.touched_by(encoded.parts):
            frame = encoded.frame(audience.shapes)
            assert frame is not None, "the audience is touched"
            audience.add(number, lsn, frame)
            self._running[audience] = None
            if audience.run_bytes >= limits.WINDOW_MARK_BYTES:
                self._settle(audience)
        if encoded.unfit:
            self._settle_runs()
            for audience in self._audiences.touched_by(encoded.unfit):
                for session in list(audience.members):
                    self._take_away(session, encoded.unfit)
                    session.flush()

    def _settle_runs(self) -> None:
        for audience in list(self._running):
            self._settle(audience)

    def _settle(self, audience: Audience) -> None:
        del self._running[audience]
        for session in audience.settle():
            self._fall_behind(session, audience.run_number)

    def _step_back(self, number: int) -> None:
        # A large commit is read part by part: all live sessions leave the tail for it.
        for audience in self._audiences:
            for session in list(audience.members):
                self._fall_behind(session, number)

    def _fall_behind(self, session: ServerSession, number: int) -> None:
        self._audiences.leave(session)
        session.stand_at(number)
        self._wake(session)

    def advance(self, progress: Lsn) -> None:
        """Note that all commits that end at or below this position were delivered."""
        self.history.advance(progress)
        self._settle_ahead()

    def restart(self, epoch: str, floor: Lsn) -> None:
        """Begin a new history: whatever clients have belongs to another one."""
        self.epoch = epoch
        self.history = History(floor)
        self._encoder.forget()
        self._ahead.clear()
        for session in list(self.sessions):
            session.since.clear()  # numbers begin anew
            if session.state is State.OPEN:
                self._reset(session, "other_history")  # also tells the epoch
                self._fall_behind(session, self.history.next)
                session.flush()

    def _settle_ahead(self) -> None:
        for session, cursor in list(self._ahead.items()):
            if cursor.lsn <= self.history.progress:
                del self._ahead[session]
                session.stand_at(self.history.next)
                self._locate(session, cursor)
                self._wake(session)

    def _take_away(self, session: ServerSession, unfit: Collection[ShapeId]) -> bool:
        """End the subscriptions of a session that do not fit their table any more."""
        lost = [id for id, shape in session.shapes.items() if shape.id in unfit]
        for id in lost:
            self._reset(session, "schema_changed", session.shapes[id])
        if lost:
            self._change_shapes(session, remove=lost)
        return bool(lost)

    # --- sessions that read the log ---

    def stall(self, session: ServerSession, is_blocked: bool, now: float) -> None:
        """Note that the socket of a session takes nothing more, or takes again."""
        session.stall(is_blocked, now)
        if not is_blocked:
            self._wake(session)

    def turn(self) -> None:
        """Let every session that is behind and can go on read a bounded piece of the log."""
        ready, self._ready = self._ready, {}
        self._effort = 0
        for session in ready:
            if self._effort >= limits.CATCHUP_COMMITS:
                self._wake(session)  # enough for one turn: others want the loop
                continue
            try:
                self._read_log(session)
            except SpoolError as error:
                session.close("overloaded", str(error))
            except DecodeError as error:
                session.close("internal", f"the log cannot be read: {error}")
            session.flush()

    def _wake(self, session: ServerSession) -> None:
        if session.is_live or not session.shapes or session in self._ahead:
            return
        if not self._ready:
            self._schedule()
        self._ready[session] = None

    def _read_log(self, session: ServerSession) -> None:
        while self._effort < limits.CATCHUP_COMMITS:
            if session.state is not State.OPEN or session.is_live or not session.shapes:
                return
            if session.number < self.history.first:
                self._reset(session, "lagged")
                session.stand_at(self.history.next)
            if session.number == self.history.next:
                self._go_live(session)
                return
            if not session.outbox.has_room:
                return
            self._send_next(session)
        self._wake(session)

    def _send_next(self, session: ServerSession) -> None:
        self._effort += 1
        transaction = self.history.at(session.number)
        if transaction.size > limits.COMMIT_PART_BYTES:
            self._send_part(session, transaction)
            return
        encoded = self._encoder.recall(session.number, transaction)
        if encoded.unfit and self._take_away(session, encoded.unfit):
            return
        if frame := encoded.frame(session.shapes_at(session.number)):
            session.outbox.push_counted(frame)
        session.number += 1

    def _send_part(self, session: ServerSession, transaction: Transaction) -> None:
        parts = session.cut
        if parts is None:
            shapes = session.shapes_at(session.number)
            parts = self._encoder.parts(session.number, transaction, shapes)
            session.cut = parts
        if session.part == len(parts) and not parts.is_complete:
            parts.step()
            self._effort += limits.CATCHUP_COMMITS  # as much as one turn may take
        if parts.unfit and self._take_away(session, parts.unfit):
            return
        if session.part < len(parts):
            session.outbox.push_counted(parts.frame(session.part))
            session.part += 1
        if session.part == len(parts) and parts.is_complete:
            session.stand_at(session.number + 1)

    def _go_live(self, session: ServerSession) -> None:
        session.since.clear()
        self._audiences.enter(session, self.history.progress)
        session.outbox.push(self._up_to_date())

    def _up_to_date(self) -> bytes:
        lsn, tag = self.history.progress, self.history.tag
        return text_frame(encode(frames.UpToDate(lsn=format_lsn(lsn), tag=tag)))

    # --- time ---

    def tick(self, now: float) -> None:
        """Do what is due: expire the log, tell progress, wake sessions whose deadline has come."""
        self.history.expire(now)
        for audience in self._audiences:
            if audience.told < self.history.progress:
                audience.told = self.history.progress
                frame = self._up_to_date()
                for session in list(audience.members):
                    session.outbox.push(frame)
                    session.flush()
        for session in list(self.sessions):
            if now >= session.deadline:
                session.wake(now)


def _has_sound_start(session: ServerSession, shape: frames.ShapeRequest) -> bool:
    try:
        parse_lsn(shape.start.lsn if shape.start else "0/0")
    except ValueError as error:
        session.refuse("bad_lsn", str(error), shape.id)
        return False
    return True


def _cursor(start: frames.From) -> Cursor:
    return Cursor(start.epoch, parse_lsn(start.lsn), start.tag)
