"""Faults that others bring about who use the same database: they write much, and they hold on.

The one rule: what was put in the way is taken away again, rows and settings, before the fault ends.
A run that is broken off leaves it: its database goes, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import psycopg

from tidelab import limits
from tidelab.fleet.recorder import Recorder

DATABASE_FAULTS = ("big-transaction", "open-transaction", "stalled-standby")

Connection = psycopg.AsyncConnection[tuple[object, ...]]

SHARES = (20, 10, 4)  # of the largest: judging takes time for each row and client
_FIRST_KEY = 2_000_000_000  # close to the end of int4: no writer has keys there
_INSERT = """
INSERT INTO items SELECT %s + n, 0, 'red', n, NULL, repeat('x', %s) FROM generate_series(1, %s) n
"""
_DELETE = "DELETE FROM items WHERE order_id > %s"
_HOLD = """
INSERT INTO notes SELECT %s + n, 'green', n, repeat('h', 200 * n) FROM generate_series(1, 20) n
"""


class Database:
    """Write and hold in the database of a run, beside its writers."""

    def __init__(
        self,
        url: str,
        recorder: Recorder,
        *,
        stir: Callable[[], None],
        seed: int,
        big_rows: int | None = None,
    ) -> None:
        """Prepare; `stir` lets clients ask for copies, which begin beside what is held."""
        self._url, self._recorder, self._stir = url, recorder, stir
        self._random = Random(f"{seed} database")  # noqa: S311 -- repeatable, not secret
        self._big_rows = big_rows
        self._held = 0

    async def inflict(self, fault: str, down_s: float) -> None:
        """Inflict one fault, wait, and heal it."""
        with self._recorder.operation("chaos", fault, f"for {down_s:g} s"):
            match fault:
                case "big-transaction":
                    rows, row_bytes = self._draw_size()
                    async with self.bulk(rows, row_bytes=row_bytes):
                        await asyncio.sleep(down_s)
                case "open-transaction":
                    await self._hold(max(down_s, limits.HELD_AT_LEAST_S))
                case "stalled-standby":
                    await self._stall(max(down_s, limits.HELD_AT_LEAST_S))
                case _:
                    raise AssertionError(f"unknown fault {fault}")

    def _draw_size(self) -> tuple[int, int]:
        """Return rows and bytes of a big transaction; a size that was asked for comes once.

        Whatever is told of it is kept until it is judged.
        """
        rows, row_bytes = limits.BIG_TRANSACTION_ROWS // self._random.choice(SHARES), 400
        if self._big_rows is not None:
            rows, row_bytes = self._big_rows, limits.BIG_ROW_BYTES
            self._big_rows = None
        return rows, row_bytes

    @asynccontextmanager
    async def bulk(self, rows: int, *, row_bytes: int) -> AsyncIterator[None]:
        """Insert many rows in one transaction; at the end another one deletes them."""
        async with await connect(self._url) as connection:
            with self._recorder.operation("bulk", "transaction", f"{rows} rows in"):
                await connection.execute(_INSERT, [_FIRST_KEY, row_bytes, rows])
            yield
            with self._recorder.operation("bulk", "transaction", f"{rows} rows out"):
                await connection.execute(_DELETE, [_FIRST_KEY])

    async def _hold(self, held_s: float) -> None:
        """Leave a transaction open that has written; it ends in one way or the other."""
        async with await connect(self._url) as connection:
            with self._recorder.operation("holder", "transaction", "open") as operation:
                await connection.execute("BEGIN")
                await connection.execute(_HOLD, [_FIRST_KEY + self._held])
                self._held += 20
                self._stir()
                await asyncio.sleep(held_s)
                if self._random.random() < 0.5:
                    await connection.execute("ROLLBACK")
                    operation.fail("rolled back, as intended")
                else:
                    await connection.execute("COMMIT")

    async def _stall(self, stalled_s: float) -> None:
        """Let commits wait for a standby that is not there: they are streamed before they end."""
        async with await connect(self._url) as connection:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
            await connection.execute("SELECT pg_reload_conf()")
            self._stir()
            await asyncio.sleep(stalled_s)
            await connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await connection.execute("SELECT pg_reload_conf()")


async def connect(url: str) -> Connection:
    """Connect as an administrator: each statement by itself, and in a deadlock others give way."""
    patience = f"{limits.BULK_TIMEOUT_S}s"
    return await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=limits.CONNECT_TIMEOUT_S,
        options=f"-c statement_timeout={patience} -c deadlock_timeout={patience}",
    )
