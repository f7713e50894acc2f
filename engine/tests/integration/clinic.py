"""A test kit for the doctor: databases with real faults, and remedies that are really followed.

Method: a remedy is done to the letter. Its statements are executed by a superuser; of its comments
only the one that asks for a restart is understood.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import psycopg

from engine.tests.integration.conftest import binaries_of
from tidewire.core.diagnosis.finding import Finding, Level
from tidewire.embedded import EmbeddedPostgres
from tidewire.postgres.examination import examine

RESTART = "-- then restart PostgreSQL"
Trouble = dict[str, Finding]
# Given on the command line these would beat ALTER SYSTEM, which a remedy uses.
_IN_THE_FILE = ("wal_level", "max_wal_senders", "max_replication_slots")


@contextlib.contextmanager
def fresh_server(version: str, **settings: str) -> Iterator[EmbeddedPostgres]:
    """Start a server whose settings stand in its file, where ALTER SYSTEM can change them."""
    server = EmbeddedPostgres(binaries=binaries_of(version))
    server._settings = {k: v for k, v in server._settings.items() if k not in _IN_THE_FILE}
    with server:
        execute(server.url, *(f"ALTER SYSTEM SET {k} = {v}" for k, v in settings.items()))
        server.restart()
        yield server


def execute(url: str, *statements: str) -> None:
    """Execute statements, each by itself."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def follow(url: str, *findings: Finding) -> bool:
    """Do what remedies say; True when one of them wants a restart."""
    lines = [line for each in findings for line in each.remedy]
    execute(url, *(line for line in lines if not line.startswith("--")))
    return RESTART in lines


async def trouble(
    url: str, *tables: str, deployment: str = "default", is_all: bool = False
) -> Trouble:
    """Examine a database; return what is not well, by the ids of the matters."""
    findings = await examine(url, deployment, tables, is_all=is_all)
    wrong = [each for each in findings if each.level is not Level.OK]
    found = {each.id: each for each in wrong}
    assert len(found) == len(wrong), wrong
    return found


async def trouble_when(
    url: str, is_so: Callable[[Trouble], bool], *tables: str, timeout_s: float = 20.0
) -> Trouble:
    """Examine a database until something holds: a reload of settings takes a moment."""
    async with asyncio.timeout(timeout_s):
        while not is_so(found := await trouble(url, *tables)):
            await asyncio.sleep(0.02)  # why: the poll of a condition, under a deadline
    return found


async def cure(
    url: str, id: str, *tables: str, as_role: str | None = None, level: Level = Level.PROBLEM
) -> Finding:
    """See a fault, follow its remedy as a superuser, and see that it is gone."""
    examined = as_role or url
    found = (await trouble_when(examined, lambda found: id in found, *tables))[id]
    assert found.level is level, found
    assert not follow(url, found), "this one restarts nothing"
    await trouble_when(examined, lambda now: not _says_again(now.get(id), found), *tables)
    return found


def _says_again(now: Finding | None, before: Finding) -> bool:
    # A second fault of the same matter may stand behind the first one, and times go on.
    return now is not None and now.remedy == before.remedy
