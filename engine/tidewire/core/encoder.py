"""Commits as frames: each is encoded once per set of shapes, whoever asks and however often.

A bounded cache keeps the newest, so that many sessions that read the same part of the log, after a
restart say, cost one encoding.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from weakref import WeakValueDictionary

import msgspec

from tidewire import limits
from tidewire.core.model.spool import Spool
from tidewire.core.model.transaction import Transaction
from tidewire.core.parts import CommitParts
from tidewire.core.projection import Projection
from tidewire.core.protocol.codec import encode_commit, encode_part, text_frame
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import ShapeId

# What the objects of one encoded commit take beside their bytes.
_OVERHEAD_BYTES = 500
# Large commits whose parts are kept in the spool without a reader.
_CUT_KEPT = 4


class EncodedCommit:
    """One commit of the log as the wire wants it."""

    __slots__ = ("_frames", "_transaction", "generation", "parts", "size", "unfit")

    def __init__(
        self,
        transaction: Transaction,
        generation: int,
        parts: dict[ShapeId, bytes],
        unfit: frozenset[ShapeId],
    ) -> None:
        self.generation = generation
        self.parts = parts
        self.unfit = unfit
        """Shapes that cannot be continued here, because their table was another one then."""
        # Frames repeat the parts, hence twice.
        self.size = 2 * sum(map(len, parts.values())) + _OVERHEAD_BYTES
        # Without its rows: the log may drop them long before this is forgotten.
        self._transaction = msgspec.structs.replace(transaction, messages=())
        self._frames: dict[tuple[ShapeId, ...], bytes] = {}

    def frame(self, shapes: frozenset[ShapeId]) -> bytes | None:
        """Return the frame for sessions with these shapes; None when it touches none of them."""
        touched = tuple(id for id in self.parts if id in shapes)
        if not touched:
            return None
        frame = self._frames.get(touched)
        if frame is None:
            payload = encode_commit(self._transaction, [self.parts[id] for id in touched])
            frame = self._frames[touched] = text_frame(payload)
        return frame


class Encoder:
    """Turn commits into frames for the shapes of an index."""

    def __init__(
        self, index: ShapeIndex, spool: Spool, *, cache_bytes: int = limits.FRAME_CACHE_BYTES
    ) -> None:
        self._index = index
        self._spool = spool
        self._projection = Projection(index)
        self._cache: OrderedDict[int, EncodedCommit] = OrderedDict()
        self._cache_bytes_max = cache_bytes
        self._cache_bytes = 0
        self._cut: WeakValueDictionary[tuple[int, frozenset[ShapeId]], CommitParts]
        self._cut = WeakValueDictionary()
        # Readers come one after another: the newest are kept though nobody reads them right now.
        self._newest_cut: deque[CommitParts] = deque(maxlen=_CUT_KEPT)

    def encode(self, transaction: Transaction) -> EncodedCommit:
        """Encode one commit that fits a frame.

        Raises DecodeError when a row message is not sound.
        """
        generation = self._index.generation
        seen = self._projection.look(transaction)
        parts = {shape: encode_part(shape, found) for shape, found in seen.changes.items()}
        return EncodedCommit(transaction, generation, parts, seen.unfit)

    def remember(self, number: int, encoded: EncodedCommit) -> None:
        """Keep an encoded commit under its number in the log."""
        if old := self._cache.pop(number, None):
            self._cache_bytes -= old.size
        self._cache[number] = encoded
        self._cache_bytes += encoded.size
        while self._cache_bytes > self._cache_bytes_max:
            self._cache_bytes -= self._cache.popitem(last=False)[1].size

    def recall(self, number: int, transaction: Transaction) -> EncodedCommit:
        """Return a commit of the log encoded for all present shapes.

        Raises DecodeError when a row message is not sound.
        """
        encoded = self._cache.get(number)
        if encoded is None or encoded.generation != self._index.generation:
            encoded = self.encode(transaction)
            self.remember(number, encoded)
        return encoded

    def parts(
        self, number: int, transaction: Transaction, shapes: frozenset[ShapeId]
    ) -> CommitParts:
        """Return the parts of a large commit, shared by all that read it now.

        Raises SpoolError when the spool has no room.
        """
        parts = self._cut.get((number, shapes))
        if parts is None:
            parts = CommitParts(transaction, shapes, self._projection, self._spool.create())
            self._cut[number, shapes] = parts
            self._newest_cut.append(parts)
        return parts

    def forget(self) -> None:
        """Drop what belongs to a history that has ended."""
        self._cache.clear()
        self._cache_bytes = 0
        self._cut.clear()
        self._newest_cut.clear()
