"""Who gets a commit at once: the live sessions, grouped by their set of shapes.

All members of an audience see the same part of a commit, so they share one encoded frame. Commits
that are delivered together make one *run* per audience: their frames are joined once, not once per
member. What that costs of everybody's window is counted once, too: the tally of the audience tells
when it is time to look at the windows one by one, and at how each member is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

from tidewire.core.model.lsn import Lsn
from tidewire.core.session.outbox import Tally
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId

WriteToAll = Callable[[Sequence[int], bytes], Mapping[int, int]]
"""Writes to sockets; tells which took less than all, by their place, and how many bytes."""


class _Reach:
    """How each member is reached: by its socket, at once, or through its transport."""

    def __init__(self, members: Iterable[ServerSession]) -> None:
        self.direct: list[ServerSession] = []
        self.descriptors: list[int] = []
        self.others: list[ServerSession] = []
        for session in members:
            if session.descriptor is None:
                self.others.append(session)
            else:
                self.direct.append(session)
                self.descriptors.append(session.descriptor)


class Audience:
    """The live sessions that have the same set of shapes."""

    __slots__ = (
        "_reach",
        "_run",
        "_write_to_all",
        "members",
        "run_bytes",
        "run_number",
        "shapes",
        "tally",
        "told",
    )

    def __init__(self, shapes: frozenset[ShapeId], told: Lsn, write_to_all: WriteToAll) -> None:
        self._write_to_all = write_to_all
        self.shapes = shapes
        self.members: dict[ServerSession, None] = {}
        self.tally = Tally()
        self.told = told
        """Position of the last message that all members got."""
        self.run_number = 0
        """Number of the first commit of the run."""
        self.run_bytes = 0
        self._run: list[bytes] = []
        self._reach: _Reach | None = None
        """How the members are reached; None when that has to be looked up."""

    def add(self, number: int, lsn: Lsn, frame: bytes) -> None:
        """Add the frame of a commit to the run."""
        if not self._run:
            self.run_number = number
        self._run.append(frame)
        self.run_bytes += len(frame)
        self.told = lsn

    def join(self, session: ServerSession) -> None:
        """Add a member."""
        self.members[session] = None
        session.outbox.share(self.tally)
        self._reach = None

    def leave(self, session: ServerSession) -> None:
        """Remove a member."""
        del self.members[session]
        session.outbox.share(Tally())
        self._reach = None

    def full(self) -> list[ServerSession]:
        """Return the members that have no room: they must leave before the run is handed out."""
        tally = self.tally
        if tally.sent < tally.stop_at:
            return []
        full = [session for session in self.members if not session.outbox.has_room]
        others = self.members.keys() - full
        tally.stop_at = min((session.outbox.stop_at for session in others), default=0)
        self._reach = None
        return full

    def hand_out(self) -> None:
        """Hand the run out, whole, to all members.

        It goes past the outbox of each, which is empty while a session is live, and past the
        transport where that can be.
        """
        if not self._run:
            return
        run, self._run, self.run_bytes = self._run, [], 0
        frames = run[0] if len(run) == 1 else b"".join(run)
        self.tally.add(len(run), len(frames))
        reach = self._reach = self._reach or _Reach(self.members)
        for place, taken in self._write_to_all(reach.descriptors, frames).items():
            # A transport takes any buffer, and a view is no copy for each of many that are stuck.
            reach.direct[place].write(cast("bytes", memoryview(frames)[taken:]))
        for session in reach.others:
            session.write(frames)


class Audiences:
    """All audiences of a node, found by the shapes that a commit touches."""

    def __init__(self, write_to_all: WriteToAll) -> None:
        self._write_to_all = write_to_all
        self._by_shapes: dict[frozenset[ShapeId], Audience] = {}
        self._by_shape: dict[ShapeId, dict[Audience, None]] = {}

    def __iter__(self) -> Iterator[Audience]:
        return iter(list(self._by_shapes.values()))

    def enter(self, session: ServerSession, told: Lsn) -> None:
        """Let a session hear what happens from now on; it knows all up to `told`."""
        key = session.shape_ids
        audience = self._by_shapes.get(key)
        if audience is None:
            audience = self._by_shapes[key] = Audience(key, told, self._write_to_all)
            for shape in key:
                self._by_shape.setdefault(shape, {})[audience] = None
        audience.join(session)
        session.shape_ids = audience.shapes  # equal, but one set for all of them
        session.is_live = True

    def leave(self, session: ServerSession) -> None:
        """Stop telling a session, if it was told."""
        if not session.is_live:
            return
        session.is_live = False
        audience = self._by_shapes[session.shape_ids]
        audience.leave(session)
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
