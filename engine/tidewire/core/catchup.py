"""How a session that is behind reads the log: commit by commit, a large one part by part."""

from __future__ import annotations

from collections.abc import Collection

from tidewire import limits
from tidewire.core.encoder import Encoder
from tidewire.core.model.transaction import Transaction
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId
from tidewire.core.stream.history import History


class CatchUp:
    """Send sessions the next piece of the log."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.effort = 0
        """What was done so far, in commits looked at."""

    def send_next(self, session: ServerSession, history: History) -> Collection[ShapeId]:
        """Send the next commit, or a part of it, and move the session on.

        Returns those shapes of the session that the commit does not fit, if any: then nothing was
        sent, and they have to be taken away first.

        Raises DecodeError when a row message is not sound, SpoolError when there is no room.
        """
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
