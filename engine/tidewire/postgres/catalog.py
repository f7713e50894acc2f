"""Tables as the catalog knows them, and their place in the publication."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
from psycopg import sql

from tidewire import limits
from tidewire.core.model.lsn import Lsn, lower_past_header, parse_lsn
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.errors import DatabaseGone, SyncError
from tidewire.postgres.database import Connection, Database, query
from tidewire.postgres.slot import publication_name

_log = logging.getLogger("tidewire.catalog")
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a composite type",
    "t": "a TOAST table",
}
_POLL_S = 0.05


class Catalog:
    """Resolve the tables that clients ask for, and publish them when they are first asked for."""

    def __init__(self, database: Database, deployment: str, allowed: tuple[str, ...]) -> None:
        self._database = database
        self._publication = publication_name(deployment)
        self._allowed = allowed
        self._publishing = asyncio.Lock()

    async def resolve(self, table: str) -> tuple[ShapeSpec, Lsn]:
        """Return the shape of a whole table, and a position from which its changes are streamed.

        Raises SyncError when the table cannot be followed, DatabaseGone, DatabaseRefused.
        """
        async with self._database.connection() as connection:
            facts = await _look_up(connection, table)
        if facts is None or not facts["may_select"] or not self._is_allowed(facts):
            raise SyncError("unknown_table", f"there is no table {table!r} here")
        if problem := _problem(facts):
            raise SyncError("unsupported_table", f"{_qualified(facts)} {problem}")
        async with self._publishing:
            await self._publish(facts)
        spec = ShapeSpec(
            relation_oid=facts["oid"],
            schema=facts["schema"],
            table=facts["name"],
            columns=tuple(ShapeColumn(*column) for column in facts["columns"]),
            key=tuple(facts["key"]),
        )
        return spec, await self._position()

    async def _position(self) -> Lsn:
        async with self._database.connection() as connection:
            cursor = await connection.execute(query("position"))
            row = await cursor.fetchone()
        assert row is not None
        return lower_past_header(parse_lsn(str(row["lsn"])), int(row["segment_bytes"]))

    def _is_allowed(self, facts: dict[str, Any]) -> bool:
        if not self._allowed:
            return True
        names = {_qualified(facts)}
        if facts["schema"] == "public":
            names.add(facts["name"])
        return not names.isdisjoint(self._allowed)

    async def _publish(self, facts: dict[str, Any]) -> None:
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT 1 FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
                " WHERE p.pubname = %s AND r.prrelid = %s",
                [self._publication, facts["oid"]],
            )
            if await cursor.fetchone():
                return
            xid = await self._add(connection, facts)
        await self._settle(facts, xid)

    async def _add(self, connection: Connection, facts: dict[str, Any]) -> str:
        statement = sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(
            sql.Identifier(self._publication), sql.Identifier(facts["schema"], facts["name"])
        )
        try:
            async with connection.transaction():
                await connection.execute(statement)
                cursor = await connection.execute("SELECT pg_current_xact_id()::text AS xid")
                row = await cursor.fetchone()
        except psycopg.errors.InsufficientPrivilege as error:
            raise SyncError(
                "unsupported_table",
                f"{_qualified(facts)} cannot be published: {error.diag.message_primary}; "
                "make this role its owner, or add the table to the publication by hand",
            ) from error
        assert row is not None
        _log.info("published %s", _qualified(facts))
        return str(row["xid"])

    async def _settle(self, facts: dict[str, Any], xid: str) -> None:
        # A transaction that wrote to the table before it was published appears in the stream with
        # only its later rows. Once all older transactions have ended, nothing is half there.
        oldest = "unknown"
        try:
            async with asyncio.timeout(limits.OLDER_TRANSACTIONS_TIMEOUT_S):
                while True:
                    async with self._database.connection() as connection:
                        cursor = await connection.execute(query("older"), {"xid": xid})
                        row = await cursor.fetchone()
                    assert row is not None
                    if row["is_settled"]:
                        return
                    oldest = str(row["oldest"])
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise DatabaseGone(
                f"{_qualified(facts)} waits for a transaction that is open for long: {oldest}"
            ) from None


async def _look_up(connection: Connection, table: str) -> dict[str, Any] | None:
    candidates = [("public", table)]
    candidates += [
        (table[:i], table[i + 1 :]) for i, character in enumerate(table) if character == "."
    ]
    if "\0" in table:
        return None  # PostgreSQL has no such text
    schemas, names = zip(*candidates, strict=True)
    cursor = await connection.execute(
        query("table"), {"schemas": list(schemas), "names": list(names)}
    )
    return await cursor.fetchone()


def _problem(facts: dict[str, Any]) -> str | None:
    """Say why a table cannot be followed, and the command that mends it."""
    name = _qualified(facts)
    if facts["kind"] not in ("r", "p"):
        return f"is {_KINDS.get(facts['kind'], 'not a table')}: only tables can be followed"
    if facts["persistence"] == "t":
        return "is temporary: its changes are not in the write-ahead log"
    if facts["persistence"] == "u":
        return f"is unlogged: ALTER TABLE {name} SET LOGGED"
    if facts["hides_rows"]:
        return "has row-level security, which the write-ahead log does not know: GRANT BYPASSRLS"
    if facts["identity"] == "n":
        return f"has no replica identity: ALTER TABLE {name} REPLICA IDENTITY DEFAULT"
    if not facts["key"]:
        return (
            "has no primary key (a deferrable one does not count): "
            f"ALTER TABLE {name} ADD PRIMARY KEY (...)"
        )
    return None


def _qualified(facts: dict[str, Any]) -> str:
    return f"{facts['schema']}.{facts['name']}"
