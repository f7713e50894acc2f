"""How a session that is behind reads the log: many commits at once, or a large one part by part.

After an outage all clients come back with the same cursor. So commits are joined to *runs*, as for
the live sessions: made for the first who stands at a place, and kept for those behind it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tidewire import limits
from tidewire.core.encoder import Encoder
from tidewire.core.model.transaction import Transaction
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId
from tidewire.core.stream.history import History

# What it takes to send a run that is there, in commits looked at.
_RUN_EFFORT = 10


class _Run(NamedTuple):
    """Commits that follow one another in the log, as sessions with some shapes are sent them."""

    frames: bytes
    counted: int
    """How many they are: a commit that does not concern the shapes has none."""
    until: int
    """Number of the commit behind."""


class CatchUp:
    """Send sessions the next piece of the log."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._runs: dict[tuple[int, frozenset[ShapeId]], _Run] = {}
        """Those made last, by their first commit: neither numbers nor names of shapes come again,
        so they are true for ever."""
        self.effort = 0
        """What was done so far, in commits looked at."""

    def send_next(self, session: ServerSession, history: History) -> Collection[ShapeId]:
        """Send the next commits, or a part of one, and move the session on.

        Returns those shapes of the session that the commit does not fit, if any: then nothing was
        sent, and they have to be taken away first.

        Raises DecodeError when a row message is not sound, SpoolError when there is no room.
        """
        if self._send_run(session, history):
            return ()
        self.effort += 1
        transaction = history.at(session.number)
        if transaction.size > limits.COMMIT_PART_BYTES:
            return self._send_part(session, transaction)
        encoded = self._encoder.recall(session.number, transaction)
        shapes = session.shapes_at(session.number)
        if unfit := encoded.unfit & shapes:
            return unfit
        if frame := encoded.frame(shapes):
            session.outbox.push_counted(frame)
        session.number += 1
        return ()

    def _send_run(self, session: ServerSession, history: History) -> bool:
        """Send a run, if it has room and all in it is for all shapes; False when it is not so."""
        # A stage has to meet the session at some commit, so that one goes step by step.
        if session.since or session.stages or session.outbox.room < limits.CATCHUP_BYTES:
            return False
        place = session.number, session.shape_ids
        run = self._runs.get(place)
        if run is None:
            run = self._make_run(*place, history)
            if run.until == session.number:
                return False
            if len(self._runs) >= limits.CATCHUP_RUNS:
                del self._runs[next(iter(self._runs))]
            self._runs[place] = run
        else:
            self.effort += _RUN_EFFORT
        if run.counted:
            session.outbox.push_counted(run.frames, run.counted)
        session.stand_at(run.until)
        return True

    def _make_run(self, number: int, shapes: frozenset[ShapeId], history: History) -> _Run:
        frames: list[bytes] = []
        size, until, end = 0, number, min(history.next, number + limits.CATCHUP_COMMITS)
        while until < end:
            transaction = history.at(until)
            if transaction.size > limits.COMMIT_PART_BYTES:
                break
            encoded = self._encoder.recall(until, transaction)
            frame = encoded.frame(shapes) or b""
            size += len(frame)
            if encoded.unfit & shapes or size > limits.CATCHUP_BYTES:
                break
            if frame:
                frames.append(frame)
            until += 1
        self.effort += until - number
        return _Run(b"".join(frames), len(frames), until)

    def _send_part(self, session: ServerSession, transaction: Transaction) -> Collection[ShapeId]:
        shapes = session.shapes_at(session.number)
        parts = session.cut
        if parts is None:
            parts = self._encoder.parts(session.number, transaction, shapes)
            session.cut = parts
        if session.part == len(parts) and not parts.is_complete:
            parts.step()
            self.effort += limits.CATCHUP_COMMITS  # as much as one turn may take
        if unfit := parts.unfit & shapes:
            return unfit
        if session.part < len(parts):
            session.outbox.push_counted(parts.frame(session.part))
            session.part += 1
        if session.part == len(parts) and parts.is_complete:
            session.stand_at(session.number + 1)
        return ()
