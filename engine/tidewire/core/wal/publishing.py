"""From which transaction on is a table in the stream?

A transaction that is older than the publishing of a table may or may not be streamed with what it
did to the table: that depends on what the walsender decoded before, and a second reading of the
same log can differ from the first. So rows of such transactions are left out, always. Nobody misses
them: a table is copied only once all these transactions are visible to everybody.
"""

from __future__ import annotations

from collections.abc import Mapping

from tidewire import limits
from tidewire.core.model.lsn import Xid

_XIDS = 1 << 32


class Publishing:
    """The horizons of tables: transactions before it are left out.

    ::

        announce(oid) -> ALTER PUBLICATION ... -> settle(oid, next)      rows count from here on
    """

    def __init__(self) -> None:
        self._horizons: dict[int, int] = {}
        self._announced: dict[int, Xid | None] = {}
        """Tables that are being published, with the youngest transaction that was left out."""
        self._newest = 0

    @property
    def horizons(self) -> Mapping[int, int]:
        """The horizons of all tables that still matter."""
        return self._horizons

    def recall(self, horizons: Mapping[int, int]) -> None:
        """Take over what an earlier process has found for the same slot."""
        self._horizons = dict(horizons)
        self._newest = max(self._horizons.values(), default=0)

    def announce(self, oid: int) -> None:
        """Note that a table is about to be published."""
        self._announced.setdefault(oid, None)

    def withdraw(self, oid: int) -> None:
        """Note that it came to nothing."""
        self._announced.pop(oid, None)

    def settle(self, oid: int, next_xid: int) -> int:
        """Return the horizon of a table, published when `next_xid` was the next to begin."""
        horizon, left_out = next_xid, self._announced.pop(oid)
        if left_out is not None and _distance(left_out, next_xid) >= 0:
            # Whoever waits for all before the horizon then waits for this transaction, too.
            horizon = next_xid + _distance(left_out, next_xid) + 1
        self._horizons[oid] = horizon
        self._newest = max(self._newest, horizon)
        return horizon

    def absent(self, xid: Xid) -> frozenset[int]:
        """Return the tables of which nothing counts that this transaction did."""
        if not self._announced and _distance(xid, self._newest) >= 0:
            if _distance(xid, self._newest) > limits.HORIZON_XIDS:
                self._horizons.clear()
            return frozenset()
        older = {oid for oid, horizon in self._horizons.items() if _distance(xid, horizon) < 0}
        return frozenset(older.union(self._announced))

    def leave_out(self, oid: int, xid: Xid) -> None:
        """Note that something of this transaction was left out."""
        if oid in self._announced:
            youngest = self._announced[oid]
            if youngest is None or _distance(xid, youngest) > 0:
                self._announced[oid] = xid


def _distance(xid: Xid, other: int) -> int:
    """Tell how far behind another transaction one began; the stream names 32 bits of 64."""
    distance = (xid - other) % _XIDS
    return distance - _XIDS if distance >= _XIDS // 2 else distance
