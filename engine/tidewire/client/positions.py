"""Who waits for which position: the application for one of its own, a subscription for the newest.

One rule: whoever waits looks at the rows themselves after each message; the server is only asked to
tell its position in time, and not more often than it would listen to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from tidewire import limits
from tidewire.client.following import Following
from tidewire.client.subscription import Subscription, all_live
from tidewire.core.model.lsn import Lsn, format_lsn
from tidewire.core.session.client import ClientSession
from tidewire.errors import WaitTimeout


class Positions:
    """The position of a client, and those who wait for it to move."""

    def __init__(
        self,
        session: ClientSession,
        following: Following,
        moved: asyncio.Event,
        send: Callable[[], None],
    ) -> None:
        self._session = session
        self._following = following
        self._moved = moved
        self._send = send
        self._turn = 0.0

    @property
    def now(self) -> str | None:
        """Everything that was committed up to here has been received; None before the first."""
        cursor = self._session.cursor
        return format_lsn(cursor.lsn) if cursor else None

    async def wait_for(self, wanted: Lsn, *, timeout_s: float, trouble: Callable[[], str]) -> None:
        """Return when the rows hold everything up to a position.

        Raises WaitTimeout, or the error with which the client has ended.
        """
        try:
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._next_turn()):
                        return await self._reach(wanted)
                self._ask(wanted)
                await self._reach(wanted)
        except TimeoutError:
            text = self._how_far(wanted, timeout_s, trouble())
            raise WaitTimeout(text, self.now) from None
        finally:
            self._session.stop_waiting(wanted)

    async def catch_up(self, subscriptions: Sequence[Subscription[Any]]) -> None:
        """Return when the rows hold what was committed before the connection was opened.

        Raises the error of a subscription that ends.
        """
        while not self._has_caught_up():
            self._ask(wanted := self._session.welcomed_at)
            self._moved.clear()
            await self._moved.wait()
            self._session.stop_waiting(wanted)
            await all_live(subscriptions, self._moved)

    def _has_caught_up(self) -> bool:
        # Another connection, or another history, has another position: it is looked at anew.
        cursor = self._session.cursor
        is_of_this = cursor is not None and cursor.epoch == self._session.epoch
        return is_of_this and self._has(self._session.welcomed_at)

    def _ask(self, wanted: Lsn) -> None:
        self._session.wait(wanted)
        self._send()

    def _next_turn(self) -> float | None:
        """Say when a position may be asked for; None leaves it to the progress of each second."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._turn)
        if turn > now + limits.PROGRESS_S:
            return None
        self._turn = turn + 1 / limits.WAITS_PER_S
        return turn

    async def _reach(self, wanted: Lsn) -> None:
        while True:
            if self._following.error is not None:
                raise self._following.error
            is_whole = self._has(wanted) and not self._following.loading
            if is_whole or not self._following.subscriptions:
                return
            self._moved.clear()
            await self._moved.wait()

    def _has(self, wanted: Lsn) -> bool:
        cursor = self._session.cursor
        return cursor is not None and cursor.lsn >= wanted

    def _how_far(self, wanted: Lsn, timeout_s: float, trouble: str) -> str:
        loading = ", ".join(self._following.loading)
        facts = [
            f"not at {format_lsn(wanted)} within {timeout_s:g} s",
            f"the rows are as of {self.now or 'no position yet'}",
            *([f"loading: {loading}"] if loading else []),
            *([f"not connected: {trouble}"] if trouble else []),
        ]
        return "; ".join(facts)
