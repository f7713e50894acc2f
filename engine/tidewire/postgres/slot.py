"""The replication slot and the publication of one deployment.

The publication lists tables, never all of them (that would break UPDATEs of the application on
tables without a key), and exists before the slot: the decoder reads the catalog as of the WAL. A
slot's name ends in a random token, so that a slot that was dropped and made again has another name,
and with it another epoch.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from dataclasses import dataclass

import psycopg
from psycopg import sql

from tidewire import limits
from tidewire.core.diagnosis.facts import Server
from tidewire.core.diagnosis.finding import Level
from tidewire.core.diagnosis.server import judge_server
from tidewire.core.model.lsn import Lsn, parse_lsn
from tidewire.errors import DatabaseRefused
from tidewire.postgres.database import Connection, Database, query, translate

_log = logging.getLogger("tidewire.slot")


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that is there, and the position that was last confirmed to it."""

    name: str
    confirmed: Lsn
    horizon: int = 0
    """Of a new slot: transactions before this one may have been committed before it began."""


def publication_name(deployment: str) -> str:
    """Name the publication of a deployment."""
    return f"tidewire_{deployment}"


def slot_pattern(deployment: str) -> str:
    """Describe the names of a deployment's slots, for PostgreSQL's operator ~."""
    return f"^tidewire_{re.escape(deployment)}_[0-9a-f]{{8}}$"


def epoch_of(system_id: str, timeline: str, slot: str) -> str:
    """Name the history that positions of this slot belong to."""
    return hashlib.sha256(f"{system_id}/{timeline}/{slot}".encode()).hexdigest()[:12]


async def check_server(database: Database) -> None:
    """Make sure that the server can serve us at all.

    Raises DatabaseRefused with one line that says what to change, DatabaseGone.
    """
    async with database.connection() as connection:
        cursor = await connection.execute(query("server"))
        facts = await cursor.fetchone()
    assert facts is not None, "everybody finds their own role"
    for finding in judge_server(Server(**facts)):
        if finding.level is Level.PROBLEM:
            raise DatabaseRefused(finding.sentence)


async def ensure_slot(database: Database, deployment: str) -> Slot:
    """Find the slot of this deployment, or make publication and slot.

    Raises DatabaseRefused, DatabaseGone.
    """
    async with database.connection() as connection:
        # Two nodes that start at once must not make two slots.
        await connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [_lock_key(deployment)])
        try:
            return await _ensure_locked(connection, deployment)
        finally:
            await _unlock(connection, deployment)


async def _ensure_locked(connection: Connection, deployment: str) -> Slot:
    has_publication = await _has_publication(connection, deployment)
    for found in await _slots(connection, deployment):
        if has_publication and not found["is_lost"]:
            return Slot(str(found["name"]), parse_lsn(str(found["confirmed"])))
        # A slot older than its publication cannot be decoded, and a lost one has no WAL any more.
        _log.warning("slot %s is of no use any more: a new history begins", found["name"])
        await drop_slot(connection, str(found["name"]))
    if not has_publication:
        name = sql.Identifier(publication_name(deployment))
        await connection.execute(
            sql.SQL("CREATE PUBLICATION {} WITH (publish_via_partition_root = true)").format(name)
        )
    return await _create_slot(connection, deployment)


async def _create_slot(connection: Connection, deployment: str) -> Slot:
    name = f"tidewire_{deployment}_{secrets.token_hex(4)}"
    _log.info("creating slot %s; this waits for open transactions to end", name)
    patience = f"{int(limits.OLDER_TRANSACTIONS_TIMEOUT_S * 1000)}"
    await connection.execute("SELECT set_config('statement_timeout', %s, false)", [patience])
    try:
        cursor = await connection.execute(
            "SELECT lsn FROM pg_create_logical_replication_slot(%s, 'pgoutput')", [name]
        )
    except psycopg.errors.QueryCanceled as error:
        raise DatabaseRefused(
            "a replication slot cannot be made while old transactions are open: "
            f"{await _oldest(connection)}; end it, then start again"
        ) from error
    finally:
        await connection.execute("RESET statement_timeout")
    row = await cursor.fetchone()
    assert row is not None
    cursor = await connection.execute(
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 AS next"
    )
    next_ = await cursor.fetchone()
    assert next_ is not None
    return Slot(name, parse_lsn(str(row["lsn"])), horizon=next_["next"])


async def _oldest(connection: Connection) -> str:
    cursor = await connection.execute(query("older"), {"xid": "3"})
    row = await cursor.fetchone()
    return str(row["oldest"]) if row and row["oldest"] else "none is visible to this role"


async def drop_slot(connection: Connection, name: str) -> None:
    """Drop one slot of ours.

    Raises psycopg.Error when somebody uses it.
    """
    await connection.execute("SELECT pg_drop_replication_slot(%s)", [name])


async def discard_slot(database: Database, name: str) -> None:
    """Drop a slot whose history does not continue ours."""
    async with database.connection() as connection:
        await drop_slot(connection, name)


async def teardown(database: Database, deployment: str) -> list[str]:
    """Drop slot and publication of a deployment; return what was dropped.

    Raises DatabaseRefused when a node still uses the slot.
    """
    dropped = []
    async with database.connection() as connection:
        for found in await _slots(connection, deployment):
            if found["active_pid"]:
                raise DatabaseRefused(
                    f"slot {found['name']} is in use by pid {found['active_pid']}: "
                    "stop the server first"
                )
            await drop_slot(connection, str(found["name"]))
            dropped.append(f"slot {found['name']}")
        if await _has_publication(connection, deployment):
            name = publication_name(deployment)
            await connection.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(name)))
            dropped.append(f"publication {name}")
    return dropped


async def is_synchronous_standby(database: Database, pid: int) -> bool:
    """Tell whether commits of the application wait for our walsender."""
    async with database.connection() as connection:
        cursor = await connection.execute(query("standby"), {"pid": pid})
        row = await cursor.fetchone()
    return bool(row and row["waits"])


async def _slots(connection: Connection, deployment: str) -> list[dict[str, object]]:
    cursor = await connection.execute(query("slot"), {"pattern": slot_pattern(deployment)})
    return [row for row in await cursor.fetchall() if row["is_here"]]


async def _has_publication(connection: Connection, deployment: str) -> bool:
    cursor = await connection.execute(
        "SELECT 1 FROM pg_publication WHERE pubname = %s", [publication_name(deployment)]
    )
    return await cursor.fetchone() is not None


def _lock_key(deployment: str) -> str:
    return f"tidewire slot {deployment}"


async def _unlock(connection: Connection, deployment: str) -> None:
    if not connection.closed:
        try:
            await connection.execute(
                "SELECT pg_advisory_unlock(hashtext(%s))", [_lock_key(deployment)]
            )
        except psycopg.Error as error:
            # The lock goes with the connection; what went wrong before is what matters.
            _log.debug("unlocking failed: %s", translate(error))
