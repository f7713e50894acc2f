"""Ordinary connections to PostgreSQL: for the catalog, the publication and the slot.

Every connection of ours prints values in the same way, whatever the server's settings are, so that
a row reads the same however it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import resources

import psycopg
from psycopg import conninfo
from psycopg.rows import DictRow, dict_row

from tidewire import limits
from tidewire.core.model.lsn import Lsn, format_lsn
from tidewire.core.stream.splice import Snapshot
from tidewire.errors import ConfigError, DatabaseGone, DatabaseRefused

# How values are printed, pinned on each connection of ours.
PINNED = {
    "datestyle": "ISO,YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
}
# Classes of SQLSTATE that say that the server is not there now (manual, appendix A): connection
# exceptions, insufficient resources, operator intervention, system errors.
_WEATHER = ("08", "53", "57", "58")

Connection = psycopg.AsyncConnection[DictRow]


def connection_string(url: str, parameters: Mapping[str, str], options: Mapping[str, str]) -> str:
    """Add our parameters and pinned settings to what the user gave.

    Raises ConfigError when it is neither a URL nor key=value pairs.
    """
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's own words would quote parts of it, and with them the password.
        raise ConfigError(
            "database URL: neither postgresql://user:password@host/database nor key=value pairs; "
            "special characters in the password are written as %XX"
        ) from None
    flags = " ".join(f"-c {name}={value}" for name, value in {**PINNED, **options}.items())
    merged = {
        "connect_timeout": str(int(limits.CONNECT_TIMEOUT_S)),
        # A host that is cut off must be noticed before TCP gives up by itself, after minutes.
        "tcp_user_timeout": str(int(limits.CONNECT_TIMEOUT_S * 1000)),
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "2",
        **given,
        "client_encoding": "UTF8",
        "options": f"{given.get('options', '')} {flags}".strip(),
        **parameters,
    }
    return conninfo.make_conninfo("", **merged)


def translate(error: psycopg.Error) -> DatabaseGone | DatabaseRefused:
    """Sort an error of the driver: will it help to try again?"""
    text = " ".join(str(error).split()) or type(error).__name__
    sqlstate = error.sqlstate
    if sqlstate is None or sqlstate.startswith(_WEATHER):
        return DatabaseGone(text)
    return DatabaseRefused(text)


def query(name: str) -> bytes:
    """Return the text of one of our SQL files."""
    return resources.files("tidewire.postgres").joinpath("sql", f"{name}.sql").read_bytes()


class Database:
    """One connection for our rare queries, opened when needed and again when it broke."""

    def __init__(self, url: str) -> None:
        self._conninfo = connection_string(
            url,
            {"fallback_application_name": "tidewire"},
            {
                "statement_timeout": f"{int(limits.QUERY_TIMEOUT_S * 1000)}",
                # What we write down is on this disk before we go on, and waits for no standby.
                "synchronous_commit": "local",
            },
        )
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend the connection, alone, in autocommit mode.

        Raises DatabaseGone or DatabaseRefused, also for errors of the queries inside.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(limits.OLDER_TRANSACTIONS_TIMEOUT_S * 1.5):
                    yield await self._open()
            except TimeoutError as error:
                await self.close()
                raise DatabaseGone("the database did not answer in time") from error
            except psycopg.Error as error:
                await self._close_broken()
                raise translate(error) from error

    async def snapshot(self) -> Snapshot:
        """Ask which transactions are visible now.

        Raises DatabaseGone or DatabaseRefused.
        """
        async with self.connection() as connection:
            cursor = await connection.execute("SELECT pg_current_snapshot()::text AS snapshot")
            row = await cursor.fetchone()
        assert row is not None
        return Snapshot.parse(row["snapshot"])

    async def flush(self, position: Lsn) -> None:
        """Make the server write its log up to a position, if it has come there.

        Raises DatabaseGone or DatabaseRefused.
        """
        async with self.connection() as connection:
            await connection.execute(query("flush"), {"lsn": format_lsn(position)})

    async def rest(self) -> None:
        """Close the connection as soon as nobody uses it; the next query opens another."""
        async with self._lock:
            await self.close()

    async def close(self) -> None:
        """Close the connection if there is one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, row_factory=dict_row
            )
        return self._connection

    async def _close_broken(self) -> None:
        if self._connection is not None and self._connection.broken:
            await self.close()
