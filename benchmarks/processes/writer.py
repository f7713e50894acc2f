"""One application that commits at a steady pace: `writer URL`.

stdin: "TABLE_PREFIX TABLES PER_S SECONDS"; commit `n` inserts one row into table `n % TABLES`.
stdout: a JSON list of [n, nanoseconds before COMMIT was sent, nanoseconds after it returned].
"""

from __future__ import annotations

import gc
import json
import sys
import time

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

PADDING = "x" * 60


def main() -> None:
    gc.disable()
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        number = 0
        for line in sys.stdin:
            prefix, tables, per_s, seconds = line.split()
            count = round(float(per_s) * float(seconds))
            table_names = [f"{prefix}_{i}" for i in range(int(tables))]
            found = write(connection.pgconn, table_names, 1 / float(per_s), number, count)
            number += count
            print(json.dumps(found), flush=True)


def write(
    connection: PGconn, tables: list[str], step_s: float, first: int, count: int
) -> list[tuple[int, int, int]]:
    """Commit at absolute times, or at once when we are late."""
    stamps = []
    begun = time.monotonic()
    for i in range(count):
        wait_s = begun + i * step_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        number = first + i
        table = tables[number % len(tables)]
        execute(connection, f"BEGIN; INSERT INTO {table} VALUES ({number}, '{PADDING}')".encode())
        before = time.monotonic_ns()
        execute(connection, b"COMMIT")
        stamps.append((number, before, time.monotonic_ns()))
    return stamps


def execute(connection: PGconn, statement: bytes) -> None:
    result = connection.exec_(statement)
    if result.status != ExecStatus.COMMAND_OK:
        raise RuntimeError(connection.get_error_message())


if __name__ == "__main__":
    main()
