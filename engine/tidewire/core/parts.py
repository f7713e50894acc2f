"""A commit that is too large for one frame, cut into parts.

All sessions with the same shapes share the parts: each is encoded once, when the first of them
comes to it, and kept in the spool for the others. Nothing of the commit is held in memory but the
part in the making, and one step looks at a bounded number of rows, so that a bulk update of a
million rows never keeps the loop from others.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidewire import limits
from tidewire.core.model.spool import SpoolFile
from tidewire.core.model.transaction import Transaction
from tidewire.core.projection import Projection
from tidewire.core.protocol.codec import encode_commit, encode_part, text_frame
from tidewire.core.shape.shape import ShapeId
from tidewire.errors import DecodeError

# About 20 ms of decoding and encoding.
ROWS_PER_STEP = 5_000


class CommitParts:
    """The frames of one large transaction for one set of shapes."""

    def __init__(
        self,
        transaction: Transaction,
        shapes: frozenset[ShapeId],
        projection: Projection,
        file: SpoolFile,
        *,
        part_bytes_max: int = limits.COMMIT_PART_BYTES,
    ) -> None:
        self._transaction = transaction
        self.unfit: set[ShapeId] = set()
        """Shapes that cannot be continued here, as far as the rows were seen."""
        self._changes: Iterator[tuple[ShapeId, bytes] | None]
        self._changes = projection.walk(transaction, shapes, self.unfit)
        self._file = file
        self._part_bytes_max = part_bytes_max
        self._places: list[tuple[int, int]] = []
        self._open: dict[ShapeId, list[bytes]] = {}
        self._open_bytes = 0
        self._problem: DecodeError | None = None
        self.is_complete = False

    def __len__(self) -> int:
        return len(self._places)

    def frame(self, part: int) -> bytes:
        """Return a part that is ready (its number is below the length)."""
        offset, length = self._places[part]
        return self._file.read(offset, length)

    def step(self) -> None:
        """Work on, until a part is ready, a number of rows was seen, or the end is reached.

        Raises SpoolError when the spool has no room, and DecodeError.
        """
        for _ in range(ROWS_PER_STEP):
            if self._problem is not None:
                raise self._problem  # an iterator that has failed looks like one that has ended
            try:
                found = next(self._changes)
            except StopIteration:
                self._finish()
                return
            except DecodeError as error:
                self._problem = error
                raise
            if found is not None and self._take(*found):
                return

    def _take(self, shape: ShapeId, change: bytes) -> bool:
        self._open.setdefault(shape, []).append(change)
        self._open_bytes += len(change)
        if self._open_bytes < self._part_bytes_max:
            return False
        self._write(is_last=False)
        return True

    def _finish(self) -> None:
        if self._open or self._places:
            self._write(is_last=True)
        self.is_complete = True

    def _write(self, *, is_last: bool) -> None:
        parts = [encode_part(shape, changes) for shape, changes in self._open.items()]
        payload = encode_commit(self._transaction, parts, part=len(self._places), last=is_last)
        frame = text_frame(payload)
        self._places.append((self._file.append(frame), len(frame)))
        self._open, self._open_bytes = {}, 0
