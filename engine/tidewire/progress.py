"""How far the stream is, for those that wait for a position of the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

from tidewire import limits
from tidewire.core.model.lsn import LSN_ZERO, Lsn
from tidewire.errors import DatabaseError

_log = logging.getLogger("tidewire.progress")


class Progress:
    """See that the log comes to positions that somebody waits for.

    `progress` tells how far it is, `ask` asks the stream where it is; `flush` makes the database
    write its log up to a position, which a quiet server leaves for later; `start` runs a task.
    """

    def __init__(
        self,
        progress: Callable[[], Lsn],
        *,
        ask: Callable[[], None],
        flush: Callable[[Lsn], Awaitable[None]],
        start: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._progress = progress
        self._ask = ask
        self._flush = flush
        self._start = start
        self._wanted = LSN_ZERO
        """What the database is asked to flush up to, while it is."""
        self._awaited: dict[asyncio.Event, Lsn] = {}

    def nudge(self, position: Lsn) -> None:
        """Note that somebody waits for a position: the sooner the stream is there, the better."""
        self._ask()
        if position <= self._progress():
            return
        is_flushing = self._wanted > LSN_ZERO
        self._wanted = max(self._wanted, position)
        if not is_flushing:
            self._start(self._flush_all())

    async def reach(self, position: Lsn) -> None:
        """Wait until the log has come to a position.

        Raises TimeoutError when that takes too long.
        """
        reached = asyncio.Event()
        self._awaited[reached] = position
        try:
            self.nudge(position)
            self.tell()
            async with asyncio.timeout(limits.QUERY_TIMEOUT_S):
                await reached.wait()
        finally:
            del self._awaited[reached]

    def tell(self) -> None:
        """Wake those that wait for a position that the log has reached now."""
        for reached, position in self._awaited.items():
            if self._progress() >= position:
                reached.set()

    async def _flush_all(self) -> None:
        done = LSN_ZERO
        try:
            while done < self._wanted:
                done = self._wanted
                await self._flush(done)
                self._ask()
        except DatabaseError as error:
            _log.debug("flush: %s", error)  # the next commit takes it along
        finally:
            self._wanted = LSN_ZERO
