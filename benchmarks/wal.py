"""How many rows a second go from the WAL to ready frames, against `pg_recvlogical -f /dev/null`?

Both read the same WAL of an embedded PostgreSQL: one table of ten columns, ten rows in each
transaction. Each round reads through a fresh copy of one slot that was made before the load, so
the position that a reader confirms spoils nothing.

What is timed, on both sides: from the moment in which START_REPLICATION is answered (CopyBoth) to
the moment in which the last commit is done with. So both include what the walsender needs to get
to its first message. For `pg_recvlogical` the first moment is its line "streaming initiated", the
last one its exit (`--endpos`); for us the last one is the return of `EncodedCommit.frame` for the
last commit: received, assembled, matched to one shape of the whole table, encoded to JSON and
framed. There is no socket, and no session.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
from psycopg.rows import TupleRow

from benchmarks.measure import conclude, has_uvloop, options, rate, run, take_turns, tell
from tidewire.core.encoder import Encoder
from tidewire.core.model.lsn import LSN_ZERO, Lsn, format_lsn
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.core.wal.assembler import Assembler
from tidewire.embedded import EmbeddedPostgres
from tidewire.postgres.binaries import find_binaries
from tidewire.postgres.replication import Replication
from tidewire.spool.file import FileSpool

PUBLICATION = "bench"
PRISTINE, COPY = "bench_pristine", "bench_copy"
ROWS, ROWS_PER_COMMIT = 300_000, 10
COLUMNS = (
    ("id", "bigint"),
    ("customer", "text"),
    ("quantity", "int"),
    ("placed_at", "timestamptz"),
    ("is_paid", "bool"),
    ("price", "numeric"),
    ("address", "text"),
    ("account", "bigint"),
    ("status", "text"),
    ("revision", "int"),
)
# pg_type's names, as `subscribed.columns` tells them to clients.
TYPE_NAMES = {"bigint": "int8", "int": "int4"}
LOAD = """
CREATE PROCEDURE load(first int, commits int, rows_each int) LANGUAGE plpgsql AS $$
BEGIN
    FOR c IN first .. first + commits - 1 LOOP
        INSERT INTO orders
        SELECT n, 'customer ' || n % 977, n % 50, timestamptz '2026-01-01 00:00Z' + n * interval
               '1 second', n % 3 = 0, (n % 10000) / 100.0, n || ' Harbour Road, North Pier',
               7000000000 + n, 'shipped', n % 9
        FROM generate_series(c * rows_each, (c + 1) * rows_each - 1) AS n;
        COMMIT;
    END LOOP;
END $$
"""


@dataclass(frozen=True, slots=True)
class Load:
    """The WAL that all rounds read."""

    url: str
    table: int
    rows: int


def main() -> None:
    parser = options(__doc__, seconds=0, repeat=5)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows in the WAL (no --seconds)")
    arguments = parser.parse_args()
    with EmbeddedPostgres(settings={"max_wal_size": "4GB"}) as server:
        load = prepare(server.url, arguments.rows)
        run(lambda: ours(load))  # warms the file system's cache
        end = run(lambda: last_commit(load))
        subjects, baselines = take_turns(
            arguments.repeat,
            "wal",
            functools.partial(our_rate, load),
            functools.partial(recvlogical_rate, load, end),
        )
    figure = rate("wal", "rows/s", subjects, baselines, ">= 1.0")
    figure.extra.update(rows=load.rows, rows_per_commit=ROWS_PER_COMMIT, uvloop=has_uvloop())
    conclude([figure])


def prepare(url: str, rows: int) -> Load:
    """Make table, publication and slot, in this order, and then the WAL."""
    commits = rows // ROWS_PER_COMMIT
    tell(f"wal: writing {commits} transactions of {ROWS_PER_COMMIT} rows")
    with psycopg.connect(url, autocommit=True) as connection:
        create_orders(connection)
        connection.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE orders")
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [PRISTINE])
        connection.execute("SET synchronous_commit = off")
        connection.execute("CALL load(0, %s, %s)", [commits, ROWS_PER_COMMIT])
        # Asynchronous commits reach the disk a moment later, and only then the walsender.
        connection.execute("CHECKPOINT")
        found = connection.execute("SELECT 'orders'::regclass::oid::int8").fetchone()
    assert found is not None
    return Load(url, int(found[0]), commits * ROWS_PER_COMMIT)


def create_orders(connection: psycopg.Connection[TupleRow]) -> None:
    """Make the table and the procedure that fills it."""
    columns = ", ".join(f"{name} {type_name}" for name, type_name in COLUMNS)
    connection.execute(f"CREATE TABLE orders ({columns}, PRIMARY KEY (id))".encode())
    connection.execute(LOAD)


@contextmanager
def fresh_slot(url: str, slot: str = PRISTINE) -> Iterator[str]:
    """Copy a slot for one reading: what is confirmed then spoils nothing."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", [slot, COPY])
        yield COPY
        connection.execute(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
            " WHERE slot_name = %s AND active",
            [COPY],
        )
        connection.execute("SELECT pg_drop_replication_slot(%s)", [COPY])


