"""The publication of one deployment: which tables are in the stream, and since when.

It lists tables, never all of them: that would break UPDATEs of the application on tables without a
key. Its comment remembers the horizons of its tables (see `core.wal.publishing`) for the next
process: only this deployment makes and reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
import psycopg
from psycopg import sql

from tidewire.core.wal.publishing import Publishing
from tidewire.postgres.database import Connection

_log = logging.getLogger("tidewire.publication")


class _Comment(msgspec.Struct):
    """What the publication's comment says."""

    slot: str
    horizons: dict[int, int]


def publication_name(deployment: str) -> str:
    """Name the publication of a deployment."""
    return f"tidewire_{deployment}"


async def has_publication(connection: Connection, name: str) -> bool:
    """Tell whether there is a publication."""
    cursor = await connection.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", [name])
    return await cursor.fetchone() is not None


async def create_publication(connection: Connection, name: str) -> None:
    """Make a publication without any table."""
    statement = sql.SQL("CREATE PUBLICATION {} WITH (publish_via_partition_root = true)")
    await connection.execute(statement.format(sql.Identifier(name)))


async def drop_publication(connection: Connection, name: str) -> None:
    """Drop a publication."""
    await connection.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(name)))


async def keep_horizons(connection: Connection, name: str, publishing: Publishing) -> None:
    """Write the horizons down; without them a restart may have to begin another history."""
    comment = msgspec.json.encode(_Comment(publishing.history, dict(publishing.horizons)))
    statement = sql.SQL("COMMENT ON PUBLICATION {} IS {}")
    try:
        await connection.execute(statement.format(sql.Identifier(name), comment.decode()))
    except psycopg.errors.InsufficientPrivilege as error:
        _log.debug("no comment: %s", error)


async def read_horizons(connection: Connection, name: str, slot: str) -> Mapping[int, int]:
    """Read what was written down for a slot; nothing counts that was written for another."""
    cursor = await connection.execute(
        "SELECT obj_description(oid, 'pg_publication') AS comment FROM pg_publication"
        " WHERE pubname = %s",
        [name],
    )
    row = await cursor.fetchone()
    try:
        comment = msgspec.json.decode((row and row["comment"]) or "", type=_Comment)
    except msgspec.DecodeError:
        return {}  # somebody else's words, or none
    return comment.horizons if comment.slot == slot else {}
