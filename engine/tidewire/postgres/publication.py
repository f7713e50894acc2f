"""The publication of one deployment: which tables are in the stream, and since when.

It lists tables, never all of them: that would break UPDATEs of the application on tables without a
key. In its comment stands what the next process has to know, bound to the name of a slot: a copy of
the database elsewhere has another one.
"""

from __future__ import annotations

import msgspec
from psycopg import sql

from tidewire.core.model.lsn import LSN_ZERO, Lsn
from tidewire.core.stream.history import Mark
from tidewire.postgres.database import Connection


class Notes(msgspec.Struct, frozen=True):
    """What the next process has to know of a slot."""

    slot: str
    horizons: dict[int, int] = {}
    """From which transactions on tables are in the stream (see `core.wal.publishing`)."""
    quiet: Mark | None = None
    """The last commit with rows before where the slot stands, if none is behind it."""
    until: Lsn = LSN_ZERO
    """How far we have let the slot move since: further on it was moved by somebody else."""

    def solid(self, confirmed: Lsn) -> Mark | None:
        """Return the last commit with rows before a slot that stands here, where that is known."""
        is_known = self.quiet is not None and self.quiet.lsn <= confirmed <= self.until
        return self.quiet if is_known else None


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


async def write_notes(connection: Connection, name: str, notes: Notes) -> None:
    """Write down what the next process has to know.

    Raises psycopg.Error, also when the publication is not ours.
    """
    text = msgspec.json.encode(notes).decode()
    statement = sql.SQL("COMMENT ON PUBLICATION {} IS {}")
    await connection.execute(statement.format(sql.Identifier(name), text))


async def read_notes(connection: Connection, name: str, slot: str) -> Notes:
    """Read what was written down for a slot; what was written for another does not count."""
    cursor = await connection.execute(
        "SELECT obj_description(oid, 'pg_publication') AS comment FROM pg_publication"
        " WHERE pubname = %s",
        [name],
    )
    row = await cursor.fetchone()
    try:
        notes = msgspec.json.decode((row and row["comment"]) or "", type=Notes)
    except msgspec.DecodeError:
        return Notes(slot)  # somebody else's words, or none
    return notes if notes.slot == slot else Notes(slot)
