"""The live sessions: whoever is at the tail gets each commit at once.

Commits that are delivered together make one run per audience, handed out when all are in. Whoever
has no room for a run falls behind: it is told to `fall_behind`, with the commit to go on from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tidewire import limits
from tidewire.core.audience import Audience, Audiences, WriteToAll
from tidewire.core.encoder import EncodedCommit
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId


class Live:
    """Hand commits out to audiences, in runs."""

    def __init__(
        self, fall_behind: Callable[[ServerSession, int], None], write_to_all: WriteToAll
    ) -> None:
        self._fall_behind = fall_behind
        self._audiences = Audiences(write_to_all)
        self._running: dict[Audience, None] = {}
        """Audiences whose run is not handed out yet; empty between two deliveries."""

    def enter(self, session: ServerSession, told: Lsn) -> None:
        """Let a session hear what happens from now on; it knows all up to `told`."""
        self._audiences.enter(session, told)

    def leave(self, session: ServerSession) -> None:
        """Stop telling a session, if it was told."""
        self._audiences.leave(session)

    def spread(self, number: int, lsn: Lsn, encoded: EncodedCommit) -> None:
        """Add a commit to the runs of those that it concerns."""
        for audience in self._audiences.touched_by(encoded.parts):
            frame = encoded.frame(audience.shapes)
            assert frame is not None, "the audience is touched"
            audience.add(number, lsn, frame)
            self._running[audience] = None
            if audience.run_bytes >= limits.WINDOW_MARK_BYTES:
                self._settle(audience)

    def settle(self) -> None:
        """Hand out all runs."""
        for audience in list(self._running):
            self._settle(audience)

    def _settle(self, audience: Audience) -> None:
        del self._running[audience]
        for session in audience.full():
            self._fall_behind(session, audience.run_number)
        audience.hand_out()

    def touched_by(self, shapes: Iterable[ShapeId]) -> list[ServerSession]:
        """Return the live sessions that have any of these shapes."""
        audiences = self._audiences.touched_by(shapes)
        return [session for audience in audiences for session in audience.members]

    def step_back(self, number: int) -> None:
        """Let all sessions leave the tail, to read a large commit part by part."""
        self.settle()
        for audience in self._audiences:
            for session in list(audience.members):
                self._fall_behind(session, number)

    def untold(self, progress: Lsn) -> Iterator[ServerSession]:
        """Yield the sessions that do not know of this position yet; now they do."""
        for audience in self._audiences:
            if audience.told < progress:
                audience.told = progress
                yield from list(audience.members)
