"""The oracle's own line to PostgreSQL: a slot and a publication that carry the run's id.

The one rule: whatever is made here is dropped here. `close` does it; what a killed run leaves
behind is found by its name, `tidelab_<run id>`, and by the advisory lock that nobody holds then.

Methods block: from async code call them by `asyncio.to_thread`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString, Self

import psycopg
from psycopg import sql

from tidelab.core.history.position import Lsn, format_lsn, parse_lsn, without_header
from tidelab.core.history.run import check_run_id
from tidelab.core.history.truth import (
    Baseline,
    Column,
    Committed,
    Fenced,
    Row,
    Table,
    TableRows,
    Truth,
)
from tidelab.core.history.value import canonical
from tidelab.core.oracle.pgoutput import Decoder
from tidelab.errors import DatabaseError
from tidelab.limits import CONNECT_TIMEOUT_S, FENCE_POLL_S, FENCE_TIMEOUT_S, READ_CHANGES_MAX

if TYPE_CHECKING:
    from tidewire.embedded import EmbeddedPostgres

PREFIX = "tidelab_"
SETTINGS = " ".join(  # one writing for each value, and the one that protocols agree on
    f"-c {setting}"
    for setting in (
        "DateStyle=ISO",
        "TimeZone=UTC",
        "IntervalStyle=postgres",
        "extra_float_digits=1",
        "bytea_output=hex",
        "search_path=public",
    )
)
TABLE: LiteralString = """
SELECT a.attname, t.typname, c.relreplident,
       array_position(i.indkey::int2[], a.attnum)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     AND a.attgenerated = ''
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.oid = to_regclass(%s)
ORDER BY a.attnum
"""
# Held for as long as a run lives; whoever can take it knows that the run is over.
LOCK: LiteralString = "SELECT pg_try_advisory_lock(hashtext('tidelab'), hashtext(%s))"
UNLOCK: LiteralString = "SELECT pg_advisory_unlock(hashtext('tidelab'), hashtext(%s))"
CHANGES: LiteralString = """
SELECT data FROM pg_logical_slot_peek_binary_changes(
    %s, NULL, %s, 'proto_version', '1', 'publication_names', %s)
"""

ADVANCE: LiteralString = "SELECT pg_replication_slot_advance(%s, %s::pg_lsn)"


def embedded(settings: Mapping[str, str] = {}, *, binaries: Path | None = None) -> EmbeddedPostgres:
    """Return an embedded server, not yet started; it needs `tidelab[embedded]`."""
    from tidewire.embedded import EmbeddedPostgres

    return EmbeddedPostgres(settings=settings, binaries=binaries)


class TruthReader:
    """Read the truth of some tables: first a baseline, then every commit."""

    def __init__(self, url: str, run_id: str, tables: Sequence[str]) -> None:
        self.name = PREFIX + check_run_id(run_id)
        self._url = url
        self._names = tuple(tables)
        self._connection: psycopg.Connection | None = None
        self._decoder: Decoder | None = None
        self._seen = Lsn(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Baseline:
        """Make publication and slot, and return the state from which they continue.

        The tables are locked against writing for as long as reading them takes.

        Raises DatabaseError.
        """
        with told():
            connection = self.reconnect()
            tables = [_table(connection, name) for name in self._names]
            listed = sql.SQL(", ").join(map(_identifier, self._names))
            connection.execute(
                sql.SQL(
                    "CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)"
                ).format(sql.Identifier(self.name), listed)
            )
            create = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
            connection.execute(create, [self.name])
            self._decoder = Decoder({table.name: table for table in tables})
            return _baseline(connection, tables)

    def reconnect(self) -> psycopg.Connection:
        """Connect, or connect again after the database went away; slot and place are kept.

        Raises DatabaseError.
        """
        if self._connection is not None:
            self._connection.close()
        self._connection = connect(self._url)
        with told():
            self._connection.execute(LOCK, [self.name])
        return self._connection

    def read(self) -> list[Truth]:
        """Return the commits that are there, and how far that reaches.

        Raises DatabaseError, DecodeError.
        """
        connection = self._connected()
        found: list[Truth] = []
        with told():
            end = position(connection, "flush")
            has_more = True
            while has_more:
                commits, has_more = self._peek(connection)
                found += [commit for commit in commits if commit.lsn > self._seen]
                if commits:
                    self._seen = max(self._seen, commits[-1].lsn)
                    connection.execute(ADVANCE, [self.name, format_lsn(commits[-1].lsn)])
        return [*found, Fenced(end)]

    def position(self) -> Lsn:
        """Return the position above everything that has been committed before this call."""
        connection = self._connected()
        with told():
            return position(connection, "insert")

    def _connected(self) -> psycopg.Connection:
        assert self._connection is not None, "open() comes first"
        return self._connection

    def _peek(self, connection: psycopg.Connection) -> tuple[list[Committed], bool]:
        """Return the next commits without consuming them: an answer may be lost on its way."""
        assert self._decoder is not None, "open() comes first"
        arguments = [self.name, READ_CHANGES_MAX, self.name]
        messages = connection.execute(CHANGES, arguments, binary=True).fetchall()
        results = [self._decoder.receive(bytes(message)) for (message,) in messages]
        commits = [commit for commit in results if commit is not None]
        return commits, len(messages) >= READ_CHANGES_MAX

    def fence(self, lsn: Lsn, *, timeout_s: float = FENCE_TIMEOUT_S) -> list[Truth]:
        """Read until everything up to a position has been read; return what came.

        An asynchronous commit is flushed a moment after it is made: that is what is waited for.

        Raises DatabaseError if that takes too long.
        """
        deadline = time.monotonic() + timeout_s
        found: list[Truth] = []
        while True:
            found += self.read()
            last = found[-1]
            if isinstance(last, Fenced) and last.lsn >= lsn:
                return found
            if time.monotonic() > deadline:
                raise DatabaseError(f"the oracle did not get to its fence within {timeout_s:g} s")
            time.sleep(FENCE_POLL_S)

    def close(self) -> bool:
        """Drop slot and publication; False leaves them to the janitor: the database is gone."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        try:
            with told(), connect(self._url) as connection:
                drop(connection, self.name)
        except DatabaseError:
            return False
        return True


