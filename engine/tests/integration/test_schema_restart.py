"""Goal: a table is altered while no server runs, and whoever comes back is right, or is told.

Method: many tables, each with a client and a file; the server is stopped, something is done to each
table, and a server is started at the same place. Who may go on was sent what it missed and no copy;
everybody else was told so, or refused as a newcomer would be; all have the rows of a SELECT.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.tests.integration.keeper import Counting
from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import compare, only_newest, script
from tidewire import Engine, Shape, SqliteStore, SyncError

pytestmark = pytest.mark.postgres

GOES_ON, BEGINS_ANEW = 0, 1
PLAIN = (
    "CREATE TYPE {t}_mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE {t}_spot AS (x int, y int)",
    "CREATE TABLE {t} (id int PRIMARY KEY, v text, n int, feels {t}_mood[], at {t}_spot)",
    "ALTER TABLE {t} REPLICA IDENTITY FULL",
    "INSERT INTO {t} SELECT n, 'v' || n, n, '{{sad}}', '(1,2)' FROM generate_series(1, 20) n",
)
PARTED = (
    "CREATE TABLE {t} (id int, v text, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
    "CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE {t}_2 PARTITION OF {t} FOR VALUES FROM (10) TO (20)",
    "CREATE TABLE {t}_later (LIKE {t} INCLUDING ALL)",
    "INSERT INTO {t}_later VALUES (20, 'later', 20)",
    "INSERT INTO {t} SELECT n, 'v' || n, n FROM generate_series(0, 19) n",
    "ALTER TABLE {t} REPLICA IDENTITY FULL",
    "ALTER TABLE {t}_1 REPLICA IDENTITY FULL",
    "ALTER TABLE {t}_2 REPLICA IDENTITY FULL",
    "ALTER TABLE {t}_later REPLICA IDENTITY FULL",
)


class Event(NamedTuple):
    """What is done while no server runs, and what whole, texts and some are told then."""

    statements: str
    told: tuple[int | str, int | str, int | str] = (GOES_ON, GOES_ON, GOES_ON)
    table: tuple[str, ...] = PLAIN


ALL = (BEGINS_ANEW,) * 3
TEXTS = (BEGINS_ANEW, BEGINS_ANEW, GOES_ON)
NOBODY = ("unknown_table",) * 3
EVENTS = {
    "nothing": Event(""),
    "rows are written": Event(
        "UPDATE {t} SET v = 'new' WHERE id > 5; DELETE FROM {t} WHERE id = 1"
    ),
    "a column is added": Event("ALTER TABLE {t} ADD more int DEFAULT 7", (BEGINS_ANEW, 0, 0)),
    "a column is added with values": Event(
        "ALTER TABLE {t} ADD more float8 DEFAULT random()", (BEGINS_ANEW, 0, 0)
    ),
    "a generated column is added": Event(
        "ALTER TABLE {t} ADD g int GENERATED ALWAYS AS (n * 2) STORED"
    ),
    "a label is added to an enum": Event("ALTER TYPE {t}_mood ADD VALUE 'fine' BEFORE 'ok'"),
    "a column gets a default": Event("ALTER TABLE {t} ALTER v SET DEFAULT 'd'"),
    "the rows are packed": Event("VACUUM FULL {t}"),
    "it is truncated and filled": Event("TRUNCATE {t}; INSERT INTO {t} VALUES (1, 'x', 11)"),
    "values are rewritten": Event("ALTER TABLE {t} ALTER v TYPE text USING upper(v)", TEXTS),
    "the values of a condition are rewritten": Event(
        "ALTER TABLE {t} ALTER n TYPE int USING 21 - n", (BEGINS_ANEW, GOES_ON, BEGINS_ANEW)
    ),
    "a column gets another type": Event("ALTER TABLE {t} ALTER v TYPE varchar", TEXTS),
    "a column is dropped": Event(
        "ALTER TABLE {t} DROP v", (BEGINS_ANEW, "unknown_column", GOES_ON)
    ),
    "a column is dropped and made again": Event(
        "ALTER TABLE {t} DROP v, ADD v text DEFAULT 'new'", TEXTS
    ),
    "a column is renamed": Event(
        "ALTER TABLE {t} RENAME v TO w", (BEGINS_ANEW, "unknown_column", GOES_ON)
    ),
    "two columns swap their names": Event(
        "ALTER TABLE {t} RENAME id TO x; ALTER TABLE {t} RENAME n TO id;"
        "ALTER TABLE {t} RENAME x TO n",
        ALL,
    ),
    "a label of an enum is renamed": Event(
        "ALTER TYPE {t}_mood RENAME VALUE 'sad' TO 'blue'", (BEGINS_ANEW, 0, 0)
    ),
    "a composite type gets a field": Event(
        "ALTER TYPE {t}_spot ADD ATTRIBUTE z int", (BEGINS_ANEW, 0, 0)
    ),
    "it is dropped": Event("DROP TABLE {t}", NOBODY),
    "it is renamed": Event("ALTER TABLE {t} RENAME TO {t}_gone", NOBODY),
    "it is dropped and made again": Event(
        "DROP TABLE {t}; CREATE TABLE {t} (id int PRIMARY KEY, v text, n int);"
        "ALTER TABLE {t} REPLICA IDENTITY FULL; INSERT INTO {t} VALUES (1, 'x', 11)",
        ALL,
    ),
    "another table takes its name, published by hand": Event(
        "CREATE TABLE {t}_new (LIKE {t} INCLUDING ALL); ALTER TABLE {t}_new REPLICA IDENTITY FULL;"
        "INSERT INTO {t}_new VALUES (1, 'x', 11); ALTER TABLE {t} RENAME TO {t}_old;"
        "ALTER TABLE {t}_new RENAME TO {t}; ALTER PUBLICATION tidewire_default ADD TABLE {t}",
        ALL,
    ),
    "it leaves the publication": Event(
        "ALTER PUBLICATION tidewire_default DROP TABLE {t}; UPDATE {t} SET v = 'unseen'", ALL
    ),
    "it leaves the publication and comes back": Event(
        "ALTER PUBLICATION tidewire_default DROP TABLE {t}; UPDATE {t} SET v = 'unseen';"
        "ALTER PUBLICATION tidewire_default ADD TABLE {t}",
        ALL,
    ),
    "the log does not carry old rows any more": Event(
        "ALTER TABLE {t} REPLICA IDENTITY DEFAULT", (GOES_ON, GOES_ON, "unsupported_where")
    ),
    "it loses its identity": Event(
        "ALTER TABLE {t} REPLICA IDENTITY NOTHING", ("unsupported_table",) * 3
    ),
    "a partition is made and filled": Event(
        "CREATE TABLE {t}_3 PARTITION OF {t} FOR VALUES FROM (20) TO (30);"
        "ALTER TABLE {t}_3 REPLICA IDENTITY FULL; INSERT INTO {t} VALUES (20, 'x', 20)",
        table=PARTED,
    ),
    "a partition comes with rows": Event(
        "ALTER TABLE {t} ATTACH PARTITION {t}_later FOR VALUES FROM (20) TO (30)", ALL, PARTED
    ),
    "a partition is detached": Event("ALTER TABLE {t} DETACH PARTITION {t}_1", ALL, PARTED),
    "a partition is away, and comes back with other rows": Event(
        "ALTER TABLE {t} DETACH PARTITION {t}_1; DELETE FROM {t}_1 WHERE id > 3;"
        "ALTER TABLE {t} ATTACH PARTITION {t}_1 FOR VALUES FROM (0) TO (10)",
        ALL,
        PARTED,
    ),
    "a partition is truncated": Event("TRUNCATE {t}_1", ALL, PARTED),
}


def shapes_of(table: str) -> list[Shape]:
    return [Shape(table), Shape(table, columns=["v"]), Shape(table, columns=["id"], where="n > 10")]


class Deployment:
    """A server that is stopped and started at the same place."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self._port = 0

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator[Engine]:
        async with self.live.engine(listen=f"127.0.0.1:{self._port}") as engine:
            self._port = int(engine.url.split(":")[2].split("/")[0])
            yield engine


