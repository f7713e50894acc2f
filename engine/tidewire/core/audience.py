"""Who gets a commit at once: the live sessions, grouped by their set of shapes.

All members of an audience see the same part of a commit, so they share one encoded frame. Commits
that are delivered together make one *run* per audience: their frames are joined once, not once per
member.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tidewire.core.model.lsn import Lsn
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId


class Audience:
    """The live sessions that have the same set of shapes."""

    __slots__ = ("_run", "members", "run_bytes", "run_number", "shapes", "told")

    def __init__(self, shapes: frozenset[ShapeId], told: Lsn) -> None:
        self.shapes = shapes
        self.members: dict[ServerSession, None] = {}
        self.told = told
        """Position of the last message that all members got."""
        self.run_number = 0
        """Number of the first commit of the run."""
        self.run_bytes = 0
        self._run: list[bytes] = []

    def add(self, number: int, lsn: Lsn, frame: bytes) -> None:
        """Add the frame of a commit to the run."""
        if not self._run:
            self.run_number = number
        self._run.append(frame)
        self.run_bytes += len(frame)
        self.told = lsn

    def settle(self) -> list[ServerSession]:
        """Hand the run out, whole; return the members that had no room for it."""
        if not self._run:
            return []
        run, self._run, self.run_bytes = self._run, [], 0
        frames = run[0] if len(run) == 1 else b"".join(run)
        return hand_out(self.members, frames, len(run))


class Audiences:
    """All audiences of a node, found by the shapes that a commit touches."""

    def __init__(self) -> None:
        self._by_shapes: dict[frozenset[ShapeId], Audience] = {}
        self._by_shape: dict[ShapeId, dict[Audience, None]] = {}

    def __iter__(self) -> Iterator[Audience]:
        return iter(list(self._by_shapes.values()))

    def enter(self, session: ServerSession, told: Lsn) -> None:
        """Let a session hear what happens from now on; it knows all up to `told`."""
        key = session.shape_ids
        audience = self._by_shapes.get(key)
        if audience is None:
            audience = self._by_shapes[key] = Audience(key, told)
            for shape in key:
                self._by_shape.setdefault(shape, {})[audience] = None
        audience.members[session] = None
        session.is_live = True

    def leave(self, session: ServerSession) -> None:
        """Stop telling a session, if it was told."""
        if not session.is_live:
            return
        session.is_live = False
        audience = self._by_shapes[session.shape_ids]
        del audience.members[session]
        if not audience.members:
            self._remove(audience)

    def touched_by(self, shapes: Iterable[ShapeId]) -> Iterable[Audience]:
        """Return the audiences that have any of these shapes, each once."""
        return {audience: None for id in shapes for audience in self._by_shape.get(id, ())}

    def _remove(self, audience: Audience) -> None:
        del self._by_shapes[audience.shapes]
        for shape in audience.shapes:
            del self._by_shape[shape][audience]
            if not self._by_shape[shape]:
                del self._by_shape[shape]


def hand_out(members: Iterable[ServerSession], frames: bytes, count: int) -> list[ServerSession]:
    """Write counted frames to each session; return those that had no room.

    The hot loop of the system: it runs once per client and run, so it does in place what
    `Outbox.push_counted` says, and writes past the outbox.
    """
    size = len(frames)
    fallen = []
    for session in members:
        outbox = session.outbox
        if outbox.sent >= outbox.limit:
            fallen.append(session)
            continue
        outbox.count += count
        outbox.sent += size
        if outbox.sent >= outbox.mark_at:
            outbox.mark()
        if outbox.frames:
            session.flush()
        session.write(frames)
    return fallen
