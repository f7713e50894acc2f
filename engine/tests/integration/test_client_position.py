"""Goal: the position of one's own write is told, whatever library wrote it.

Method: psycopg on a real server; asyncpg and SQLAlchemy, which we do not install, by stand-ins that
have the methods that they document.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

import tidewire
from engine.tests.integration.live import Live, in_loop
from tidewire import blocking
from tidewire.core.model.lsn import parse_lsn

MIB = 1024 * 1024


@pytest.mark.postgres
@pytest.mark.parametrize("is_autocommit", [True, False])
@in_loop
async def test_psycopg_tells_where_its_commit_ends(live: Live, is_autocommit: bool) -> None:
    await live.execute("CREATE TABLE t (id int PRIMARY KEY)")
    connecting = psycopg.AsyncConnection.connect(
        live.url, autocommit=is_autocommit, row_factory=dict_row
    )
    async with await connecting as connection:
        before = await tidewire.position(connection)
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(ValueError, match="commit, then ask"):
                await tidewire.position(connection)
        assert parse_lsn(await tidewire.position(connection)) > parse_lsn(before)
        assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


@pytest.mark.postgres
@in_loop
async def test_psycopg_without_async_is_asked_too(live: Live) -> None:
    with psycopg.connect(live.url) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
        with pytest.raises(ValueError, match="commit, then ask"):
            await tidewire.position(connection)
        connection.commit()
        assert parse_lsn(await tidewire.position(connection)) > 0
        assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
        connection.autocommit = True
        assert parse_lsn(await tidewire.position(connection)) > 0


class LikeAsyncpg:
    """What we use of `asyncpg.Connection`."""

    def __init__(self, lsn: str, *, is_open: bool = False) -> None:
        self._row, self._is_open = (lsn, 16 * MIB), is_open

    def is_in_transaction(self) -> bool:
        return self._is_open

    async def fetchrow(self, query: str) -> tuple[str, int]:
        assert "pg_current_wal_insert_lsn" in query
        return self._row


class LikeSqlalchemy:
    """What we use of `sqlalchemy.Connection`, and with `is_async` of its asynchronous sibling."""

    def __init__(self, lsn: str, *, is_async: bool, is_open: bool = False) -> None:
        self._row, self._is_async, self._is_open = (lsn, 16 * MIB), is_async, is_open

    def in_transaction(self) -> bool:
        return self._is_open

    def exec_driver_sql(self, query: str) -> Any:
        self._is_open = True  # it begins by itself
        return self._answer(self)

    def rollback(self) -> Any:
        self._is_open = False
        return self._answer(None)

    def fetchone(self) -> tuple[str, int]:
        return self._row

    def _answer(self, value: object) -> Any:
        async def later() -> object:
            return value

        return later() if self._is_async else value


@in_loop
async def test_asyncpg_is_known_by_its_methods() -> None:
    assert await tidewire.position(LikeAsyncpg("0/1000100")) == "0/1000100"
    with pytest.raises(ValueError, match="commit, then ask"):
        await tidewire.position(LikeAsyncpg("0/1", is_open=True))


@pytest.mark.parametrize("is_async", [True, False])
@in_loop
async def test_sqlalchemy_is_known_by_its_methods(is_async: bool) -> None:
    connection = LikeSqlalchemy("0/1000100", is_async=is_async)
    assert await tidewire.position(connection) == "0/1000100"
    assert not connection.in_transaction(), "it is left as it was found"
    with pytest.raises(ValueError, match="commit, then ask"):
        await tidewire.position(LikeSqlalchemy("0/1", is_async=is_async, is_open=True))


def test_sqlalchemy_that_blocks_is_asked_by_what_blocks() -> None:
    connection = LikeSqlalchemy("0/1000100", is_async=False)
    assert blocking.position(connection) == "0/1000100"
    assert not connection.in_transaction(), "it is left as it was found"
    with pytest.raises(ValueError, match="commit, then ask"):
        blocking.position(LikeSqlalchemy("0/1", is_async=False, is_open=True))
    with pytest.raises(TypeError, match="that blocks is needed"):
        blocking.position(LikeAsyncpg("0/1"))


@pytest.mark.parametrize(
    ("lsn", "found"),
    [("0/1000028", "0/1000000"), ("0/1002018", "0/1002000"), ("0/1002028", "0/1002028")],
)
@in_loop
async def test_a_position_behind_the_header_of_an_empty_page_is_lowered(
    lsn: str, found: str
) -> None:
    assert await tidewire.position(LikeAsyncpg(lsn)) == found


@in_loop
async def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="of psycopg, asyncpg or SQLAlchemy is needed, not 'x'"):
        await tidewire.position("x")
