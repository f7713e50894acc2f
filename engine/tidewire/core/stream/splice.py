"""Where a snapshot of the database and the stream of commits meet.

A commit is streamed before snapshots see it, and snapshots see commits neither in the order of the
log nor in that of their numbers. So a snapshot is the table at no position, and only its list of
transactions tells which commits it holds already::

    log   --T1--T2--T3--T4--|--T5--T6-->        the snapshot sees T1, T2, T4 and T6
             .   .   x   .  |   x   .           T3 and T5 are missing in it: they follow the rows
                          until                 behind `until` nothing is in it: all follow
"""

from __future__ import annotations

import msgspec

from tidewire.core.model.lsn import Xid

_XIDS = 1 << 32


class Snapshot(msgspec.Struct, frozen=True):
    """What `pg_current_snapshot()` says: which transactions are visible in it."""

    xmin: int
    """All transactions before this one are visible, or were rolled back."""
    xmax: int
    """This transaction and all after it are not visible."""
    in_progress: frozenset[int] = frozenset()
    """Those between the two that are not visible."""

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read the form `xmin:xmax:xid,xid,...`."""
        xmin, xmax, between = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, filter(None, between.split(",")))))

    def sees(self, xid: Xid) -> bool:
        """Tell whether what a transaction of the stream did is visible."""
        wide = self._widen(xid)
        return wide < self.xmin or (wide < self.xmax and wide not in self.in_progress)

    def _widen(self, xid: Xid) -> int:
        # The stream names 32 bits of 64: it means the transaction nearest to this snapshot.
        distance = (xid - self.xmax) % _XIDS
        return self.xmax + (distance - _XIDS if distance >= _XIDS // 2 else distance)
