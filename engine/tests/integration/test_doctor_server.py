"""Goal: whatever is wrong with a server is found, and the remedy that is told heals it.

Method: faults are made real with ALTER SYSTEM, rights that are taken away, and a proxy that does
what poolers do; then the remedy is followed to the letter.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from engine.tests.integration.clinic import (
    cure,
    execute,
    follow,
    fresh_server,
    trouble,
    trouble_when,
)
from engine.tests.integration.conftest import binaries_of, versions
from engine.tests.integration.live import Live, database, in_loop
from engine.tests.integration.pooler import pooler
from engine.tests.integration.roles import role_in
from engine.tests.integration.syncing import only_newest
from tidewire.core.diagnosis.finding import Level
from tidewire.embedded import EmbeddedPostgres

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module", params=versions())
def clinic(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """Start a server per version whose settings may be changed."""
    with fresh_server(request.param, wal_level="logical") as server:
        yield server


@pytest.fixture
def ward(clinic: EmbeddedPostgres) -> Iterator[Live]:
    """Make a database on it, and take all settings back behind the test."""
    with database(clinic) as live:
        try:
            yield live
        finally:
            # Before the database is dropped: that would wait for a standby that is not there.
            execute(clinic.url, "ALTER SYSTEM RESET ALL", "ALTER SYSTEM SET wal_level = logical")
            execute(clinic.url, "SELECT pg_reload_conf()")


def walsender(url: str, name: str) -> psycopg.Connection:
    """Connect as a standby does."""
    return psycopg.connect(
        url, replication="true", application_name=name, autocommit=True, prepare_threshold=None
    )


@pytest.mark.parametrize("version", versions())
@in_loop
async def test_a_server_as_it_comes_is_made_ready(version: str) -> None:
    nothing = {"max_wal_senders": "0", "max_replication_slots": "0", "max_connections": "7"}
    with fresh_server(version, **nothing) as server:
        found = await trouble(server.url)
        expected = {"wal_level", "replication", "slots", "walsenders", "connections", "slot_wal"}
        assert found.keys() == expected
        assert found["connections"].level is Level.WARNING
        assert found["slots"].level is Level.PROBLEM
        assert found["slot_wal"].text.endswith("until the disk is full")
        assert follow(server.url, *found.values())
        server.restart()
        assert await trouble(server.url) == {}


@in_loop
async def test_what_was_given_at_the_start_is_changed_there() -> None:
    with EmbeddedPostgres(settings={"wal_level": "replica"}) as server:
        [line] = (await trouble(server.url))["wal_level"].remedy
        assert line.endswith("there, say -c wal_level=logical")
        server._settings["wal_level"] = "logical"
        server.restart()
        assert "wal_level" not in await trouble(server.url)


@pytest.mark.parametrize("version", versions())
@in_loop
async def test_a_standby_is_told_from_a_primary(version: str) -> None:
    with EmbeddedPostgres(binaries=binaries_of(version)) as server:
        (server.data_dir / "cluster" / "standby.signal").touch()
        server.restart()
        found = (await trouble(server.url))["standby"]
        assert found.level is Level.PROBLEM
        execute(server.url, "SELECT pg_promote()")
        await trouble_when(server.url, lambda found: "standby" not in found)


@in_loop
async def test_a_slot_may_keep_too_little(ward: Live) -> None:
    execute(ward.url, "ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'", "SELECT pg_reload_conf()")
    await trouble_when(ward.url, lambda found: "only 64 MB" in found["slot_wal"].text)
    await cure(ward.url, "slot_wal", level=Level.WARNING)


@in_loop
async def test_an_idle_slot_is_given_up(ward: Live, clinic: EmbeddedPostgres) -> None:
    if clinic.version < 18:
        assert "slot_idle" not in await trouble(ward.url)
        return
    timeout = "ALTER SYSTEM SET idle_replication_slot_timeout = '30min'"
    execute(ward.url, timeout, "SELECT pg_reload_conf()")
    found = await cure(ward.url, "slot_idle", level=Level.WARNING)
    assert "30 minutes" in found.text


@in_loop
async def test_commits_would_wait_for_us_as_for_a_standby(ward: Live) -> None:
    star = "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (*)'"
    reload = "SELECT pg_reload_conf()"
    execute(ward.url, star, reload)
    alone = await cure(ward.url, "synchronous_standbys", level=Level.WARNING)
    assert "ALTER SYSTEM SET synchronous_standby_names = '';" in alone.remedy
    with walsender(ward.url, 'the "other"'):
        execute(ward.url, star, reload)
        listed = await cure(ward.url, "synchronous_standbys", level=Level.WARNING)
    assert '\'FIRST 1 ("the ""other""")\'' in listed.remedy[0]
    execute(ward.url, "ALTER SYSTEM SET synchronous_standby_names = 'tidewire'", reload)
    ours = await trouble_when(ward.url, lambda found: "synchronous_standbys" in found)
    assert "application_name=another_name" in ours["synchronous_standbys"].remedy[0]
    assert "synchronous_standbys" not in await trouble(f"{ward.url}?application_name=another_name")


@only_newest
@in_loop
async def test_a_text_without_an_encoding_is_refused(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE of_bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        )
        base = server.url.rpartition("/")[0]
        try:
            found = (await trouble(f"{base}/of_bytes"))["encoding"]
            follow(server.url, found)
            assert "encoding" not in await trouble(f"{base}/in_utf8")
        finally:
            for name in ("of_bytes", "in_utf8"):
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))


@in_loop
async def test_a_role_that_may_nothing_is_given_what_it_needs_and_no_more(
    server: EmbeddedPostgres, live: Live
) -> None:
    with role_in(live) as (name, url):
        found = await trouble(url)
        expected = {"role_replication", "database_create", "replication", "sessions_seen"}
        if server.version >= 16:
            expected.add("slot_moves")
            assert found["slot_moves"].level is Level.WARNING
        assert found.keys() == expected
        assert found["sessions_seen"].level is Level.WARNING
        assert not follow(live.url, *found.values())
        assert await trouble(url) == {}
        [(is_superuser,)] = await live.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = %s", name
        )
        assert is_superuser is False


@in_loop
async def test_a_role_may_not_move_its_slot(server: EmbeddedPostgres, live: Live) -> None:
    with role_in(live) as (_, url):
        if server.version < 16:
            assert "slot_moves" not in await trouble(url), "nobody can"
            return
        await cure(live.url, "slot_moves", as_role=url, level=Level.WARNING)
        execute(url, "SELECT pg_log_standby_snapshot()")


@only_newest
@in_loop
async def test_a_pooler_is_found_by_its_ids_and_by_what_it_takes_away(live: Live) -> None:
    async with pooler(live.url) as url:
        found = await trouble(url)
        assert found.keys() == {"pooler"}
    async with pooler(live.url, keeps_options=False) as url:
        assert (await trouble(url)).keys() == {"pooler", "wal_sender_timeout"}
    async with pooler(live.url, takes_replication=False) as url:
        refused = (await trouble(url))["replication"]
        assert "unsupported startup parameter: replication" in refused.text
        assert refused.level is Level.PROBLEM
    assert "PostgreSQL's own host and port" in refused.remedy[0]
    assert "PostgreSQL's own host and port" in found["pooler"].remedy[0]
    assert await trouble(live.url) == {}
