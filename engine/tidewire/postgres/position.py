"""The position of one's own write, to be waited for by `Client.wait_for`.

It works on the application's connections: psycopg's and asyncpg's, and those of SQLAlchemy. The
two that may not be installed are known by their methods, not by their names.
"""

from __future__ import annotations

import asyncio
from importlib import resources
from inspect import isawaitable
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from tidewire.core.model.lsn import format_lsn, lower_past_header, parse_lsn

_QUERY = resources.files("tidewire.postgres.sql").joinpath("position.sql").read_text()


async def position(connection: Any) -> str:
    """Tell the position up to which the database has been written, as `X/Y`.

    Call it after COMMIT, on the connection that wrote: everything that it has committed lies at or
    below. A synchronous connection is asked in a thread.

    Raises ValueError while a transaction is open: its rows have no position yet. Raises TypeError
    for a connection of a library that is not known.
    """
    if isinstance(connection, psycopg.AsyncConnection):
        lsn, segment_bytes = await _ask_psycopg(connection)
    elif isinstance(connection, psycopg.Connection):
        lsn, segment_bytes = await asyncio.to_thread(_ask_psycopg_sync, connection)
    elif hasattr(connection, "fetchrow"):
        _check(is_open=connection.is_in_transaction())
        lsn, segment_bytes = await connection.fetchrow(_QUERY)
    elif hasattr(connection, "exec_driver_sql"):
        lsn, segment_bytes = await _ask_sqlalchemy(connection)
    else:
        text = f"a connection of psycopg, asyncpg or SQLAlchemy is needed, not {connection!r:.200}"
        raise TypeError(text)
    return format_lsn(lower_past_header(parse_lsn(lsn), segment_bytes))


def position_blocking(connection: Any) -> str:
    """Tell the same of a connection that blocks, and block.

    Raises as `position`.
    """
    if isinstance(connection, psycopg.Connection):
        lsn, segment_bytes = _ask_psycopg_sync(connection)
    elif hasattr(connection, "exec_driver_sql") and not hasattr(connection, "sync_connection"):
        _check(is_open=connection.in_transaction())
        lsn, segment_bytes = connection.exec_driver_sql(_QUERY).fetchone()
        connection.rollback()  # the transaction that the question has opened
    else:
        text = "a connection of psycopg or SQLAlchemy that blocks is needed; for others there is "
        raise TypeError(f"{text}`await tidewire.position(...)`: {connection!r:.200}")
    return format_lsn(lower_past_header(parse_lsn(lsn), segment_bytes))


async def _ask_psycopg(connection: psycopg.AsyncConnection[Any]) -> tuple[Any, ...]:
    _check(is_open=connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE)
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_QUERY.encode())
        row = await cursor.fetchone()
    assert row is not None
    if not connection.autocommit:
        await connection.rollback()  # the transaction that the question has opened
    return row


def _ask_psycopg_sync(connection: psycopg.Connection[Any]) -> tuple[Any, ...]:
    _check(is_open=connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE)
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_QUERY.encode()).fetchone()
    assert row is not None
    if not connection.autocommit:
        connection.rollback()
    return row


async def _ask_sqlalchemy(connection: Any) -> tuple[Any, ...]:
    _check(is_open=connection.in_transaction())
    result = connection.exec_driver_sql(_QUERY)
    result = await result if isawaitable(result) else result
    row: tuple[Any, ...] = tuple(result.fetchone())
    ended = connection.rollback()
    if isawaitable(ended):
        await ended
    return row


def _check(*, is_open: bool) -> None:
    if is_open:
        raise ValueError("a transaction is open on this connection: commit, then ask")