class Follower:
    """A program that follows one table; what it has outlives the server."""

    def __init__(self, live: Live, name: str, table: str, file: Path) -> None:
        self.live = live
        self.name = name
        self.event = EVENTS[name]
        self.table = table
        self.file = file

    async def make_table(self) -> None:
        await script(self.live, *(each.format(t=self.table) for each in self.event.table))

    async def begin(self, url: str) -> None:
        self.client = await Counting(url, store=SqliteStore(self.file)).__aenter__()
        self.shapes = await self.client.subscribe_all(*shapes_of(self.table))

    async def begin_again(self, url: str) -> None:
        """Begin with the file; what is in it goes on, or is copied again, as it has to."""
        try:
            if refusals := [told for told in self.event.told if isinstance(told, str)]:
                with pytest.raises(SyncError, match=refusals[0]):
                    await self.begin(url)
                return
            await self.begin(url)
            await compare(self.live, self.client, *self.shapes)
            assert (self.name, self.client.chunks > 0) == (
                self.name,
                BEGINS_ANEW in self.event.told,
            )
        finally:
            await self.end()

    async def end(self) -> None:
        await self.client.__aexit__(None, None, None)

    async def alter(self) -> None:
        statements = self.event.statements.format(t=self.table)
        await script(self.live, *filter(None, statements.split(";")))

    async def check(self) -> None:
        for sees, told in zip(self.shapes, self.event.told, strict=True):
            await eventually(lambda its=sees: its.is_live or its.error)  # type: ignore[misc]
            about = f"{self.name}: {sees.shape}"
            if isinstance(sees.error, SyncError):
                assert (about, sees.error.code) == (about, told)
                continue
            assert (about, sees.error) == (about, None)
            await compare(self.live, self.client, sees)
            assert (about, sees.resets) == (about, told)


@pytest.fixture
def followers(live: Live, tmp_path: Path) -> list[Follower]:
    """Make a follower for each event, with a table and a file of its own."""
    return [Follower(live, name, f"t{i}", tmp_path / f"{i}.db") for i, name in enumerate(EVENTS)]


@contextlib.asynccontextmanager
async def following(followers: list[Follower], engine: Engine) -> AsyncIterator[None]:
    """Let all have their rows; those that are left here go on without a server."""
    for each in followers:
        await each.make_table()
    async with asyncio.TaskGroup() as tasks:
        for each in followers:
            tasks.create_task(each.begin(engine.url))
    yield
    for each in followers:
        await each.end()


@in_loop
async def test_tables_are_altered_while_no_server_runs(
    live: Live, followers: list[Follower]
) -> None:
    server = Deployment(live)
    async with contextlib.AsyncExitStack() as stack:
        async with server.life() as engine:
            await stack.enter_async_context(following(followers, engine))
        for each in followers:
            await each.alter()
        async with server.life():
            for each in followers:
                await each.check()


@only_newest
@in_loop
async def test_tables_are_altered_while_neither_server_nor_programs_run(
    live: Live, followers: list[Follower]
) -> None:
    server = Deployment(live)
    async with server.life() as engine, following(followers, engine):
        pass
    for each in followers:
        await each.alter()
    async with server.life() as engine:
        for each in followers:
            await each.begin_again(engine.url)
