"""The replication slot of one deployment.

Its publication exists before it: the decoder reads the catalog as of the WAL. A slot's name ends in
a random token, so that a slot that was dropped and made again has another name, and with it another
epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
from dataclasses import dataclass

import psycopg

from tidewire import limits
from tidewire.core.diagnosis.facts import Server
from tidewire.core.diagnosis.finding import Level
from tidewire.core.diagnosis.server import judge_server
from tidewire.core.model.lsn import Lsn, parse_lsn
from tidewire.errors import DatabaseRefused
from tidewire.postgres.database import Connection, Database, query, translate
from tidewire.postgres.publication import (
    Notes,
    create_publication,
    drop_publication,
    has_publication,
    publication_name,
    read_notes,
)

_log = logging.getLogger("tidewire.slot")
_BOOKMARK = "_wake"


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that is there, and the position that was last confirmed to it."""

    name: str
    confirmed: Lsn
    notes: Notes
    """What an earlier process has written down for it."""
    horizon: int = 0
    """Of a new slot: transactions before this one may have been committed before it began."""


def slot_pattern(deployment: str) -> str:
    """Describe the names of a deployment's slots and bookmarks, for PostgreSQL's operator ~."""
    return f"^tidewire_{re.escape(deployment)}_[0-9a-f]{{8}}({_BOOKMARK})?$"


def bookmark_of(slot: str) -> str:
    """Name the bookmark of a slot."""
    return slot + _BOOKMARK


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
    publication = publication_name(deployment)
    is_published = await has_publication(connection, publication)
    slots = await _slots(connection, deployment)
    for found in slots:
        name = str(found["name"])
        if name.endswith(_BOOKMARK):
            continue
        if is_published and not found["is_lost"]:
            notes = await read_notes(connection, publication, name)
            return Slot(name, parse_lsn(str(found["confirmed"])), notes)
        # A slot older than its publication cannot be decoded, and a lost one has no WAL any more.
        _log.warning("slot %s is of no use any more: a new history begins", name)
        await drop_slot(connection, name)
    for found in slots:
        if str(found["name"]).endswith(_BOOKMARK):
            await drop_slot(connection, str(found["name"]))  # in a history that has ended
    if not is_published:
        await create_publication(connection, publication)
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
    return Slot(name, parse_lsn(str(row["lsn"])), Notes(name), horizon=next_["next"])


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
    """Drop a slot whose history does not continue ours, and its bookmark.

    Raises DatabaseGone, DatabaseRefused when somebody uses them.
    """
    async with database.connection() as connection:
        # The slot last: while it is there, whoever measures it or finds it tries again.
        with contextlib.suppress(psycopg.errors.UndefinedObject):
            await _drop_patiently(connection, bookmark_of(name))
        await _drop_patiently(connection, name)


async def _drop_patiently(connection: Connection, name: str) -> None:
    for wait_s in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6):
        with contextlib.suppress(psycopg.errors.ObjectInUse):
            return await drop_slot(connection, name)
        await asyncio.sleep(wait_s)  # our own walsender has not noticed yet that we are gone
    return await drop_slot(connection, name)


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
        publication = publication_name(deployment)
        if await has_publication(connection, publication):
            await drop_publication(connection, publication)
            dropped.append(f"publication {publication}")
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
