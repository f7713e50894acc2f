"""A commit that is too large for one frame, cut into parts.

All sessions with the same shapes share the parts: each is encoded once, when the first of them
comes to it, and kept in the spool for the others. Nothing of the commit is held in memory but the
part in the making, and one step looks at a bounded number of rows, so that a bulk update of a
million rows never keeps the loop from others.
"""

from __future__ import annotations

from tidewire import limits
from tidewire.core.model.spool import SpoolFile
from tidewire.core.model.transaction import Transaction
from tidewire.core.projection import Projection
from tidewire.core.protocol.codec import encode_commit, encode_part, text_frame
from tidewire.core.shape.shape import ShapeId
from tidewire.errors import DecodeError, SpoolError

# About 20 ms of decoding and encoding.
ROWS_PER_STEP = 5_000


class CommitParts:
    """The frames of one large transaction for one set of shapes.

    Within each frame there is at most one change for each row; over all frames there may be more.
    With `stage` they are for clients that copy these shapes: nothing of that is visible yet, so
    each frame is a commit of its own.
    """

    def __init__(
        self,
        transaction: Transaction,
        shapes: frozenset[ShapeId],
        projection: Projection,
        file: SpoolFile,
        *,
        part_bytes_max: int = limits.COMMIT_PART_BYTES,
        stage: bool = False,
    ) -> None:
        self._transaction = transaction
        self._rows = iter(transaction.messages)
        self._sight = projection.sight(shapes)
        self.unfit = self._sight.unfit
        """Shapes that cannot be continued here, as far as the rows were seen."""
        self._file = file
        self._part_bytes_max = part_bytes_max
        self._stage = stage
        self._places: list[tuple[int, int]] = []
        self._seen_bytes = 0
        self._frame = b""
        """A part that is made and not written yet: the spool may be full."""
        self._problem: DecodeError | SpoolError | None = None
        self._is_read = False
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
        if self._problem is not None:
            raise self._problem  # rows that could not be read look like rows that have ended
        if not self._frame:
            try:
                self._read()
            except (DecodeError, SpoolError) as error:
                self._problem = error
                raise
        if self._frame:
            self._places.append((self._file.append(self._frame), len(self._frame)))
            self._frame = b""
        self.is_complete = self._is_read

    def _read(self) -> None:
        for _ in range(ROWS_PER_STEP):
            row = next(self._rows, None)
            if row is None:
                self._is_read = True
                self._make(is_last=True)
                return
            self._seen_bytes += self._sight.see(row)
            if self._seen_bytes >= self._part_bytes_max:
                self._make(is_last=False)
                return

    def _make(self, *, is_last: bool) -> None:
        """Make a part of what was seen since the last one."""
        self._seen_bytes = 0
        changes = self._sight.take()
        is_end = is_last and bool(self._places) and not self._stage
        if not changes and not is_end:
            return
        payload = encode_commit(
            self._transaction,
            [encode_part(shape, its) for shape, its in changes.items()],
            part=None if self._stage else len(self._places),
            last=is_last,
            stage=self._stage,
        )
        self._frame = text_frame(payload)
