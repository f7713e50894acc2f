"""Who gets a commit at once: the live sessions, grouped by their set of shapes.

All members of an audience see the same part of a commit, so they share one encoded frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tidewire.core.model.lsn import Lsn
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId


class Audience:
    """The live sessions that have the same set of shapes."""

    __slots__ = ("members", "shapes", "told")

    def __init__(self, shapes: frozenset[ShapeId], told: Lsn) -> None:
        self.shapes = shapes
        self.members: dict[ServerSession, None] = {}
        self.told = told
        """Position of the last message that all members got."""


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


def hand_out(
    members: Iterable[ServerSession], frame: bytes, dirty: list[ServerSession]
) -> list[ServerSession]:
    """Put one counted frame into the outbox of each session; return those that had no room.

    The hot loop of the system: it runs once per delivery, so it does in place what
    `Outbox.push_counted` says.
    """
    size = len(frame)
    fallen = []
    for session in members:
        outbox = session.outbox
        if outbox.sent >= outbox.limit:
            fallen.append(session)
            continue
        if not outbox.frames:
            dirty.append(session)
        outbox.frames.append(frame)
        outbox.count += 1
        outbox.sent += size
        if outbox.sent >= outbox.mark_at:
            outbox.mark()
    return fallen
