"""Goal: slots and transactions that keep write-ahead log for nobody are found and can be ended.

Method: real slots, and transactions that stay open; the patience of a minute is set to nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from engine.tests.integration.clinic import cure, execute, follow, fresh_server, trouble
from engine.tests.integration.conftest import versions
from engine.tests.integration.live import Live, database, eventually, in_loop
from tidewire import limits
from tidewire.core.diagnosis.finding import Finding, Level
from tidewire.embedded import EmbeddedPostgres
from tidewire.postgres.examination import examine

pytestmark = pytest.mark.postgres

OWN = "tidewire_default_0123abcd"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call every transaction old."""
    monkeypatch.setattr(limits, "OLDER_TRANSACTIONS_TIMEOUT_S", 0.0)


@contextlib.contextmanager
def slots(live: Live, *names: str) -> Iterator[None]:
    """Make slots, and drop those that are left."""
    make = "SELECT pg_create_logical_replication_slot('{}', 'pgoutput')"
    execute(live.url, *(make.format(name) for name in names))
    try:
        yield
    finally:
        listed = ", ".join(f"'{name}'" for name in names)
        execute(
            live.url,
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            f" WHERE slot_name IN ({listed})",
        )


async def about(live: Live, id: str, subject: str) -> list[Finding]:
    findings = await examine(live.url, "default", ())
    return [each for each in findings if (each.id, each.subject) == (id, subject)]


@in_loop
async def test_slots_that_nobody_reads_are_named_and_dropped(live: Live) -> None:
    names = (OWN, "tidewire_other_0123abcd", "tidelab_run_7", "somebody_elses")
    with slots(live, *names):
        for name in names[:3]:
            [found] = await about(live, "slot", name)
            assert found.level is Level.WARNING
            assert "of write-ahead log, more with every write" in found.text
            follow(live.url, found)
            assert await about(live, "slot", name) == []
        assert await about(live, "slot", "somebody_elses") == []


@in_loop
async def test_a_slot_of_the_same_name_in_another_database_is_not_ours(
    live: Live, server: EmbeddedPostgres
) -> None:
    with database(server) as other, slots(other, OWN):
        [found] = await about(live, "slot", OWN)
        assert "nobody reads it" in found.text
        assert other.url.rpartition("/")[2] in found.remedy[0]
        follow(live.url, found)
        assert await about(other, "slot", OWN) == []


@in_loop
async def test_a_slot_that_the_server_reads_is_well(live: Live) -> None:
    async with live.engine() as engine:
        await eventually(lambda: engine.is_ready)
        [found] = await about(live, "slot", str(engine.status()["slot"]))
        assert found.level is Level.OK
        assert found.text.startswith("in use by pid ")
    [found] = await about(live, "slot", str(engine.status()["slot"]))
    assert "the server does not run, or sleeps" in found.text


@pytest.mark.parametrize("version", versions())
@in_loop
async def test_a_slot_that_keeps_too_much_is_saved_or_given_up(version: str) -> None:
    with fresh_server(version, wal_level="logical", max_slot_wal_keep_size="'1MB'") as server:
        live = Live(server.url)
        execute(live.url, f"SELECT pg_create_logical_replication_slot('{OWN}', 'pgoutput')")
        write = ("SELECT txid_current()", "SELECT pg_switch_wal()")
        execute(live.url, *write * 3)
        [found] = await about(live, "slot", OWN)
        assert (found.level, "more than it may" in found.text) == (Level.PROBLEM, True), found
        follow(live.url, found)
        execute(live.url, "CHECKPOINT")
        [saved] = await about(live, "slot", OWN)
        assert "the server does not run, or sleeps" in saved.text
        execute(live.url, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        server.restart()
        execute(live.url, *write * 3, "CHECKPOINT", *write, "CHECKPOINT")
        [lost] = await about(live, "slot", OWN)
        assert "clients start over" in lost.text
        follow(live.url, lost)
        assert await about(live, "slot", OWN) == []


@in_loop
async def test_a_transaction_that_stays_open_is_named_and_ended(
    live: Live, impatient: None
) -> None:
    with psycopg.connect(live.url) as open_:
        open_.execute("SELECT pg_current_xact_id()")
        [found] = await about(live, "transaction", f"pid {open_.info.backend_pid}")
        assert "(idle in transaction)" in found.text
        follow(live.url, found)
        with pytest.raises(psycopg.OperationalError):
            open_.execute("SELECT 1")
        open_.close()
    assert await about(live, "transaction", f"pid {open_.info.backend_pid}") == []


@in_loop
async def test_reading_holds_nothing_up(live: Live, impatient: None) -> None:
    with psycopg.connect(live.url) as open_:
        open_.execute("SELECT 1")
        assert await about(live, "transaction", f"pid {open_.info.backend_pid}") == []


@pytest.mark.parametrize("version", versions())
@in_loop
async def test_a_prepared_transaction_is_named_and_ended(version: str, impatient: None) -> None:
    with fresh_server(version, wal_level="logical", max_prepared_transactions="2") as server:
        execute(server.url, "CREATE TABLE t (id int)")
        with psycopg.connect(server.url) as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("PREPARE TRANSACTION 'it''s forgotten'")
            connection.commit()
        found = await cure(server.url, "prepared", level=Level.WARNING)
        assert found.subject == "it's forgotten"
        assert "in database tidewire;" in found.remedy[0]


@in_loop
async def test_looking_changes_nothing(live: Live) -> None:
    execute(live.url, "CREATE TABLE t (id int)")
    state = (
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text, (SELECT count(*) FROM"
        " pg_publication), (SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '^tide')"
    )
    before = await live.execute(state)
    assert (await trouble(live.url, "t", "u")).keys() >= {"table", "table_missing"}
    assert await live.execute(state) == before