def connect(url: str) -> psycopg.Connection:
    """Connect as the oracle does: every statement by itself, values in their one writing.

    Raises DatabaseError.
    """
    with told():
        return psycopg.connect(
            url, autocommit=True, options=SETTINGS, connect_timeout=CONNECT_TIMEOUT_S
        )


@contextmanager
def told() -> Iterator[None]:
    """Turn what psycopg raises into an error of ours, in one line."""
    try:
        yield
    except psycopg.Error as error:
        raise DatabaseError(" ".join(str(error).split()) or type(error).__name__) from None


def position(connection: psycopg.Connection, kind: LiteralString) -> Lsn:
    """Ask for the `flush` or the `insert` position."""
    row = connection.execute(
        f"SELECT pg_current_wal_{kind}_lsn()::text, current_setting('wal_block_size')::bigint, "
        "pg_size_bytes(current_setting('wal_segment_size'))"
    ).fetchone()
    assert row is not None
    return without_header(parse_lsn(row[0]), page_bytes=row[1], segment_bytes=row[2])


def orphans(connection: psycopg.Connection) -> list[str]:
    """Name slots and publications of runs that are over: nobody holds their lock."""
    found = connection.execute(
        """
        SELECT slot_name::text FROM pg_replication_slots
        WHERE starts_with(slot_name, 'tidelab_') AND database = current_database()
        UNION SELECT pubname FROM pg_publication WHERE starts_with(pubname, 'tidelab_')
        ORDER BY 1
        """
    ).fetchall()
    return [name for (name,) in found if _is_orphan(connection, name)]


def drop(connection: psycopg.Connection, name: str) -> None:
    """Drop the slot and the publication of a run, as far as they are there."""
    connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
        [name],
    )
    connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name)))


def _is_orphan(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute(LOCK, [name]).fetchone()
    assert row is not None
    if row[0]:
        connection.execute(UNLOCK, [name])
    return bool(row[0])


def _identifier(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def _table(connection: psycopg.Connection, name: str) -> Table:
    """Read a table from the catalog; raises DatabaseError if it cannot be followed."""
    rows = connection.execute(TABLE, [_identifier(name).as_string()]).fetchall()
    if not rows:
        raise DatabaseError(f"there is no table {name!r}")
    if rows[0][2] not in ("d", "f"):
        raise DatabaseError(f"{name}: the replica identity must be DEFAULT or FULL")
    keyed = sorted((place, column) for column, _, _, place in rows if place is not None)
    if not keyed:
        raise DatabaseError(f"{name} has no primary key: the oracle could not tell its rows apart")
    columns = tuple(Column(column, type) for column, type, _, _ in rows)
    return Table(name, tuple(column for _, column in keyed), columns)


def _baseline(connection: psycopg.Connection, tables: Sequence[Table]) -> Baseline:
    """Read all tables at one position: while they are locked, nothing of them is under way."""
    with connection.transaction():
        for table in tables:
            name = _identifier(table.name)
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(name))
        lsn = position(connection, "insert")
        return Baseline(lsn, tuple(TableRows(t, _rows(connection, t)) for t in tables))


def _rows(connection: psycopg.Connection, table: Table) -> tuple[Row, ...]:
    """Read all rows as PostgreSQL prints their values: psycopg's own types would lose that."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    query = sql.SQL("SELECT {} FROM {}").format(columns, _identifier(table.name))
    result = connection.execute(query).pgresult
    assert result is not None
    return tuple(
        tuple(
            canonical(column.type, None if value is None else value.decode())
            for index, column in enumerate(table.columns)
            for value in [result.get_value(row, index)]
        )
        for row in range(result.ntuples)
    )
