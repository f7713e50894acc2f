"""Tables as the catalog knows them, and their place in the publication."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from tidewire import limits
from tidewire.config import Config
from tidewire.core.diagnosis.facts import Table
from tidewire.core.diagnosis.table import find_obstacle
from tidewire.core.model.lsn import Lsn, lower_past_header, parse_lsn
from tidewire.core.protocol.frames import ShapeRequest
from tidewire.core.shape.definition import Definition
from tidewire.core.shape.predicate import Predicate
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.core.wal.publishing import Publishing
from tidewire.errors import DatabaseGone, SyncError
from tidewire.postgres.condition import bind
from tidewire.postgres.database import Connection, Database, query
from tidewire.postgres.publication import publication_name

_log = logging.getLogger("tidewire.catalog")
_POLL_S = 0.05


class Resolved(NamedTuple):
    """What a subscription needs to know of its table."""

    spec: ShapeSpec
    position: Lsn
    """Where the log ended when the table was looked up."""
    is_new: bool
    """The table was published only now: what came before was not streamed."""


class Catalog:
    """Resolve the tables that clients ask for, and publish them when they are first asked for.

    `keep` writes down what `publishing` has learnt.
    """

    def __init__(
        self,
        database: Database,
        config: Config,
        *,
        publishing: Publishing,
        keep: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self._database = database
        self._stream = publishing
        self._keep = keep
        self._publication = publication_name(config.deployment)
        self._allowed = config.tables
        self._publishing = asyncio.Lock()
        self._settled: set[int] = set()
        """Tables of which every transaction is whole in the stream."""
        self._horizons: dict[int, int] = {}
        """Tables that we have published and that older transactions may have written to."""
        self.waiting: dict[str, str] = {}
        """Tables that wait for such a transaction, with who it is: for people who ask why."""

    async def resolve(self, request: ShapeRequest) -> Resolved:
        """Make a shape of what a client asks for, and see that it is in the stream from now on.

        Raises SyncError when the table cannot be followed, DatabaseGone, DatabaseRefused.
        """
        async with self._database.connection() as connection:
            facts = await look_up(connection, request.table)
            if facts is None or not facts["may_select"] or not self._is_allowed(facts):
                raise SyncError("unknown_table", f"there is no table {request.table!r} here")
            # A client need not know as whom we come here.
            if obstacle := find_obstacle(table_of(facts, role="...")):
                text = f"{_qualified(facts)} {obstacle.sentence}"
                raise SyncError("unsupported_table", text)
            columns = _columns(facts, request.columns)
            where = await _where(connection, facts, request)
        is_new = facts["oid"] not in self._settled and await self._publish(facts)
        spec = ShapeSpec(
            relation_oid=facts["oid"],
            schema=facts["schema"],
            table=facts["name"],
            columns=columns,
            key=tuple(facts["key"]),
            is_partitioned=facts["kind"] == "p",
            where=where,
        )
        return Resolved(spec, await self._position(), is_new)

    async def definitions(self, oids: Collection[int]) -> dict[int, Definition]:
        """Return what those of some tables are that are there, by oid: one query, and no lock.

        Raises DatabaseRefused, DatabaseGone.
        """
        parameters = {"oids": list(oids), "publication": self._publication}
        async with self._database.connection() as connection:
            cursor = await connection.execute(query("definition"), parameters)
            rows = await cursor.fetchall()
        return {row["oid"]: msgspec.convert(row, Definition) for row in rows}

    def forget(self, oid: int) -> None:
        """Forget that a table is published: somebody has taken it out, or dropped it."""
        self._settled.discard(oid)
        self._horizons.pop(oid, None)

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

    async def _publish(self, facts: dict[str, Any]) -> bool:
        """Publish a table if it is not; True when it was not published before this call."""
        async with self._publishing:
            horizon = self._horizons.get(facts["oid"])
            was_published = horizon is None
            if horizon is None:
                horizon, was_published = await self._find_horizon(facts)
            await self._settle(facts, horizon)
            self._settled.add(facts["oid"])
            self._horizons.pop(facts["oid"], None)
            return not was_published

    async def _find_horizon(self, facts: dict[str, Any]) -> tuple[int, bool]:
        """Return the first transaction that certainly began behind the publishing of a table."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                query("published"), {"publication": self._publication, "oid": facts["oid"]}
            )
            row = await cursor.fetchone()
            assert row is not None
            if row["xmin"] is not None:
                # Another process has published it: its xid has 32 bits, and lies in the past.
                distance = (row["next"] - int(row["xmin"])) % (1 << 32)
                return row["next"] - distance + 1, True
            horizon = self._horizons[facts["oid"]] = await self._add_now(connection, facts)
            await self._keep(connection)
        return horizon, False

    async def _add_now(self, connection: Connection, facts: dict[str, Any]) -> int:
        # Whoever began before the publishing was committed may have written without it.
        oid = int(facts["oid"])
        self._stream.announce(oid)
        try:
            await self._add(connection, facts)
            cursor = await connection.execute(query("published"), {"publication": "", "oid": 0})
            row = await cursor.fetchone()
            assert row is not None
            return self._stream.settle(oid, row["next"])
        finally:
            self._stream.withdraw(oid)

    async def _add(self, connection: Connection, facts: dict[str, Any]) -> None:
        statement = sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(
            sql.Identifier(self._publication), sql.Identifier(facts["schema"], facts["name"])
        )
        try:
            await connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            raise SyncError(
                "unsupported_table",
                f"{_qualified(facts)} cannot be published: {error.diag.message_primary}; "
                "make this role its owner, or add the table to the publication by hand",
            ) from error
        _log.info("published %s", _qualified(facts))

    async def _settle(self, facts: dict[str, Any], horizon: int) -> None:
        # A transaction that wrote to the table before it was published appears in the stream with
        # only its later rows. Once all older transactions have ended, nothing is half there.
        oldest = "unknown"
        try:
            async with asyncio.timeout(limits.OLDER_TRANSACTIONS_TIMEOUT_S):
                while True:
                    async with self._database.connection() as connection:
                        cursor = await connection.execute(query("older"), {"xid": str(horizon)})
                        row = await cursor.fetchone()
                    assert row is not None
                    if row["is_settled"]:
                        return
                    self.waiting[_qualified(facts)] = oldest = str(row["oldest"])
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise DatabaseGone(
                f"{_qualified(facts)} waits for a transaction that is open for long: {oldest}"
            ) from None
        finally:
            self.waiting.pop(_qualified(facts), None)


