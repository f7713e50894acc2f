"""All sessions of one node, and the log they read.

A session is a cursor into the log. *Live* means that the cursor is at the tail: such sessions stand
in the audience of their set of shapes, and a commit is encoded once per audience and handed to all
members. Whoever cannot take a commit (full window, full socket) stops at it, leaves the audience
and reads the log at its own pace until it is at the tail again::

    (join) --> behind <--> live         behind: `number` is the next commit to read
                 |  ^
               ahead                    its cursor is beyond what this node has read so far

Subscriptions that start from nothing stand on a *stage* beside the cursor: they read copies, and
join the live ones where both have met. Nobody waits for anybody: bounded memory per session, and
one that falls off the log is told so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import assert_never

from tidewire import limits
from tidewire.core.audience import WriteToAll
from tidewire.core.catchup import CatchUp
from tidewire.core.copies import Copies
from tidewire.core.encoder import Encoder
from tidewire.core.joining import Joining, Wanted
from tidewire.core.live import Live
from tidewire.core.model.lsn import Lsn, parse_lsn
from tidewire.core.model.spool import Spool
from tidewire.core.model.transaction import Transaction
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import encode_up_to_date
from tidewire.core.session.node import Node
from tidewire.core.session.server import ServerSession, State
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import ShapeId, ShapeSpec
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.history import History, Mark
from tidewire.core.stream.splice import Snapshot
from tidewire.errors import DecodeError, SpoolError

Asked = Sequence[frames.ShapeRequest]


class Hub:
    """Deliver transactions to sessions, and answer what sessions ask.

    `schedule` is called when `turn` has work to do: the shell calls `turn` soon after. `copy` is
    called when a table has to be copied: the shell answers with `splice` and then to `copies`.
    `nudge` is told what position somebody waits for. `write_to_all` writes a commit to the sockets
    of live sessions. `name` differs from that of every other node,
    and of this one before: the names of copies begin with it.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        schedule: Callable[[], None],
        copy: Callable[[Copy, ShapeSpec], None],
        nudge: Callable[[Lsn], None],
        write_to_all: WriteToAll,
        name: str,
        log_bytes: int = limits.LOG_BYTES,
    ) -> None:
        self.history = History(bytes_max=log_bytes)
        self.index = ShapeIndex()
        self.sessions: dict[ServerSession, None] = {}
        self._schedule = schedule
        self._nudge = nudge
        self._encoder = Encoder(self.index, spool)
        self._live = Live(self._fall_behind, write_to_all)
        self._catch_up = CatchUp(self._encoder)
        self.copies = Copies(
            self.index,
            self._encoder,
            spool,
            name=name,
            start=copy,
            wake=self._wake,
            fail=self._fail_copy,
        )
        self._joining = Joining(self.history, self.index, self._live, self.copies, self._wake)
        self._ready: dict[ServerSession, None] = {}
        self._waiting: dict[ServerSession, None] = {}
        """Sessions that have asked to be told of positions."""
        self._is_planned = False

    @property
    def epoch(self) -> str:
        """Name the history that positions belong to."""
        return self.history.epoch

    # --- the life of a session ---

    def open(self, session: ServerSession) -> None:
        """Add a session that has said nothing yet."""
        self.sessions[session] = None

    def leave(self, session: ServerSession) -> None:
        """Forget a session and all it had."""
        self.sessions.pop(session, None)
        self._joining.leave(session)
        self._ready.pop(session, None)
        self._waiting.pop(session, None)
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
                    self._joining.remove(session, [id])
                self._go_on(session)
            case frames.Ack():
                self._wake(session)
            case frames.Wait(lsn=lsn):
                self._waiting[session] = None
                self._nudge(parse_lsn(lsn))
                self._answer(session)
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
            self._go_on(session)
            session.flush()

    def join(
        self,
        session: ServerSession,
        shapes: Iterable[Wanted],
        *,
        fresh: Collection[str] = (),
        altered: Collection[str] = (),
        fingerprints: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Accept subscriptions; see `Joining` for where they begin.

        Those in `fresh` cannot be continued, because their table is in the stream only since now,
        and those in `altered` not, because it was another one. `fingerprints` are told by id.
        """
        wanted = [(request, spec) for request, spec in shapes if session.settle(request)]
        if session.state is not State.OPEN or not wanted:
            return
        self._joining.join(session, wanted, fresh=fresh, altered=altered, fingerprints=fingerprints)
        self._go_on(session)
        session.flush()

    def _go_on(self, session: ServerSession) -> None:
        # While it was not clear where a subscription begins, the session has waited for that.
        self._wake(session)
        self._answer(session)

    # --- commits ---

    def deliver(self, transactions: Iterable[Transaction], now: float) -> None:
        """Append commits to the log and hand them to all live sessions.

        Raises DecodeError when a row message is not sound; that commit is not in the log then.
        """
        try:
            for transaction in transactions:
                self._deliver_one(transaction, now)
        finally:
            self._live.settle()
            self._note_progress()

    def _deliver_one(self, transaction: Transaction, now: float) -> None:
        if transaction.size > limits.COMMIT_PART_BYTES:
            self._live.step_back(self.history.append(transaction, now))
            return
        encoded = self._encoder.encode(transaction)
        if encoded.unfit:
            self._end_unfit(encoded.unfit)
        number = self.history.append(transaction, now)
        if encoded.parts or encoded.unfit:
            self._encoder.remember(number, encoded)
            self._live.spread(number, transaction.lsn, encoded)

    def _end_unfit(self, unfit: Collection[ShapeId]) -> None:
        # Before the commit is told: whoever still has such a shape would be told half of it.
        self._live.settle()
        for session in self._live.touched_by(unfit):
            self._joining.take_away(session, unfit)
            session.flush()

    def _fall_behind(self, session: ServerSession, number: int) -> None:
        self._live.leave(session)
        session.stand_at(number)
        self._wake(session)

    def alter(self, relation_oid: int, unfit: Collection[ShapeId]) -> None:
        """Note that a table is another one now, which the log does not tell: end these shapes.

        Nothing over the table is continued from here or before.
        """
        self._joining.note_altered(relation_oid)
        for session in list(self.sessions):
            self._joining.take_away(session, unfit)
            session.flush()
        self.copies.drop(unfit)

    def advance(self, progress: Lsn) -> None:
        """Note that all commits that end at or below this position were delivered."""
        self.history.advance(progress)
        self._note_progress()

    def restart(
        self, epoch: str, floor: Lsn, horizon: int = 0, *, solid: Mark | None = None
    ) -> None:
        """Begin a new history: whatever clients have belongs to another one."""
        self.history.restart(epoch, floor, horizon, solid=solid)
        self._encoder.forget()
        self._joining.forget_altered()
        self.copies.clear()
        for session in list(self.sessions):
            if session.state is State.OPEN:
                self._joining.start_over(session, "other_history")  # also tells the epoch
                session.flush()

    def interrupt(self) -> None:
        """Note that the stream has ended: what it has not told for sure may be lost."""
        self.copies.interrupt(self.history.progress)

    def _note_progress(self) -> None:
        self._joining.settle_ahead()
        for session in self.copies.awaiting():
            self._wake(session)
        for session in list(self._waiting):
            self._answer(session)

    def _answer(self, session: ServerSession) -> None:
        if self._joining.is_at_tail(session) and session.reach(self.history.progress):
            session.outbox.push(encode_up_to_date(self.history.progress, self.history.tag))
            self._joining.note_told(session, self.history.progress)
            session.flush()
        if not session.waits:
            self._waiting.pop(session, None)

    # --- copies ---

    def splice(self, copy: Copy, snapshot: Snapshot, until: Lsn) -> bool:
        """Take the snapshot that a copy is made from; False when it has to be another one."""
        self.history.settle(snapshot)
        self._nudge(until)  # the stream may be there already, and nobody has asked
        return self.copies.splice(copy, snapshot, until, self.history)

    def _fail_copy(self, copy: Copy, code: str, text: str) -> None:
        self._joining.fail(copy, code, text)

    # --- sessions that read ---

    def stall(self, session: ServerSession, is_blocked: bool, now: float) -> None:
        """Note that the socket of a session takes nothing more, or takes again."""
        session.stall(is_blocked, now)
        if not is_blocked:
            self._wake(session)

    def turn(self) -> None:
        """Let every session and copy that can go on read a bounded piece of the log."""
        self._is_planned = False
        self.copies.follow(self.history, limits.CATCHUP_COMMITS)
        if self.copies.has_news(self.history):
            self._plan()
        ready, self._ready = self._ready, {}
        self._catch_up.effort = 0
        for session in ready:
            if self._catch_up.effort >= limits.CATCHUP_COMMITS:
                self._wake(session)  # enough for one turn: others want the loop
                continue
            try:
                self._serve(session)
            except SpoolError as error:
                session.close("overloaded", str(error))
            except DecodeError as error:
                session.close("internal", f"the log cannot be read: {error}")
            session.flush()

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            self._schedule()

    def _wake(self, session: ServerSession) -> None:
        is_idle = session.is_live or not session.shapes
        if (is_idle and not session.stages) or self._joining.is_ahead(session):
            return
        self._ready[session] = None
        self._plan()

    def _serve(self, session: ServerSession) -> None:
        """Send a session what it can take, from the log and from copies by turns."""
        while self._catch_up.effort < limits.CATCHUP_COMMITS:
            if session.state is not State.OPEN or self._joining.is_ahead(session):
                return
            has_read = self._read_log(session)
            if self._joining.feed(session):
                self._catch_up.effort += 1
            elif not has_read:
                return
        self._wake(session)

    def _read_log(self, session: ServerSession) -> bool:
        if session.is_live or not session.shapes:
            return False
        if session.number < self.history.first:
            self._joining.start_over(session, "lagged")
            return True
        if session.number == self.history.next:
            self._go_live(session)
            return True
        if not session.outbox.has_room:
            return False
        if unfit := self._catch_up.send_next(session, self.history):
            self._joining.take_away(session, unfit)
        return True

    def _go_live(self, session: ServerSession) -> None:
        session.since.clear()
        position = self.history.progress
        self._live.enter(session, position)
        session.reach(position)
        session.outbox.push(encode_up_to_date(position, self.history.tag))

    # --- time ---

    def tick(self, now: float) -> None:
        """Do what is due: expire the log, tell progress, wake sessions whose deadline has come."""
        self.history.expire(now)
        self.copies.tick(now)
        frame = encode_up_to_date(self.history.progress, self.history.tag)
        for session in self._live.untold(self.history.progress):
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
