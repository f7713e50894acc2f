"""Look at a database as the doctor does: with read-only queries of bounded time, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tidewire import limits
from tidewire.core.diagnosis.diagnose import diagnose
from tidewire.core.diagnosis.facts import (
    Facts,
    Prepared,
    Publication,
    Route,
    Server,
    Settings,
    Slot,
    Standing,
    Table,
    Transaction,
)
from tidewire.core.diagnosis.finding import Finding
from tidewire.core.diagnosis.server import VERSION_OLDEST, judge_version
from tidewire.errors import DatabaseGone
from tidewire.postgres.catalog import look_up, table_of
from tidewire.postgres.condition import column_types
from tidewire.postgres.database import Connection, connection_string, query, translate
from tidewire.postgres.publication import publication_name
from tidewire.postgres.replication import Replication
from tidewire.postgres.slot import slot_pattern

# Since then a publication can hold whole schemas.
_VERSION_WITH_SCHEMAS = 150000


async def examine(
    url: str, deployment: str, tables: Sequence[str], *, is_all: bool = False
) -> list[Finding]:
    """Examine a database for a deployment and its tables, and change nothing.

    Without `tables` those that are published are looked at, or with `is_all` all that there are.
    Raises DatabaseGone or DatabaseRefused when it cannot be looked at, ConfigError.
    """
    reading = connection_string(
        url,
        {"fallback_application_name": "tidewire"},
        {
            "default_transaction_read_only": "on",
            "statement_timeout": f"{int(limits.QUERY_TIMEOUT_S * 1000)}",
        },
    )
    try:
        async with (
            asyncio.timeout(limits.EXAMINATION_S),
            await psycopg.AsyncConnection.connect(
                reading, autocommit=True, row_factory=dict_row, prepare_threshold=None
            ) as connection,
        ):
            server = Server(**await _row(connection, "server"))
            if server.version < VERSION_OLDEST:
                return [judge_version(server)]
            facts = await _look(connection, url, deployment, tables, server, is_all=is_all)
    except TimeoutError:
        text = f"the database did not answer within {limits.EXAMINATION_S:.0f} s"
        raise DatabaseGone(text) from None
    except psycopg.Error as error:
        raise translate(error) from error
    return list(diagnose(facts))


async def _look(
    connection: Connection,
    url: str,
    deployment: str,
    tables: Sequence[str],
    server: Server,
    *,
    is_all: bool,
) -> Facts:
    settings = Settings(**await _row(connection, "doctor_settings"))
    publication = publication_name(deployment)
    slots = await _rows(connection, "doctor_slots", pattern=slot_pattern(deployment))
    if is_all or not tables:
        found = await _rows(connection, "doctor_tables", publication=publication, all=is_all)
        tables = [row["name"] for row in found]
    looked = [(name, await _table(connection, server, name, publication)) for name in tables]
    return Facts(
        deployment=deployment,
        server=server,
        settings=settings,
        route=await _route(connection, url),
        publication=await _publication(connection, server, publication),
        slots=[Slot(**row) for row in slots],
        transactions=[Transaction(**row) for row in await _rows(connection, "doctor_transactions")],
        prepared=[Prepared(**row) for row in await _rows(connection, "doctor_prepared")],
        tables=[table for _, table in looked if table is not None],
        missing_tables=[name for name, table in looked if table is None],
    )


async def _route(connection: Connection, url: str) -> Route:
    row = await _row(connection, "doctor_route")
    refusal = timeout_ms = None
    try:
        async with Replication(url) as replication:
            await replication.identify()
            timeout_ms = await replication.own_timeout_ms()
    except DatabaseGone as error:
        refusal = str(error)
    return Route(
        # Who shares connections must answer for others' cancel requests, and so makes up ids.
        is_pooled=connection.info.backend_pid != row["pid"],
        refusal=refusal,
        wal_sender_timeout_ms=timeout_ms,
        client_address=row["address"],
    )


async def _publication(connection: Connection, server: Server, name: str) -> Publication | None:
    rows = await _rows(connection, "doctor_publication", publication=name)
    if not rows:
        return None
    schemas = []
    if server.version >= _VERSION_WITH_SCHEMAS:
        schemas = await _rows(connection, "doctor_schemas", publication=name)
    return Publication(**rows[0], schemas=[row["name"] for row in schemas])


async def _table(
    connection: Connection, server: Server, name: str, publication: str
) -> tuple[Table, Standing] | None:
    facts = await look_up(connection, name)
    if facts is None:
        return None
    types = await column_types(connection, facts["oid"])
    rows = await _rows(connection, "doctor_standing", oid=facts["oid"], publication=publication)
    if not rows:  # it went while we looked
        return None
    standing = Standing(**rows[0], generated=facts["generated"], types=types)
    return table_of(facts, server.role), standing


async def _rows(connection: Connection, name: str, **values: object) -> list[dict[str, Any]]:
    cursor = await connection.execute(query(name), values or None)
    return await cursor.fetchall()


async def _row(connection: Connection, name: str, **values: object) -> dict[str, Any]:
    [row] = await _rows(connection, name, **values)
    return row
