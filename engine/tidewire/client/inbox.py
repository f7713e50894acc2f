"""What waits for a consumer: commits, and the news that some are missing; bounded.

When it is full it is emptied, and nothing more is kept until the consumer has read how much it
missed. So who never reads costs no more than the one filling.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from tidewire import limits
from tidewire.errors import Lagged, SyncError, TidewireError

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """A queue of at most CLIENT_COMMITS items and CLIENT_CHANGES changes, for one consumer."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Item, int] | SyncError] = deque()
        self._changes = 0
        self._missed = 0
        self._has_ended = False
        self._error: TidewireError | None = None
        self._is_filled = asyncio.Event()

    def put(self, item: Item, changes: int) -> None:
        """Add an item; `changes` tells how large it is."""
        is_full = len(self._waiting) >= limits.CLIENT_COMMITS
        if is_full or (self._changes and self._changes + changes > limits.CLIENT_CHANGES):
            self._missed = sum(not isinstance(waiting, SyncError) for waiting in self._waiting)
            self._waiting.clear()
            self._changes = 0
        if self._missed:
            self._missed += 1
        else:
            self._waiting.append((item, changes))
            self._changes += changes
        self._is_filled.set()

    def interrupt(self, error: SyncError) -> None:
        """Tell the consumer that something is missing here; who lags is told so anyway."""
        last = self._waiting[-1] if self._waiting else None
        is_known = isinstance(last, SyncError) and last.code == error.code
        if not self._missed and not is_known:
            self._waiting.append(error)
        self._is_filled.set()

    def end(self, error: TidewireError | None = None) -> None:
        """Let the consumer read what is there, and then stop."""
        if not self._has_ended:
            self._has_ended, self._error = True, error
        self._is_filled.set()

    async def read(self) -> AsyncIterator[Item]:
        """Yield item after item.

        Raises what interrupted; call again to read on behind it.
        """
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                raise Lagged(missed)
            if self._waiting:
                found = self._waiting.popleft()
                if isinstance(found, SyncError):
                    raise found
                item, changes = found
                self._changes -= changes
                yield item
            elif self._error is not None:
                raise self._error
            elif self._has_ended:
                return
            else:
                self._is_filled.clear()
                await self._is_filled.wait()
