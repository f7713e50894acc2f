"""All that the doctor looks at. The list is closed, and its ids are for machines: they stay."""

from __future__ import annotations

from typing import NamedTuple


class Matter(NamedTuple):
    """One thing that is looked at: what is right, and what helps where it is not."""

    right: str
    remedy: str


MATTERS: dict[str, Matter] = {
    "version": Matter(
        "The server is PostgreSQL 14 or newer, and not newer than those that the tests run on.",
        "Upgrade the server, or Tidewire.",
    ),
    "wal_level": Matter(
        "The write-ahead log carries what is needed to read rows.",
        "`ALTER SYSTEM SET wal_level = logical`, restart",
    ),
    "role_replication": Matter(
        "The role may open replication connections.", "`ALTER ROLE ... REPLICATION`"
    ),
    "database_create": Matter(
        "The role may make the publication.", "`GRANT CREATE ON DATABASE ... TO ...`"
    ),
    "standby": Matter(
        "The server is a primary: on a standby no publication can be made.",
        "Connect to the primary.",
    ),
    "encoding": Matter(
        "Texts have a known encoding: SQL_ASCII promises nothing about them.",
        "Move to a database with `ENCODING 'UTF8'`.",
    ),
    "pooler": Matter(
        "Nothing that shares connections (PgBouncer) stands between Tidewire and PostgreSQL. It is "
        "known by the process ids that it makes up.",
        "Name PostgreSQL's own host and port in the database URL.",
    ),
    "replication": Matter(
        "A replication connection can be opened.",
        "The right that is missing, room for it, or the line that pg_hba.conf must have.",
    ),
    "wal_sender_timeout": Matter(
        "Our own timeout is in force in it, so that a server that froze loses the slot in seconds.",
        "Name PostgreSQL's own host and port in the database URL.",
    ),
    "slots": Matter(
        "There is a replication slot for this deployment, or room for one.",
        "`ALTER SYSTEM SET max_replication_slots = ...`, restart",
    ),
    "walsenders": Matter(
        "There is room for the replication connection.",
        "`ALTER SYSTEM SET max_wal_senders = ...`, restart",
    ),
    "connections": Matter(
        "There is room for the ordinary connections: one, and one for each table that is copied at "
        "the same time.",
        "`ALTER SYSTEM SET max_connections = ...`, restart",
    ),
    "slot_wal": Matter(
        "The write-ahead log that a slot may keep has a bound, and one that is not too small. It "
        "is the only thing that protects the disk while the server is down.",
        "`ALTER SYSTEM SET max_slot_wal_keep_size = ...`",
    ),
    "slot_idle": Matter(
        "A slot may be idle for days (PostgreSQL 18): a deployment that is stopped over a weekend "
        "would start over.",
        "`ALTER SYSTEM SET idle_replication_slot_timeout = ...`",
    ),
    "slot_moves": Matter(
        "The role may ask for the snapshots that a slot moves over (PostgreSQL 16 and newer). The "
        "server writes one every 15 s, in which much log can be written.",
        "`GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO ...`, in this database",
    ),
    "synchronous_standbys": Matter(
        "No COMMIT of the application waits for Tidewire as if it were a standby.",
        "`ALTER SYSTEM SET synchronous_standby_names = ...`, with the names of the standbys",
    ),
    "failover": Matter(
        "Told where there are standbys: after a failover clients copy their rows again.", "none"
    ),
    "sessions_seen": Matter(
        "The role is told what other sessions do, so that a transaction that holds everything up "
        "can be named.",
        "`GRANT pg_read_all_stats TO ...`",
    ),
    "publication": Matter(
        "The publication is ours, and whole: all kinds of changes, of tables that are listed one "
        "by one.",
        "`ALTER PUBLICATION ...`",
    ),
    "slot": Matter(
        "Each slot of Tidewire or tidelab is in use, and within its bound: one that nobody reads "
        "keeps write-ahead log until the disk is full.",
        "`SELECT pg_drop_replication_slot(...)`, or start the server",
    ),
    "transaction": Matter(
        "No transaction that has written is open for long: it keeps a slot from being made, a "
        "table from being published, and write-ahead log from being removed.",
        "`SELECT pg_terminate_backend(...)`",
    ),
    "prepared": Matter(
        "No prepared transaction was forgotten: it does the same, and outlives restarts.",
        "`COMMIT PREPARED ...` or `ROLLBACK PREPARED ...`",
    ),
    "table_missing": Matter("Each table of the settings exists.", "Make it, or correct its name."),
    "table": Matter(
        "The table can be followed: it is a table and no partition, logged, with a key, and "
        "without policies that hide rows from the role.",
        "`ALTER TABLE ...` (`SET LOGGED`, `ADD PRIMARY KEY`, `REPLICA IDENTITY`), "
        "`ALTER ROLE ... BYPASSRLS`",
    ),
    "table_rights": Matter("The role may read the table.", "`GRANT SELECT`, `GRANT USAGE`"),
    "table_owner": Matter(
        "The role may publish the table, or somebody has.",
        "`GRANT` of the owner's role; for tables of a superuser `ALTER TABLE ... OWNER TO`",
    ),
    "table_publication": Matter(
        "All rows and columns of the table are published.",
        "`ALTER PUBLICATION ... DROP TABLE`, and `ADD TABLE` in the same transaction",
    ),
    "table_partitions": Matter(
        "The log tells as much of old rows in partitions as in the whole: partitions do not "
        "inherit its replica identity.",
        "`ALTER TABLE ... REPLICA IDENTITY` for each partition",
    ),
    "table_conditions": Matter(
        "Told for each table: the columns that clients may have conditions on.",
        "`ALTER TABLE ... REPLICA IDENTITY FULL` allows those outside the key.",
    ),
}
