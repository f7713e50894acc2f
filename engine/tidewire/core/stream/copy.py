"""A copy of the rows of one shape, as frames in the spool, and the commits since.

::

    chunk 0 | chunk 1 | ... | last chunk        the rows as a snapshot of the database saw them
    commit, commit, commit, ...                 what the snapshot did not see, in order, and goes on

The database is asked once, at its own speed; all readers of equal shapes read these frames at
theirs. So no client holds a transaction open, and one that lost its connection can go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tidewire.core.model.lsn import LSN_ZERO, Lsn
from tidewire.core.model.spool import SpoolFile
from tidewire.core.stream.splice import Snapshot


class _Place(NamedTuple):
    offset: int
    length: int


class Copy:
    """What one reading of a table has brought, and what was committed since."""

    def __init__(self, id: str, create: Callable[[], SpoolFile]) -> None:
        self.id = id
        self.bytes = 0
        self.commit_bytes = 0
        """That part of the bytes which is commits."""
        self.is_complete = False
        """All rows are here."""
        self.is_dead = False
        """It cannot be continued: its readers have to start over with another one."""
        self.until = LSN_ZERO
        """Before the log has come here, a commit that the rows show may still be under way."""
        self.snapshot: Snapshot | None = None
        """None until the database has taken it."""
        self.backlog: deque[int] = deque()
        """Numbers of commits before `number` that the snapshot does not see."""
        self.number = 0
        """Next commit of the log to look at."""
        self.idle_since: float | None = None
        """Since when nobody reads it."""
        self._create = create
        self._file: SpoolFile | None = None
        self._chunks: list[_Place] = []
        self._commits: list[tuple[int, _Place]] = []

    @property
    def chunks(self) -> int:
        """Count the chunks that are ready."""
        return len(self._chunks)

    @property
    def commits(self) -> int:
        """Count the frames of commits that are ready."""
        return len(self._commits)

    def add_chunk(self, frame: bytes) -> None:
        """Add rows behind those that are there.

        Raises SpoolError when there is no room.
        """
        self._chunks.append(self._add(frame))

    def add_commit(self, number: int, frame: bytes) -> None:
        """Add a frame of the commit with this number in the log.

        Raises SpoolError when there is no room.
        """
        self._commits.append((number, self._add(frame)))
        self.commit_bytes += len(frame)

    def chunk(self, index: int) -> bytes:
        """Return a chunk that is ready."""
        return self._read(self._chunks[index])

    def commit(self, index: int) -> bytes:
        """Return a frame of a commit that is ready."""
        return self._read(self._commits[index][1])

    def number_of(self, index: int) -> int:
        """Return the number in the log of the commit that a frame belongs to."""
        return self._commits[index][0]

    def holds(self, lsn: Lsn, *, is_visible: bool) -> bool:
        """Tell whether a commit is in the rows already."""
        return is_visible and lsn <= self.until

    def _add(self, frame: bytes) -> _Place:
        if self._file is None:
            self._file = self._create()
        place = _Place(self._file.append(frame), len(frame))
        self.bytes += len(frame)
        return place

    def _read(self, place: _Place) -> bytes:
        assert self._file is not None, "there is a frame"
        return self._file.read(*place)