async def look_up(connection: Connection, table: str) -> dict[str, Any] | None:
    """Find a table by the name that a client gives it: a table of `public`, or schema.table."""
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


def _columns(facts: dict[str, Any], wanted: list[str] | None) -> tuple[ShapeColumn, ...]:
    """Choose columns, in the order of the table; those of the key are always among them."""
    columns = tuple(ShapeColumn(*column) for column in facts["columns"])
    if wanted is None:
        return columns
    if unknown := set(wanted) - {column.name for column in columns}:
        names = ", ".join(sorted(unknown))
        hint = "" if unknown.isdisjoint(facts["generated"]) else ": generated columns are not"
        raise SyncError(
            "unknown_column", f"{_qualified(facts)} has no column {names} that is streamed{hint}"
        )
    chosen = {*wanted, *facts["key"]}
    return tuple(column for column in columns if column.name in chosen)


async def _where(
    connection: Connection, facts: dict[str, Any], request: ShapeRequest
) -> Predicate | None:
    if request.where is None:
        if request.params:
            raise SyncError("bad_params", "there are parameters, but no condition")
        return None
    predicate = await bind(connection, facts, request.where, request.params or ())
    known = facts["key"]
    if facts["identity"] != "f" and (others := sorted(predicate.columns - set(known))):
        name = _qualified(facts)
        raise SyncError(
            "unsupported_where",
            f"{', '.join(others)} of an old row is not in the write-ahead log, so a row that "
            f"leaves the condition would not be noticed: ALTER TABLE {name} REPLICA IDENTITY FULL "
            "(takes a brief lock), or use columns of its key only",
        )
    return predicate


def table_of(facts: dict[str, Any], role: str) -> Table:
    """Take from the facts of `table.sql` what decides whether a table can be followed."""
    primary = facts["primary_key"] or {"name": "", "columns": []}
    return Table(
        name=facts["quoted"],
        kind=facts["kind"],
        persistence=facts["persistence"],
        identity=facts["identity"],
        key=facts["key"] or (),
        is_partition=facts["is_partition"],
        hides_rows=facts["hides_rows"],
        role=role,
        columns=[name for name, *_ in facts["columns"]],
        primary_key=primary["columns"],
        primary_key_name=primary["name"],
        unique_index=facts["unique_index"],
        root=facts["root"],
        poorer=facts["poorer"],
    )


def _qualified(facts: dict[str, Any]) -> str:
    return f"{facts['schema']}.{facts['name']}"
