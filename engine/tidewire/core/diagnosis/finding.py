"""A finding: what was found of one matter, and what to do about it.

A remedy is a script for psql: statements, and comments for what no statement can do. So it can be
pasted as it stands. The list of matters is closed, and its ids are for machines: they stay.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Level(enum.StrEnum):
    """How bad it is: a problem keeps something from working, a warning may do so one day."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


MATTERS: dict[str, str] = {
    "version": "The server is PostgreSQL 14 or newer; versions that the tests run on are told.",
    "wal_level": "Only with `logical` does the write-ahead log carry what is needed to read rows.",
    "role_replication": "The role may open replication connections.",
    "database_create": "The role may make the publication.",
    "standby": "The server is a primary: a standby can have no publication made.",
    "encoding": "Texts have a known encoding: SQL_ASCII promises nothing about them.",
    "pooler": "Nothing that shares connections (PgBouncer) stands between Tidewire and PostgreSQL.",
    "replication": "A replication connection can be opened.",
    "wal_sender_timeout": "Our own timeout is in force in it: so a server that froze loses the "
    "slot after seconds.",
    "slots": "There is a replication slot for this deployment, or room for one.",
    "walsenders": "There is room for the replication connection.",
    "connections": "There is room for the ordinary connections: one, and one for each table that "
    "is copied at the same time.",
    "slot_wal": "The write-ahead log that a slot may keep has a bound. It is the only thing that "
    "protects the disk while the server is down.",
    "slot_idle": "A slot that nobody uses for a while is not given up (PostgreSQL 18): a "
    "deployment that is stopped over a weekend would start over.",
    "synchronous_standbys": "No COMMIT of the application waits for Tidewire as if it were a "
    "standby.",
    "failover": "What standbys mean for clients: after a failover they copy their rows again.",
    "sessions_seen": "The role is told what other sessions do, so that a transaction that holds "
    "everything up can be named.",
    "publication": "The publication is ours, and whole: all kinds of changes of tables that are "
    "listed one by one.",
    "slot": "Each slot of Tidewire or tidelab is in use: one that nobody reads keeps write-ahead "
    "log until the disk is full.",
    "transaction": "No transaction that has written is open for long: it keeps a slot from being "
    "made, a table from being published, and write-ahead log from being removed.",
    "prepared": "No prepared transaction was forgotten: it does the same, and outlives restarts.",
    "table_missing": "Each table of the settings exists.",
    "table": "The table can be followed: a table, with a key, logged, and whole.",
    "table_rights": "The role may read the table.",
    "table_owner": "The role may publish the table.",
    "table_publication": "All rows and columns of the table are published.",
    "table_partitions": "The log tells as much of old rows in partitions as in the whole.",
    "table_conditions": "The columns that clients may have conditions on.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one matter, and of one subject where there are several."""

    id: str
    level: Level
    text: str
    remedy: tuple[str, ...] = ()
    subject: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        assert self.id in MATTERS, self.id
        assert self.remedy or self.level is Level.OK, "who finds fault says what to do"

    @property
    def sentence(self) -> str:
        """The finding in one line, remedy included."""
        steps = [line.removeprefix("-- ").removesuffix(";") for line in self.remedy]
        return ": ".join([self.text, "; ".join(steps)] if steps else [self.text])


def ok(id: str, text: str, *remedy: str, subject: str | None = None) -> Finding:
    """Say that a matter is well; a remedy says how to have more of it."""
    return Finding(id, Level.OK, text, remedy, subject=subject)


def warning(id: str, text: str, *remedy: str, subject: str | None = None) -> Finding:
    """Say that a matter may become a problem."""
    return Finding(id, Level.WARNING, text, remedy, subject=subject)


def problem(id: str, text: str, *remedy: str, subject: str | None = None) -> Finding:
    """Say that something does not work, or will not."""
    return Finding(id, Level.PROBLEM, text, remedy, subject=subject)


def note(text: str) -> str:
    """Make a line of a remedy that PostgreSQL skips, whatever names stand in it."""
    return f"-- {''.join(c if c.isprintable() else '?' for c in text)}"


def literal(text: str) -> str:
    """Write a text as PostgreSQL reads it, with standard_conforming_strings (the default)."""
    return "'" + text.replace("'", "''") + "'"
