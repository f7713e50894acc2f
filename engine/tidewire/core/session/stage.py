"""Subscriptions of one session that are not live yet, and become live together.

They read copies: all chunks, then the commits since, up to where the session stands in the log.
There the two meet, and in one step the client sees all of it::

    copy      chunks ...  commits ........n|
    session   ...............commits......n|--> live
"""

from __future__ import annotations

from collections.abc import Iterator

from tidewire.core.model.lsn import Lsn
from tidewire.core.shape.shape import Shape, ShapeId
from tidewire.core.stream.copy import Copy


class Reader:
    """One shape of a stage: a place in a copy."""

    __slots__ = ("chunk", "commit", "copy", "ids", "shape")

    def __init__(self, shape: Shape, copy: Copy) -> None:
        self.shape = shape
        self.copy = copy
        self.ids: list[str] = []
        """The client's ids of the subscriptions that have this shape."""
        self.chunk = 0
        """Next chunk to send."""
        self.commit = 0
        """Next frame of a commit to send."""

    def begin(self, copy: Copy, chunk: int = 0) -> None:
        """Read another copy, or this one from another chunk on."""
        self.copy, self.chunk, self.commit = copy, chunk, 0

    def next_frame(self, number: int) -> bytes | None:
        """Return the next frame that is ready of what happened before a commit of the log."""
        copy = self.copy
        if self.chunk < copy.chunks:
            self.chunk += 1
            return copy.chunk(self.chunk - 1)
        if copy.is_complete and self.commit < copy.commits and self._is_before(number):
            self.commit += 1
            return copy.commit(self.commit - 1)
        return None

    def has_met(self, number: int, position: Lsn) -> bool:
        """Tell whether all was read that happened before a commit, and whether that is a state."""
        copy = self.copy
        return (
            copy.is_complete
            and position >= copy.until
            and copy.number >= number
            and not copy.backlog
            and self.chunk == copy.chunks
            and not (self.commit < copy.commits and self._is_before(number))
            # Its session may have gone back since, to go on from a cursor.
            and not (self.commit and copy.number_of(self.commit - 1) >= number)
        )

    def _is_before(self, number: int) -> bool:
        return self.copy.number_of(self.commit) < number


class Stage:
    """The subscriptions of one `subscribe` that wait to be live."""

    __slots__ = ("readers",)

    def __init__(self) -> None:
        self.readers: dict[ShapeId, Reader] = {}

    @property
    def ids(self) -> list[str]:
        """Name the subscriptions, by the client's ids."""
        return [id for reader in self.readers.values() for id in reader.ids]

    def ids_of(self, copy: Copy) -> list[str]:
        """Name the subscriptions that read a copy."""
        return [id for reader in self.readers.values() if reader.copy is copy for id in reader.ids]

    def subscriptions(self) -> Iterator[tuple[str, Shape]]:
        """Walk all subscriptions with their shapes."""
        for reader in self.readers.values():
            for id in reader.ids:
                yield id, reader.shape

    def add(self, id: str, reader: Reader) -> None:
        """Add a subscription; those of one shape share a reader."""
        self.readers.setdefault(reader.shape.id, reader).ids.append(id)

    def remove(self, id: str) -> Shape | None:
        """Take a subscription out and return its shape; None if it is not here."""
        for reader in self.readers.values():
            if id in reader.ids:
                reader.ids.remove(id)
                if not reader.ids:
                    del self.readers[reader.shape.id]
                return reader.shape
        return None

    def next_frame(self, number: int) -> bytes | None:
        """Return the next frame that is ready, of whichever shape."""
        for reader in self.readers.values():
            if (frame := reader.next_frame(number)) is not None:
                return frame
        return None

    def is_ready(self, number: int, position: Lsn) -> bool:
        """Tell whether all shapes have met the log where the session stands."""
        return all(reader.has_met(number, position) for reader in self.readers.values())