# --- ours ---


def our_rate(load: Load) -> float:
    return load.rows / run(lambda: ours(load))


async def ours(load: Load) -> float:
    """Read, assemble, match, encode and frame all rows; return the seconds."""
    spool, index = FileSpool(), ShapeIndex()
    shape = index.acquire(spec_of(load.table))
    assembler, encoder, shapes = Assembler(spool), Encoder(index, spool), frozenset({shape.id})
    rows = framed = 0
    with fresh_slot(load.url) as slot:
        async with Replication(load.url) as replication:
            await replication.start(slot, PUBLICATION, LSN_ZERO)
            begun = time.perf_counter()
            while rows < load.rows:
                batch = await replication.read()
                for transaction in assembler.feed(batch.messages):
                    frame = encoder.encode(transaction).frame(shapes)
                    assert frame is not None, "the only shape covers the only table"
                    framed += len(frame)
                    rows += transaction.rows
            seconds = time.perf_counter() - begun
    assert framed > rows * 100, "every row left its JSON in a frame"
    return seconds


def spec_of(table: int) -> ShapeSpec:
    """Describe the whole table, as the catalog would."""
    return ShapeSpec(
        relation_oid=table,
        schema="public",
        table="orders",
        columns=tuple(ShapeColumn(name, TYPE_NAMES.get(kind, kind)) for name, kind in COLUMNS),
        key=("id",),
    )


# --- pg_recvlogical ---


async def last_commit(load: Load) -> Lsn:
    """Find where the last commit ends: its message carries this position."""
    assembler, rows, end = Assembler(FileSpool()), 0, LSN_ZERO
    with fresh_slot(load.url) as slot:
        async with Replication(load.url) as replication:
            await replication.start(slot, PUBLICATION, LSN_ZERO)
            while rows < load.rows:
                batch = await replication.read()
                for transaction in assembler.feed(batch.messages):
                    rows += transaction.rows
                    end = transaction.lsn
    return end


def recvlogical_rate(load: Load, end: Lsn) -> float:
    return load.rows / recvlogical_seconds(load.url, PRISTINE, PUBLICATION, end)


def recvlogical_seconds(url: str, slot: str, publication: str, end: Lsn) -> float:
    """Let pg_recvlogical read all that a slot has, up to a position; the slot stays as it is."""
    program = find_binaries().directory / "pg_recvlogical"
    command = [str(program), "--start", "-v", "-f", "/dev/null", "-d", url, "--slot", COPY]
    command += ["-o", "proto_version=1", "-o", f"publication_names={publication}"]
    command += ["--endpos", format_lsn(end), "--no-loop"]
    with fresh_slot(url, slot):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        begun = next(
            (time.perf_counter() for line in process.stderr if "streaming initiated" in line), 0.0
        )
        words = process.stderr.read()
        code, seconds = process.wait(), time.perf_counter() - begun
        process.stderr.close()
    if code or not begun:
        raise RuntimeError(f"pg_recvlogical ended with {code}: {words}")
    return seconds


if __name__ == "__main__":
    main()
