"""One application that commits at a steady pace: `writer URL`.

stdin: "TABLE_PREFIX TABLES PER_S SECONDS [TENANTS]"; commit `n` inserts one row into table
`n % TABLES`, and with TENANTS its third column is a tenant below that.
stdout: a JSON list of [n, nanoseconds before COMMIT was sent, nanoseconds after it returned].
"""

from __future__ import annotations

import functools
import gc
import json
import sys
import time
from collections.abc import Callable

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

PADDING = "x" * 60
STRIDE = 7919  # a prime: neighbours in time are no neighbours as tenants


def main() -> None:
    gc.disable()
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        number = 0
        for line in sys.stdin:
            prefix, tables, per_s, seconds, *tenants = line.split()
            count = round(float(per_s) * float(seconds))
            table_names = [f"{prefix}_{i}" for i in range(int(tables))]
            rows = functools.partial(row_of, int(tenants[0]) if tenants else 0)
            found = write(connection.pgconn, table_names, rows, 1 / float(per_s), number, count)
            number += count
            print(json.dumps(found), flush=True)


def row_of(tenants: int, number: int) -> str:
    tenant = f", {number * STRIDE % tenants}" if tenants else ""
    return f"({number}, '{PADDING}'{tenant})"


def write(
    connection: PGconn,
    tables: list[str],
    row_of: Callable[[int], str],
    step_s: float,
    first: int,
    count: int,
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
        execute(connection, f"BEGIN; INSERT INTO {table} VALUES {row_of(number)}".encode())
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
