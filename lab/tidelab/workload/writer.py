"""Writers: run transactions against the database, and write down how each ended.

The one rule: an answer that did not come is *unsure*, an error that PostgreSQL told is *failed*,
and only an acknowledged commit is *ok*, with its position.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random

import psycopg

from tidelab.core.history.position import parse_lsn
from tidelab.fleet.recorder import Operation, Recorder
from tidelab.limits import CONNECT_AGAIN_S, CONNECT_TIMEOUT_S, WRITER_TIMEOUT_S
from tidelab.workload.tables import FIRST_ROWS, SCHEMA
from tidelab.workload.transactions import Transaction, Transactions

Connection = psycopg.AsyncConnection[tuple[object, ...]]


class Writer:
    """Write transaction after transaction until it is told to stop."""

    def __init__(
        self,
        number: int,
        url: str,
        recorder: Recorder,
        *,
        seed: int,
        may_go_on: Callable[[], bool],
        writing: asyncio.Event,
    ) -> None:
        """Prepare one; it holds its breath while `writing` is not set."""
        self.name = f"w{number}"
        self.written = 0
        self._url, self._recorder, self._may_go_on = url, recorder, may_go_on
        self._writing = writing
        self._random = Random(f"{seed} writer {number}")  # noqa: S311 -- repeatable, not secret
        self._transactions = Transactions(self._random, number)

    async def run(self) -> None:
        """Write, and come back when the database was away."""
        while self._may_go_on():
            with suppress(psycopg.OperationalError):
                async with await connect(self._url) as connection:
                    while self._may_go_on():
                        await self._writing.wait()
                        await self._write(connection, self._transactions.draw())
                        await asyncio.sleep(self._random.choice((0.0, 0.0, 0.005, 0.02)))
            # The database is away: nobody tells when it is back.
            await asyncio.sleep(self._random.uniform(0.02, CONNECT_AGAIN_S))

    async def _write(self, connection: Connection, transaction: Transaction) -> None:
        with self._recorder.operation(self.name, "transaction", transaction.detail) as operation:
            try:
                await self._attempt(connection, transaction, operation)
            except psycopg.Error as error:
                reason = " ".join(str(error).split())[:200]
                if connection.closed or connection.broken:
                    operation.doubt(reason)
                    raise psycopg.OperationalError(reason) from None
                operation.fail(reason)
                await connection.rollback()

    async def _attempt(
        self, connection: Connection, transaction: Transaction, operation: Operation
    ) -> None:
        for query, values in transaction.statements:
            await connection.execute(query, values or None)
        if not transaction.is_committed:
            await connection.rollback()
            operation.fail("rolled back, as intended")
            return
        await connection.commit()
        self.written += 1
        cursor = await connection.execute("SELECT pg_current_wal_insert_lsn()::text")
        row = await cursor.fetchone()
        await connection.rollback()
        assert row is not None
        operation.succeed(parse_lsn(str(row[0])))


async def connect(url: str) -> Connection:
    """Connect as an application does."""
    return await psycopg.AsyncConnection.connect(
        url,
        connect_timeout=CONNECT_TIMEOUT_S,
        options=f"-c statement_timeout={WRITER_TIMEOUT_S * 1000}",
    )


async def make_tables(url: str) -> None:
    """Make the tables of a run and their first rows."""
    async with await connect(url) as connection:
        for statement in (*SCHEMA, *FIRST_ROWS):
            await connection.execute(statement)


async def push_fence(url: str) -> None:
    """Commit something, so that the log goes on behind the fence: an idle log ends at a header."""
    async with await connect(url) as connection:
        await connection.execute("SELECT pg_logical_emit_message(true, 'tidelab', 'fence')")
