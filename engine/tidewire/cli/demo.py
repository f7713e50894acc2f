"""`tidewire demo`: everything at once, on an embedded PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, LiteralString

import typer

from tidewire.cli import options
from tidewire.cli.outcome import FAILED, OK, run_async
from tidewire.errors import TidewireError

if TYPE_CHECKING:
    from tidewire.engine import Engine
    from tidewire.postgres.embedded import EmbeddedPostgres

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id         int PRIMARY KEY,
    customer   text NOT NULL,
    item       text NOT NULL,
    quantity   int NOT NULL,
    price      numeric(10, 2) NOT NULL,
    status     text NOT NULL DEFAULT 'new',
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO orders (id, customer, item, quantity, price)
SELECT n, (ARRAY['Harbour Café', 'Tidal Books', 'North Pier', 'Blue Buoy'])[1 + n % 4],
       (ARRAY['rope', 'lantern', 'compass', 'sea chart', 'anchor'])[1 + n % 5],
       1 + n % 3, 4.50 + n * 1.25
FROM generate_series(1, 12) AS n
ON CONFLICT DO NOTHING
"""
_UPDATE = """
UPDATE orders SET status = %s, quantity = %s, updated_at = clock_timestamp() WHERE id = %s
"""
_MARK = "UPDATE orders SET status = %s WHERE id = 7"
_STATUSES = ("new", "paid", "packed", "shipped", "delivered")
_CHECK_TIMEOUT_S = 30


def demo(
    *,
    port: Annotated[
        int, typer.Option(help="Port of server and page; 0 chooses one.", min=0, max=65535)
    ] = 8800,
    data: Annotated[
        Path | None,
        typer.Option(help="Keep the database here; default: a temporary one.", metavar="DIR"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Prove that a change arrives, then exit.")
    ] = False,
    log_level: options.LogLevel = "warning",
    log_format: options.LogFormat = None,
) -> int:
    """Start PostgreSQL, the server and a page with live rows; needs nothing but this package.

    Examples:

      tidewire demo

      tidewire demo --port 9000 --data ./demo-data

      tidewire demo --check
    """
    config = options.load(
        None,
        database_url="postgresql://unused",
        dev=True,
        listen=f"127.0.0.1:{0 if check else port}",
        log_level=log_level,
        log_format=log_format,
    )
    return run_async(lambda: _demo(config.listen, data, is_check=check))


async def _demo(listen: str, data: Path | None, *, is_check: bool) -> int:
    async with _running(listen, data) as (engine, server):
        if is_check:
            return await _check(engine, server.url)
        print(f"  page    {engine.page_url}")
        print(f"  sync    {engine.url}")
        print(f"  psql    {server.psql_command}")
        print("  try     UPDATE orders SET status = 'lost at sea' WHERE id = 7;")
        print(f"  tail    tidewire tail orders --url {engine.url}")
        print("Ctrl-C ends it.", flush=True)
        await _keep_busy(server.url)
    return OK


@contextlib.asynccontextmanager
async def _running(
    listen: str, data: Path | None
) -> AsyncIterator[tuple[Engine, EmbeddedPostgres]]:
    from tidewire.config import Config
    from tidewire.embedded import EmbeddedPostgres
    from tidewire.engine import Engine

    server = EmbeddedPostgres(data)
    try:
        await asyncio.to_thread(server.start)
        await _execute(server.url, _SCHEMA)
        page = resources.files("tidewire.cli").joinpath("demo.html").read_bytes()
        config = Config(database_url=server.url, dev=True, listen=listen)
        async with Engine(config, page=page) as engine:
            yield engine, server
    finally:
        await asyncio.to_thread(server.stop)


async def _check(engine: Engine, database_url: str) -> int:
    from tidewire.client.connection import Client

    marker = secrets.token_hex(4)
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S), Client(engine.url) as client:
            orders = await client.subscribe("orders")
            await _execute(database_url, _MARK, [marker])
            committed_at = time.perf_counter()
            async for commit in orders.commits():
                if any(change.values.get("status") == marker for change in commit.changes):
                    break
            elapsed_ms = max(0.0, time.perf_counter() - committed_at) * 1000
    except (TimeoutError, TidewireError) as error:
        print(f"failed: the change did not arrive: {str(error) or 'time is up'}")
        return FAILED
    print(f"ok: a row changed by SQL reached a Python client, {elapsed_ms:.1f} ms after its commit")
    return OK


async def _execute(url: str, statement: LiteralString, values: Sequence[str] = ()) -> None:
    import psycopg

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement, values or None)


async def _keep_busy(url: str) -> None:
    import psycopg

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            change = (random.choice(_STATUSES), random.randint(1, 9), random.randint(1, 12))  # noqa: S311
            await connection.execute(_UPDATE, change)
            await asyncio.sleep(random.uniform(0.1, 0.8))  # noqa: S311
