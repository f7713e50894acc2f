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
from tidewire.core.projection import Projection, Seen
from tidewire.core.protocol.codec import encode_commit, encode_part, text_frame
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import ShapeId

# What the objects of one encoded commit take beside their bytes.
_OVERHEAD_BYTES = 500
# Large commits whose parts are kept in the spool without a reader.
_CUT_KEPT = 4


class EncodedCommit:
    """One commit of the log as the wire wants it."""

    __slots__ = ("_frames", "_tables", "_transaction", "generation", "parts", "size", "unfit")

    def __init__(
        self,
        transaction: Transaction,
        generation: int,
        parts: dict[ShapeId, bytes],
        unfit: frozenset[ShapeId],
    ) -> None:
        self.generation = generation
        """That of the index; what shapes see that came later is missing."""
        self.parts = parts
        self.unfit = unfit
        """Shapes that cannot be continued here, because their table was another one then."""
        self.size = _size(parts) + _OVERHEAD_BYTES
        # Without its rows: the log may drop them long before this is forgotten.
        self._transaction = msgspec.structs.replace(transaction, messages=())
        self._frames: dict[tuple[ShapeId, ...], bytes] = {}
        self._tables: frozenset[int] | None = None

    def tables(self, transaction: Transaction) -> frozenset[int]:
        """Return the relations that the transaction, which is this one, has touched."""
        if self._tables is None:
            self._tables = frozenset(relation.oid for relation, _ in transaction.messages)
        return self._tables

    def add(self, parts: dict[ShapeId, bytes], unfit: frozenset[ShapeId]) -> None:
        """Add what shapes see that came after it was encoded."""
        self.parts.update(parts)
        self.unfit |= unfit
        self.size += _size(parts)

    def frame(self, shapes: frozenset[ShapeId]) -> bytes | None:
        """Return the frame for sessions with these shapes; None when it touches none of them."""
        few, many = (self.parts, shapes) if len(self.parts) < len(shapes) else (shapes, self.parts)
        touched = tuple(sorted(id for id in few if id in many))
        if not touched:
            return None
        frame = self._frames.get(touched)
        if frame is None:
            payload = encode_commit(self._transaction, [self.parts[id] for id in touched])
            frame = self._frames[touched] = text_frame(payload)
        return frame


def _size(parts: dict[ShapeId, bytes]) -> int:
    # Frames repeat the parts, hence twice.
    return 2 * sum(map(len, parts.values()))


def _parts(seen: Seen) -> dict[ShapeId, bytes]:
    return {shape: encode_part(shape, found) for shape, found in seen.changes.items()}


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
        return EncodedCommit(transaction, generation, _parts(seen), seen.unfit)

    def remember(self, number: int, encoded: EncodedCommit) -> None:
        """Keep an encoded commit under its number in the log."""
        self._forget_one(number)
        self._cache[number] = encoded
        self._cache_bytes += encoded.size
        while self._cache_bytes > self._cache_bytes_max:
            self._cache_bytes -= self._cache.popitem(last=False)[1].size

    def _forget_one(self, number: int) -> None:
        if old := self._cache.pop(number, None):
            self._cache_bytes -= old.size

    def recall(self, number: int, transaction: Transaction) -> EncodedCommit:
        """Return a commit of the log encoded for all present shapes.

        Raises DecodeError when a row message is not sound.
        """
        encoded = self._cache.get(number)
        if encoded is None:
            encoded = self.encode(transaction)
            self.remember(number, encoded)
        elif encoded.generation != self._index.generation:
            self._renew(number, encoded, transaction)
        return encoded

    def _renew(self, number: int, encoded: EncodedCommit, transaction: Transaction) -> None:
        # Shapes come and go all the time: what the others see is not encoded again.
        newer = self._index.newer(encoded.generation, encoded.tables(transaction))
        if newer:
            seen = self._projection.look(transaction, newer)
            self._forget_one(number)
            encoded.add(_parts(seen), seen.unfit)
            self.remember(number, encoded)
        encoded.generation = self._index.generation

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

    def staged_parts(self, transaction: Transaction, shape: ShapeId) -> CommitParts:
        """Return the parts of a large commit for those that copy one shape; they are not kept.

        Raises SpoolError when the spool has no room.
        """
        file = self._spool.create()
        return CommitParts(transaction, frozenset({shape}), self._projection, file, stage=True)

    def forget(self) -> None:
        """Drop what belongs to a history that has ended."""
        self._cache.clear()
        self._cache_bytes = 0
        self._cut.clear()
        self._newest_cut.clear()
