"""How subscriptions come and go: at once, from a cursor, or by way of a stage.

::

    subscribe                       where its session stands then
    `initial: false`                live from now on; what the session still has to read is older
    `from`, and the log has it      behind: reads on from its cursor
    `from`, beyond this node        ahead: waits until the log has come there
    `from`, lost or foreign         `reset`, then as without `from`
    without `from`                  on a stage: reads copies until they meet the log
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal, assert_never

from tidewire.core.copies import Copies
from tidewire.core.live import Live
from tidewire.core.model.lsn import LSN_ZERO, Lsn, parse_lsn
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import encode_up_to_date
from tidewire.core.session.server import ServerSession
from tidewire.core.session.stage import Reader, Stage
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import Shape, ShapeId, ShapeSpec
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.cursor import Cursor
from tidewire.core.stream.history import History, Place

ResetReason = Literal["lagged", "other_history", "schema_changed"]
Wanted = tuple[frames.ShapeRequest, ShapeSpec]
_Accepted = tuple[frames.ShapeRequest, Shape]


class Joining:
    """Bring the subscriptions of sessions to where they are live, and take them away."""

    def __init__(
        self,
        history: History,
        index: ShapeIndex,
        live: Live,
        copies: Copies,
        wake: Callable[[ServerSession], None],
    ) -> None:
        self._history = history
        self._index = index
        self._live = live
        self._copies = copies
        self._wake = wake
        self._ahead: dict[ServerSession, Cursor] = {}
        self._told: dict[ServerSession, Lsn] = {}
        """What sessions without live subscriptions were told: nothing goes on from before that."""
        self._altered: dict[int, Lsn] = {}
        """Tables that are others than they were up to here, which the log does not tell."""

    def is_ahead(self, session: ServerSession) -> bool:
        """Tell whether a session waits for the log to come to its cursor."""
        return session in self._ahead

    # --- coming ---

    def join(
        self,
        session: ServerSession,
        wanted: Iterable[Wanted],
        *,
        fresh: Collection[str],
        altered: Collection[str],
        fingerprints: Mapping[str, str],
    ) -> None:
        """Accept subscriptions; those in `fresh` or `altered` cannot be continued."""
        # One session has one cursor: later subscriptions cannot go on from another position.
        may_go_on = not session.shapes
        at_once: list[_Accepted] = []
        staged: list[_Accepted] = []
        lost: dict[ShapeId, Shape] = {}
        continued: dict[ShapeId, set[frames.From]] = {}
        # What holds for one subscription holds for all with its shape: `reset` names the shape.
        fresh_tables = {spec.relation_oid for request, spec in wanted if request.id in fresh}
        altered_specs = {
            spec for request, spec in wanted if request.start and request.id in altered
        }
        for request, spec in wanted:
            shape = self._index.acquire(spec)
            is_old = spec.relation_oid not in fresh_tables and spec not in altered_specs
            start = self._start(session, request, spec) if may_go_on and is_old else None
            if start:
                continued.setdefault(shape.id, set()).add(start)
            elif request.start:
                lost[shape.id] = shape
            if request.id in fresh:
                self._copies.discard(spec.relation_oid)
            if request.initial:
                session.initial.add(request.id)
            is_staged = request.initial and not start
            (staged if is_staged else at_once).append((request, shape))
            fingerprint = fingerprints.get(request.id, "")
            session.send_subscribed(request, shape, fingerprint, is_staged=is_staged)
        for shape in lost.values():
            self._lose(session, shape)
        if at_once:
            self._join_at_once(session, at_once, continued)
        if staged:
            self._join_stage(session, staged)

    def _start(
        self, session: ServerSession, request: frames.ShapeRequest, spec: ShapeSpec
    ) -> frames.From | None:
        """Return the cursor to go on from.

        It may not lie before what the session was told, and not where the table was another one.
        """
        if not request.start:
            return None
        lsn, altered = parse_lsn(request.start.lsn), self._altered.get(spec.relation_oid)
        is_late = lsn >= self._told.get(session, LSN_ZERO) and (altered is None or lsn > altered)
        return request.start if is_late else None

    def _lose(self, session: ServerSession, shape: Shape) -> None:
        session.send_reset("other_history", self._history.epoch, shape)
        # That was said of the shape, and so of all subscriptions that have it.
        again = [id for id in session.shapes if session.shapes[id] == shape]
        number = self._history.next if session.is_live else session.number
        self._live.leave(session)
        self._stage_again(session, again)
        session.stand_at(number)

    def _join_at_once(
        self,
        session: ServerSession,
        accepted: list[_Accepted],
        continued: dict[ShapeId, set[frames.From]],
    ) -> None:
        is_first, held = not session.shapes, session.shape_ids
        self._change(session, add={request.id: shape for request, shape in accepted})
        if is_first:
            self._place(session, set().union(*continued.values()))
        # What the session still has to read from before now is for the other shapes only.
        newcomers = {shape.id for _, shape in accepted if shape.id not in held} - continued.keys()
        session.since.update((id, self._history.next) for id in newcomers)

    def _place(self, session: ServerSession, starts: set[frames.From]) -> None:
        self._ahead.pop(session, None)
        session.since.clear()
        session.stand_at(self._history.next)
        if not starts:
            return
        start = starts.pop()
        cursor = Cursor(start.epoch, parse_lsn(start.lsn), start.tag)
        if starts or cursor.epoch != self._history.epoch:
            self.start_over(session, "other_history")
        else:
            self._locate(session, cursor)

    def _locate(self, session: ServerSession, cursor: Cursor) -> None:
        place, number = self._history.locate(cursor.lsn, cursor.tag)
        match place:
            case Place.FOUND:
                session.stand_at(number)
            case Place.AHEAD:
                self._ahead[session] = cursor
            case Place.LOST:
                self.start_over(session, "lagged")
            case Place.FOREIGN:
                self.start_over(session, "other_history")
            case _:
                assert_never(place)

    def settle_ahead(self) -> None:
        """Let those go on whose cursor the log has reached."""
        for session, cursor in list(self._ahead.items()):
            if cursor.lsn <= self._history.progress:
                del self._ahead[session]
                session.stand_at(self._history.next)
                self._locate(session, cursor)
                self._wake(session)
                session.flush()

    # --- by way of a stage ---

    def _join_stage(self, session: ServerSession, accepted: list[_Accepted]) -> None:
        stage = Stage()
        resumes: dict[ShapeId, set[frames.Resume | None]] = {}
        for request, shape in accepted:
            resumes.setdefault(shape.id, set()).add(request.resume)
        # On one connection the chunks of one shape are for all that have it: only if those have the
        # same chunks already, and nobody gets them before, they can be left out.
        taken = {id for stage in session.stages for id in stage.readers}
        for request, shape in accepted:
            goes_on = len(resumes[shape.id]) == 1 and shape.id not in taken
            reader = self._reader(session, stage, shape, request.resume if goes_on else None)
            stage.add(request.id, reader)
        session.stages.append(stage)

    def _reader(
        self,
        session: ServerSession,
        stage: Stage,
        shape: Shape,
        resume: frames.Resume | None = None,
    ) -> Reader:
        if reader := stage.readers.get(shape.id):
            return reader
        copy = self._copies.open(shape, session, resume.copy if resume else None)
        reader = Reader(shape, copy)
        if resume and copy.id == resume.copy and resume.chunk <= copy.chunks:
            reader.begin(copy, resume.chunk)
        return reader

    def feed(self, session: ServerSession) -> bool:
        """Send the next frame of the stages of a session; False when there is none now.

        Raises SpoolError when the spool cannot be read.
        """
        if not session.stages:
            return False  # after every commit that somebody catches up with
        taken: set[ShapeId] = set()
        number, position, tag = self._stand(session)
        for stage in session.stages:
            # Rows of one shape can be told from those of another, but not from its own again.
            if taken.isdisjoint(stage.readers):
                self._renew(session, stage)
                if self._may_enter(session, stage) and stage.is_ready(number, position):
                    self._admit(session, stage, position, tag)
                    return True
                if session.outbox.has_room and (frame := stage.next_frame(number)) is not None:
                    session.outbox.push_counted(frame)
                    return True
            taken.update(stage.readers)
        return False

    def _renew(self, session: ServerSession, stage: Stage) -> None:
        for reader in stage.readers.values():
            if reader.copy.is_dead:
                reader.begin(self._copies.open(reader.shape, session))

    def _may_enter(self, session: ServerSession, stage: Stage) -> bool:
        """Tell whether a stage could become live where its session stands."""
        if session.part or session.may_go_back:
            return False
        # Another subscription may have the same shape, and get its commits from later on.
        return session.is_live or all(
            session.since.get(id, 0) <= session.number for id in stage.readers
        )

    def _admit(self, session: ServerSession, stage: Stage, position: Lsn, tag: str) -> None:
        """Let a stage that has met the log be live."""
        ids = stage.ids
        is_at_tail = self.is_at_tail(session)
        self._live.leave(session)
        session.stages.remove(stage)
        session.shapes.update(stage.subscriptions())
        session.update_shape_ids()
        self._release_copies(session)
        session.outbox.push(encode_up_to_date(position, tag, live=ids))
        if is_at_tail:
            session.stand_at(self._history.next)
            self._live.enter(session, position)
        else:
            session.stand_at(session.number)  # a large commit that it was to read has more shapes

    def note_told(self, session: ServerSession, position: Lsn) -> None:
        """Note the position that a session knows of when it has no live subscription."""
        self._told[session] = position

    def is_at_tail(self, session: ServerSession) -> bool:
        """Tell whether a session has got all that there is for it."""
        return session.is_live or not (session.shapes or session.may_go_back)

    def _stand(self, session: ServerSession) -> tuple[int, Lsn, str]:
        """Return the next commit that a session gets, and position and tag of what it has got."""
        history = self._history
        if session.is_live or not session.shapes:
            return history.next, history.progress, history.tag
        return session.number, *history.reached(session.number)

    def _known(self, session: ServerSession) -> Lsn:
        """Return a position that a session with live subscriptions was told, or will be next."""
        history = self._history
        if session.is_live:
            return history.progress
        is_reading = history.first <= session.number < history.next
        known, _ = (history.reached if is_reading else history.before)(session.number)
        return known

    # --- going ---

    def leave(self, session: ServerSession) -> None:
        """Forget all subscriptions of a session."""
        self._live.leave(session)
        self._ahead.pop(session, None)
        self._told.pop(session, None)
        for shape in session.shapes.values():
            self._index.release(shape)
        for stage in session.stages:
            for _, shape in stage.subscriptions():
                self._index.release(shape)
        session.stages.clear()
        self._release_copies(session)

    def remove(self, session: ServerSession, ids: Iterable[str]) -> None:
        """End subscriptions, live or on a stage."""
        live = []
        for id in ids:
            session.initial.discard(id)
            if id in session.shapes:
                live.append(id)
            for stage in session.stages:
                if shape := stage.remove(id):
                    self._index.release(shape)
        session.stages = [stage for stage in session.stages if stage.readers]
        self._release_copies(session)
        if live:
            self._change(session, remove=live)
        self._wake(session)  # another stage may have waited for this one, or a stage for this shape

    def take_away(self, session: ServerSession, unfit: Collection[ShapeId]) -> None:
        """End the subscriptions that do not fit their table any more."""
        subscriptions = dict(session.shapes)
        for stage in session.stages:
            subscriptions.update(stage.subscriptions())
        lost = {id: shape for id, shape in subscriptions.items() if shape.id in unfit}
        for shape in {shape.id: shape for shape in lost.values()}.values():
            session.send_reset("schema_changed", self._history.epoch, shape)
        if lost:
            self.remove(session, lost)

    def note_altered(self, relation_oid: int) -> None:
        """Note that nothing over a table can be continued from where the log is, or before."""
        floor = self._history.floor
        self._altered = {oid: lsn for oid, lsn in self._altered.items() if lsn >= floor}
        self._altered[relation_oid] = self._history.progress

    def forget_altered(self) -> None:
        """Forget positions of a history that has ended."""
        self._altered.clear()

    def fail(self, copy: Copy, code: str, text: str) -> None:
        """End the subscriptions that wait for a copy."""
        for session in self._copies.readers(copy):
            for stage in list(session.stages):
                for id in stage.ids_of(copy):
                    session.refuse(code, text, id)
                    self.remove(session, [id])
            session.flush()

    def start_over(self, session: ServerSession, reason: ResetReason) -> None:
        """Tell that nothing is continued; copies follow for those that want rows."""
        self._ahead.pop(session, None)
        self._told.pop(session, None)
        session.send_reset(reason, self._history.epoch)
        self._live.leave(session)
        self._stage_again(session, list(session.shapes))
        session.since.clear()
        session.stand_at(self._history.next)
        self._wake(session)

    def _stage_again(self, session: ServerSession, ids: Iterable[str]) -> None:
        stage = Stage()
        for id in ids:
            if id in session.initial:
                shape = session.shapes.pop(id)
                stage.add(id, self._reader(session, stage, shape))
        if stage.readers:
            session.stages.append(stage)
            session.update_shape_ids()
            self._forget_cursor(session)

    def _change(
        self,
        session: ServerSession,
        *,
        add: dict[str, Shape] | None = None,
        remove: Iterable[str] = (),
    ) -> None:
        was_live = session.is_live
        if session.shapes and not self.is_ahead(session):
            self.note_told(session, self._known(session))
        self._live.leave(session)
        for id in remove:
            self._index.release(session.shapes.pop(id))
        session.shapes.update(add or {})
        session.update_shape_ids()
        self._forget_cursor(session)
        session.stand_at(self._history.next if was_live else session.number)
        self._wake(session)

    def _forget_cursor(self, session: ServerSession) -> None:
        if not session.shapes:
            self._ahead.pop(session, None)  # nobody waits for the log to come there

    def _release_copies(self, session: ServerSession) -> None:
        in_use = {reader.copy for stage in session.stages for reader in stage.readers.values()}
        self._copies.leave_all_but(in_use, session)
