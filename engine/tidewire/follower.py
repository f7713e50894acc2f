"""Read a stream into the log; when a server wakes, a second one that is quicker to begin.

::

    slot      . . . . . decodes what the log has already . . . . .| newest commit, and on
    bookmark  | first commit, and on - - - - - - - - - - - - - - -|

The slot's own stream proves that the log goes on, and takes over when it has come as far.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tidewire.config import Config
from tidewire.core.hub import Hub
from tidewire.core.model.spool import Spool
from tidewire.core.model.transaction import Transaction
from tidewire.core.stream.rejoin import BrokenHistory, Rejoin
from tidewire.core.wal.assembler import Assembler
from tidewire.core.wal.publishing import Publishing
from tidewire.errors import DatabaseError, DecodeError, SpoolError
from tidewire.postgres.publication import publication_name
from tidewire.postgres.replication import Replication
from tidewire.telemetry import Metrics

_log = logging.getLogger("tidewire.leader")


class Follower:
    """Deliver what streams bring; `tell` is called after each piece, with what proves it."""

    def __init__(
        self,
        hub: Hub,
        spool: Spool,
        *,
        config: Config,
        metrics: Metrics,
        tell: Callable[[Rejoin], None],
    ) -> None:
        self._hub = hub
        self._spool = spool
        self._config = config
        self._metrics = metrics
        self._tell = tell
        self.publishing = Publishing()
        """Which tables the stream holds, and since when."""
        self.ahead: Replication | None = None
        """The connection that reads from a bookmark."""

    async def follow(
        self, replication: Replication, rejoin: Rejoin, assembler: Assembler | None = None
    ) -> None:
        """Read for ever.

        Raises DatabaseGone, DecodeError, SpoolError, BrokenHistory, and what interrupts.
        """
        assembler = assembler or self._assembler()
        while True:
            batch = await replication.read()
            if transactions := assembler.feed(batch.messages):
                self._deliver(transactions, rejoin)
            if batch.progress and not assembler.is_open and rejoin.check_progress(batch.progress):
                self._hub.advance(batch.progress)
            self._tell(rejoin)
            # A busy stream never waits by itself, and the sockets want their turn.
            await asyncio.sleep(0)

    async def overtake(self, bookmark: str, replication: Replication, rejoin: Rejoin) -> Assembler:
        """Read from a bookmark until the slot's own stream has come to the end of the log.

        Return what has read the begin of that stream. Raises as `follow` does.
        """
        assembler = self._assembler()
        try:
            async with asyncio.TaskGroup() as tasks:
                ahead = tasks.create_task(self._read_ahead(bookmark, replication.is_trailing))
                transactions = await _arrive(replication, rejoin, assembler)
                ahead.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # the other stream keeps its troubles to itself
        self._deliver(transactions, rejoin)
        return assembler

    async def _read_ahead(self, bookmark: str, is_trailing: bool) -> None:
        publication = publication_name(self._config.deployment)
        try:
            async with Replication(self._config.database_url) as ahead:
                ahead.is_trailing = is_trailing
                rejoin = Rejoin.ahead(self._hub.history)
                await ahead.start(bookmark, publication, rejoin.after)
                self.ahead = ahead
                await self.follow(ahead, rejoin)
        except (DatabaseError, DecodeError, SpoolError, BrokenHistory) as error:
            _log.info("the bookmark is of no use, so waking takes longer: %s", error)
        finally:
            self.ahead = None

    def _assembler(self) -> Assembler:
        return Assembler(self._spool, publishing=self.publishing)

    def _deliver(self, transactions: list[Transaction], rejoin: Rejoin) -> None:
        new = rejoin.check(transactions)
        self._hub.deliver(new, asyncio.get_running_loop().time())
        self._metrics.transactions.inc(len(new))
        self._metrics.rows.inc(sum(transaction.rows for transaction in new))


async def _arrive(
    replication: Replication, rejoin: Rejoin, assembler: Assembler
) -> list[Transaction]:
    """Read the first commits of a stream: they tell whether it continues the log.

    A log without any is continued by a stream that has passed its end.
    """
    while True:
        batch = await replication.read()
        if transactions := assembler.feed(batch.messages):
            return transactions
        if batch.progress and not assembler.is_open and rejoin.check_end(batch.progress):
            return []
