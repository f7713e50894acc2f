"""A test kit: the real engine on a real PostgreSQL, in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, LiteralString, ParamSpec

import psycopg
from psycopg import sql

from tidewire import Client, Commit, Config, Engine, Subscription
from tidewire.embedded import EmbeddedPostgres

P = ParamSpec("P")
DEADLINE_S = 60.0


def in_loop_for(
    deadline_s: float,
) -> Callable[[Callable[P, Coroutine[Any, Any, None]]], Callable[P, None]]:
    """Run an async test in a loop of its own, with a deadline over all of it."""

    def decorate(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
        @functools.wraps(test)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            async def bounded() -> None:
                async with asyncio.timeout(deadline_s):
                    await test(*args, **kwargs)

            asyncio.run(bounded())

        return run

    return decorate


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in a loop of its own, with the deadline that is enough for most."""
    return in_loop_for(DEADLINE_S)(test)


async def eventually(predicate: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until the predicate holds."""
    async with asyncio.timeout(timeout_s):
        while not predicate():
            await asyncio.sleep(0.005)  # why: the poll of a condition, under a deadline


@dataclass(frozen=True)
class Live:
    """One database of a test server, and what a test does with it."""

    url: str

    async def execute(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute(statement, values or None)
            return await cursor.fetchall() if cursor.description else []

    def config(self, **changes: Any) -> Config:
        """Make the settings of an engine on this database."""
        settings = {"database_url": self.url, "dev": True, "listen": "127.0.0.1:0", **changes}
        return Config(**settings)

    @contextlib.asynccontextmanager
    async def engine(self, **changes: Any) -> AsyncIterator[Engine]:
        """Run an engine until the block is left."""
        async with Engine(self.config(**changes)) as engine:
            yield engine


@contextlib.contextmanager
def database(server: EmbeddedPostgres) -> Iterator[Live]:
    """Make a database for one test, and leave nothing of it behind."""
    name = f"t_{secrets.token_hex(4)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield Live(server.url.rpartition("/")[0] + "/" + name)
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots"
                " WHERE database = %s AND active_pid IS NOT NULL",
                [name],
            )
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE database = %s",
                [name],
            )
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


async def collect(subscription: Subscription, rows: int) -> list[Commit]:
    """Read commits until they hold so many changes."""
    found: list[Commit] = []
    async for commit in subscription.commits():
        found.append(commit)
        if sum(len(each.changes) for each in found) >= rows:
            return found
    raise AssertionError("the commits ended")


@contextlib.asynccontextmanager
async def following(engine: Engine, table: str) -> AsyncIterator[tuple[Client, Subscription]]:
    """Connect a client that follows one table."""
    async with Client(engine.url) as client:
        yield client, await client.subscribe(table)
