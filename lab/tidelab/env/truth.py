"""The truth, read beside a running run; it survives the death of the database.

The one rule: while the database is being ended nobody reads. A slot moves when it is read, so an
answer that is lost on its way would be truth that is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Baseline, Committed, Fenced, Truth
from tidelab.core.oracle.pgoutput import Decoder
from tidelab.env.postgres import LOCK, TruthReader, connect
from tidelab.limits import FENCE_TIMEOUT_S, TRUTH_POLL_S


class ReturningReader(TruthReader):
    """Read the truth of one run, also from a database that was restarted."""

    _tables: Baseline | None = None
    _last = Lsn(0)

    def open(self) -> Baseline:
        """Begin; see TruthReader."""
        self._tables = super().open()
        return self._tables

    def reopen(self) -> None:
        """Connect again after a restart of the database; raises DatabaseError."""
        assert self._tables is not None, "open() comes first"
        if self._connection is not None:
            self._connection.close()
        self._connection = connect(self._url)
        self._connection.execute(LOCK, [self.name])
        tables = (each.table for each in self._tables.tables)
        self._decoder = Decoder({table.name: table for table in tables})

    def read(self) -> list[Truth]:
        """Read what is new: a slot may fall back a little when its database was killed."""
        return [each for each in super().read() if self._is_new(each)]

    def _is_new(self, truth: Truth) -> bool:
        if not isinstance(truth, Committed):
            return True
        is_new = truth.lsn > self._last
        self._last = max(self._last, truth.lsn)
        return is_new


class Truths:
    """Record the truth while a run goes on."""

    def __init__(
        self,
        reader: ReturningReader,
        record: Callable[[Truth], object],
        *,
        fence_s: float = FENCE_TIMEOUT_S,
    ) -> None:
        """Prepare; `fence_s` is the time to get to a fence."""
        self._reader = reader
        self._fence_s = fence_s
        self._record = record
        self._lock = asyncio.Lock()
        self._fenced = Lsn(0)

    async def open(self) -> Baseline:
        """Begin, and record the baseline."""
        baseline = await asyncio.to_thread(self._reader.open)
        self._record(baseline)
        return baseline

    async def follow(self) -> None:
        """Read until cancelled."""
        while True:
            async with self._lock:
                self._note(await asyncio.to_thread(self._reader.read))
            await asyncio.sleep(TRUTH_POLL_S)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Keep everybody from reading while the database is away; connect again at the end."""
        async with self._lock:
            yield
            await asyncio.to_thread(self._reader.reopen)

    async def position(self) -> Lsn:
        """Return the position above everything committed before this call."""
        async with self._lock:
            return await asyncio.to_thread(self._reader.position)

    async def fence(self, lsn: Lsn) -> None:
        """Read and record everything up to a position."""
        async with self._lock:
            fence = partial(self._reader.fence, lsn, timeout_s=self._fence_s)
            self._note(await asyncio.to_thread(fence))

    async def close(self) -> None:
        """Drop slot and publication."""
        async with self._lock:
            await asyncio.to_thread(self._reader.close)

    def _note(self, found: list[Truth]) -> None:
        for truth in found:
            if isinstance(truth, Fenced):
                if truth.lsn == self._fenced:
                    continue
                self._fenced = truth.lsn
            self._record(truth)
