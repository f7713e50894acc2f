"""Goal: a full disk costs those who need it now, and nobody anything once there is room again.

Method: the kernel lets no file of this process grow (RLIMIT_FSIZE), as on a full disk; what fits
into memory goes on, PostgreSQL is another process, and the engine is the real one.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

import pytest

from engine.tests.integration.live import Live, eventually, in_loop
from engine.tests.integration.syncing import only_newest, script, wire

pytestmark = [pytest.mark.postgres, only_newest]

ROWS = 6_000


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@in_loop
async def test_a_copy_fails_on_a_full_disk_and_others_live_on(live: Live) -> None:
    await script(
        live,
        "CREATE TABLE small (id int PRIMARY KEY)",
        "CREATE TABLE large (id int PRIMARY KEY, body text)",
        "INSERT INTO large SELECT n, repeat('x', 100) FROM generate_series(1, 5000) n",
    )
    async with live.engine() as engine, wire(engine.url) as raw:
        await raw.subscribe(table="small")
        with full_disk():
            await raw.say("subscribe", shapes=[{"id": "2", "table": "large"}])
            message = await raw.message()
            while message["type"] != "error":
                message = await raw.message()
            assert (message["code"], message["ref"]) == ("unavailable", "2")
            await script(live, "INSERT INTO small VALUES (1)")
            assert await raw.changes() == [["i", [1]]]
        await raw.subscribe(id="2", table="large")


@in_loop
async def test_a_large_transaction_waits_for_room_and_comes_whole(live: Live) -> None:
    await script(live, "CREATE TABLE t (id int PRIMARY KEY, body text)")
    async with live.engine() as engine, wire(engine.url) as raw:
        await raw.subscribe(table="t")
        with full_disk():
            rows = f"SELECT n, repeat('x', 2000) FROM generate_series(1, {ROWS}) n"
            await script(live, f"INSERT INTO t {rows}")
            await eventually(lambda: "the spool cannot take" in (engine.leader.trouble or ""))
            assert not engine.is_ready
        found: list[int] = []
        while len(found) < ROWS:
            message = await raw.message()
            assert message["type"] in ("commit", "up_to_date"), "nobody is reset"
            for part in message.get("parts", ()):
                found += [change[1][0] for change in part["changes"]]
        assert found == list(range(1, ROWS + 1))
        await eventually(lambda: engine.is_ready)
