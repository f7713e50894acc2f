"""Read the rows of a table as one snapshot of the database sees them.

::

    BEGIN; LOCK TABLE ... IN ACCESS SHARE MODE;      first: a snapshot that is older than a rewrite
    SELECT pg_current_snapshot(), position;          of the table reads it as empty
    COPY (SELECT json_build_array(...)) TO STDOUT    PostgreSQL itself writes the JSON

The rows come at the database's speed and go to the spool: no client can hold the transaction open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
from psycopg import pq, sql
from psycopg.rows import dict_row

from tidewire import limits
from tidewire.core.model.lsn import LSN_ZERO, lower_past_header, parse_lsn
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.core.stream.splice import Snapshot
from tidewire.errors import DatabaseGone, SyncError
from tidewire.postgres.condition import condition_sql
from tidewire.postgres.database import Connection, connection_string, query, translate

# Binary COPY: a signature and flags before the first row, an end mark like a row behind the last;
# a row of one column is a count, a length and the text.
_HEADER_BYTES = 19
_ROW_PREFIX_BYTES = 6
# A function takes no more arguments than this.
_ARGUMENTS = 100


class TableSnapshot:
    """One snapshot of one shape's table; `open` makes it, `close` ends it."""

    def __init__(self, connection: Connection, spec: ShapeSpec) -> None:
        self._connection = connection
        self._spec = spec
        self.snapshot = Snapshot(0, 0)
        """Which transactions it sees."""
        self.until = LSN_ZERO
        """Where the write-ahead log ended just behind it."""

    @classmethod
    async def open(cls, url: str, spec: ShapeSpec) -> TableSnapshot:
        """Connect, lock the table and take the snapshot.

        Raises SyncError with code `schema_changed` when the table is not what the shape says any
        more, DatabaseGone or DatabaseRefused when the database cannot serve.
        """
        settings = {
            "lock_timeout": f"{int(limits.QUERY_TIMEOUT_S * 1000)}",
            "statement_timeout": f"{int(limits.COPY_S * 1000)}",
            "row_security": "off",
        }
        conninfo = connection_string(url, {"fallback_application_name": "tidewire copy"}, settings)
        try:
            connection = await psycopg.AsyncConnection.connect(
                conninfo, autocommit=True, row_factory=dict_row
            )
        except psycopg.Error as error:
            raise translate(error) from error
        found = cls(connection, spec)
        try:
            await found._take(connection)
        except BaseException as error:
            await connection.close()
            if isinstance(error, psycopg.errors.UndefinedTable):
                raise SyncError("schema_changed", "the table is not there any more") from error
            if isinstance(error, psycopg.Error):
                raise translate(error) from error
            raise
        return found

    async def close(self) -> None:
        """End the transaction with its connection."""
        await self._connection.close()

    async def _take(self, connection: Connection) -> None:
        table = sql.Identifier(self._spec.schema, self._spec.table)
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table))
        cursor = await connection.execute(
            query("snapshot"), {"schema": self._spec.schema, "name": self._spec.table}
        )
        row = await cursor.fetchone()
        if row is None or row["oid"] != self._spec.relation_oid:
            raise SyncError("schema_changed", "another table has this name now")
        types = row["columns"]
        if any(each.type_oid not in (0, types.get(each.name)) for each in self._spec.columns):
            raise SyncError("schema_changed", "the table has other columns now")
        if row["is_standby"]:
            raise DatabaseGone("the connection leads to a standby")
        self.snapshot = Snapshot.parse(row["snapshot"])
        self.until = lower_past_header(parse_lsn(row["lsn"]), int(row["segment_bytes"]))

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the rows, as JSON arrays with commas between, about a chunk at a time.

        Raises what `open` raises.
        """
        statement = _copy_statement(self._spec).as_bytes(self._connection)
        stream = _CopyStream(self._connection.pgconn)
        try:
            await stream.start(statement)
            while rows := await stream.read():
                yield b",".join(rows)
            # Reading has left hints in the log: only behind a commit does the server flush them.
            await self._connection.execute("COMMIT")
        except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction) as error:
            raise SyncError("schema_changed", "the table has other columns now") from error
        except psycopg.Error as error:
            raise translate(error) from error


class _CopyStream:
    """COPY TO STDOUT of one column in binary form, without a coroutine per row."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self._pg = pgconn
        self._skip = _HEADER_BYTES
        self._is_over = False

    async def start(self, statement: bytes) -> None:
        self._pg.send_query(statement)
        while self._pg.flush():
            await _ready(self._pg.socket, for_writing=True)
        await self._expect(pq.ExecStatus.COPY_OUT)

    async def read(self) -> list[bytes]:
        """Return rows, about as many as fit a chunk; none when there are no more."""
        rows: list[bytes] = []
        size = 0
        get_copy_data = self._pg.get_copy_data
        while size < limits.CHUNK_BYTES and not self._is_over:
            length, data = get_copy_data(1)
            if length > 0:
                row = bytes(data[self._skip + _ROW_PREFIX_BYTES :])
                self._skip = 0
                if row:  # the end mark comes like a row, and has nothing
                    size += len(row) + 1
                    rows.append(row)
            elif length == 0:
                await _ready(self._pg.socket)
                self._pg.consume_input()
            else:
                await self._expect(pq.ExecStatus.COMMAND_OK)
                while self._pg.get_result() is not None:
                    pass  # nothing follows, and libpq wants to have said so
                self._is_over = True
        return rows

    async def _expect(self, status: pq.ExecStatus) -> None:
        while self._pg.is_busy():
            await _ready(self._pg.socket)
            self._pg.consume_input()
        result = self._pg.get_result()
        if result is None or result.status != status:
            raise (
                psycopg.OperationalError("the connection was closed")
                if result is None
                else psycopg.errors.error_from_result(result)
            )


async def _ready(descriptor: int, *, for_writing: bool = False) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add, remove = (
        (loop.add_writer, loop.remove_writer)
        if for_writing
        else (loop.add_reader, loop.remove_reader)
    )
    add(descriptor, wake)
    try:
        await ready
    finally:
        remove(descriptor)


def _copy_statement(spec: ShapeSpec) -> sql.Composed:
    only = sql.SQL("") if spec.is_partitioned else sql.SQL("ONLY ")
    where = sql.Composed([])
    if spec.where is not None:
        where = sql.SQL(" WHERE {}").format(condition_sql(spec.where))
    return sql.SQL("COPY (SELECT {} FROM {}{}{}) TO STDOUT (FORMAT binary)").format(
        _row_as_json(spec.columns), only, sql.Identifier(spec.schema, spec.table), where
    )


def _row_as_json(columns: tuple[ShapeColumn, ...]) -> sql.Composed:
    """Let PostgreSQL write `[value, ...]`, in as many calls as its bound on arguments needs."""
    pieces = [columns[i : i + _ARGUMENTS] for i in range(0, len(columns), _ARGUMENTS)]
    arrays = [
        sql.SQL("json_build_array({})::text").format(sql.SQL(", ").join(map(_value, piece)))
        for piece in pieces
    ]
    if len(arrays) == 1:
        return arrays[0]
    inner = [sql.SQL("substr({0}, 2, length({0}) - 2)").format(array) for array in arrays]
    return sql.SQL("'[' || {} || ']'").format(sql.SQL(" || ', ' || ").join(inner))


def _value(column: ShapeColumn) -> sql.Composable:
    name = sql.Identifier(column.name)
    return sql.SQL("{}::text").format(name) if column.as_text else name
