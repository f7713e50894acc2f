"""Goal: the oracle's own line to PostgreSQL is exact. Method: a real server, and SQL as the judge.

Random transactions are written by several connections at once; afterwards the oracle's rows must be
those of a SELECT, and at the position of every commit what they were just after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import LiteralString

import psycopg
import pytest
from typer.testing import CliRunner

from tidelab.cli.app import app
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Everything, Filter, Shape
from tidelab.core.history.truth import Baseline, Committed, Fenced, Table, Truth
from tidelab.core.oracle.filter import compile_filter
from tidelab.core.oracle.oracle import Oracle
from tidelab.core.oracle.rendering import render_filter
from tidelab.env import postgres
from tidelab.env.postgres import TruthReader
from tidelab.errors import DatabaseError, HistoryError
from tidelab.selftest.workload import Workload

pytestmark = pytest.mark.postgres

SCHEMA = """
CREATE TABLE kinds (
    id bigint PRIMARY KEY, t text, v varchar, b bool, n numeric, f float8, j jsonb, ts timestamptz,
    i interval, a int[], bin bytea, gone text, twice int GENERATED ALWAYS AS (1) STORED);
ALTER TABLE kinds DROP COLUMN gone;
CREATE TABLE pairs (x int, y text, z text, PRIMARY KEY (y, x));
ALTER TABLE pairs REPLICA IDENTITY FULL;
CREATE TABLE unkeyed (x int);
CREATE TABLE hidden (x int PRIMARY KEY);
ALTER TABLE hidden REPLICA IDENTITY NOTHING;
INSERT INTO kinds VALUES (1, 'it''s', 'v', true, 1.50, 1e15, '{"b": 1, "a": null}', '2026-01-01 Z',
                          '1 day', '{1,2}', '\\xff');
INSERT INTO kinds (id) VALUES (2);
"""
UPSERT: LiteralString = """
INSERT INTO pairs VALUES (%s, %s, now()::text)
ON CONFLICT (y, x) DO UPDATE SET z = random()::text
"""
DELETE: LiteralString = "DELETE FROM pairs WHERE (x, y) = (%s, %s)"
ROW = ("1", "it's", "v", "t", "1.50", "1000000000000000.0", '{"a":null,"b":1}')
REST = ("2026-01-01 00:00:00+00", "1 day", "{1,2}", "\\xff")


# The wheel's server, and what the distribution has installed.
SERVERS = [None, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]


@pytest.fixture(
    scope="module", params=SERVERS, ids=lambda path: path.parent.name if path else "wheel"
)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    os.umask(0o022)
    with postgres.embedded({"fsync": "off"}, binaries=request.param) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
        yield server.url


@pytest.fixture
def writer(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def follow(oracle: Oracle, reader: TruthReader) -> list[Truth]:
    found = reader.fence(reader.position())
    for truth in found:
        oracle.receive(truth)
    return found


def whole(table: Table) -> Shape:
    return Shape(table.name, tuple(column.name for column in table.columns), Everything())


def table_of(baseline: Baseline, name: str) -> Table:
    return next(rows.table for rows in baseline.tables if rows.table.name == name)


def test_a_baseline_has_every_value_in_its_one_writing(url: str) -> None:
    with TruthReader(url, "baseline", ["kinds", "pairs"]) as reader:
        baseline = reader.open()
    kinds, pairs = baseline.tables
    assert kinds.rows == (ROW + REST, ("2", *[None] * 10))
    assert pairs.table.key == ("y", "x")


def test_commits_come_in_order_with_the_same_values(url: str, writer: psycopg.Connection) -> None:
    with TruthReader(url, "values", ["kinds", "pairs"]) as reader:
        baseline = reader.open()
        oracle = Oracle(baseline)
        writer.execute(
            "INSERT INTO kinds SELECT 3, t, v, b, n, f, j, ts, i, a, bin FROM kinds WHERE id = 1"
        )
        writer.execute("UPDATE kinds SET t = repeat(md5(random()::text), 400), id = 4 WHERE id = 3")
        writer.execute("UPDATE kinds SET v = 'w' WHERE id = 4")
        with writer.transaction():
            writer.execute("INSERT INTO pairs VALUES (1, 'a', 'z'), (2, 'a', NULL)")
            writer.execute("UPDATE pairs SET x = 3 WHERE x = 1")
        writer.execute("DELETE FROM pairs WHERE x = 2")
        found = follow(oracle, reader)
    commits = [truth for truth in found if isinstance(truth, Committed)]
    assert [len(commit.changes) for commit in commits] == [1, 1, 1, 3, 1]
    kinds = oracle.view(whole(table_of(baseline, "kinds")))
    assert kinds.row_at(("3",), commits[0].lsn) == ("3", *(ROW + REST)[1:])
    last = kinds.row_at(("4",), commits[-1].lsn)
    assert last is not None
    assert last[1] is not None
    assert (len(last[1]), last[2]) == (12800, "w")
    pairs = oracle.view(whole(table_of(baseline, "pairs")))
    assert pairs.rows_at(commits[-1].lsn) == {("a", "3"): ("3", "a", "z")}
    writer.execute("DELETE FROM kinds WHERE id > 2")
    writer.execute("TRUNCATE pairs")


def test_an_asynchronous_commit_is_waited_for(url: str, writer: psycopg.Connection) -> None:
    with TruthReader(url, "fence", ["pairs"]) as reader:
        oracle = Oracle(reader.open())
        writer.execute("SET synchronous_commit = off")
        writer.execute("INSERT INTO pairs VALUES (7, 'fence', NULL)")
        position = reader.position()
        found = reader.fence(position)
        assert isinstance(found[-1], Fenced)
        assert found[-1].lsn >= position
        assert sum(isinstance(truth, Committed) for truth in found) == 1
        with pytest.raises(DatabaseError, match="did not get to its fence"):
            reader.fence(Lsn(position + 2**40), timeout_s=0)
        assert oracle.begin < position


def test_a_database_that_dies_and_comes_back_has_lost_nothing() -> None:
    with postgres.embedded() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE pairs (x int, y text, z text, PRIMARY KEY (y, x))")
        reader = TruthReader(server.url, "death", ["pairs"])
        baseline = reader.open()
        oracle = Oracle(baseline)
        for round in range(3):
            with psycopg.connect(server.url, autocommit=True) as connection:
                for number in range(20):
                    connection.execute(
                        "INSERT INTO pairs VALUES (%s, 'a', NULL)", [round * 20 + number]
                    )
            if round == 1:
                follow(oracle, reader)
            server.kill()
            with pytest.raises(DatabaseError):
                reader.read()
            assert not reader.close() if round == 2 else True
            server.start()
            reader.reconnect()
        follow(oracle, reader)
        assert len(oracle.commits) == 60
        assert len(oracle.view(whole(table_of(baseline, "pairs"))).rows_at(oracle.position)) == 60
        assert reader.close()


@pytest.mark.soak
def test_whatever_is_written_at_once_the_oracle_has_the_table(url: str) -> None:
    def write(seed: int) -> None:
        random = Random(seed)
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(150):
                with connection.transaction():
                    for _ in range(random.randrange(1, 4)):
                        key = (random.randrange(12), random.choice("ab"))
                        connection.execute(random.choice((UPSERT, DELETE)), key)

    def attempt(seed: int) -> None:
        for _ in range(20):
            try:
                return write(seed)
            except psycopg.errors.DeadlockDetected:
                continue
        return None

    with TruthReader(url, "crowd", ["pairs"]) as reader, ThreadPoolExecutor(4) as pool:
        running = [pool.submit(attempt, seed) for seed in range(4)]
        baseline = reader.open()
        oracle = Oracle(baseline)
        for each in running:
            each.result(60)
        follow(oracle, reader)
        shown = oracle.view(whole(table_of(baseline, "pairs"))).rows_at(oracle.position)
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT x::text, y, z FROM pairs").fetchall()
    assert set(shown.values()) == set(rows)
    assert oracle.commits


@pytest.mark.parametrize(
    ("table", "words"),
    [("nowhere", "no table"), ("unkeyed", "no primary key"), ("hidden", "DEFAULT or FULL")],
)
def test_a_table_that_cannot_be_followed_is_refused(url: str, table: str, words: str) -> None:
    with TruthReader(url, "refused", [table]) as reader, pytest.raises(DatabaseError, match=words):
        reader.open()


def test_a_database_that_is_not_there_is_one_line() -> None:
    with pytest.raises(DatabaseError, match="connection"):
        postgres.connect("postgresql://127.0.0.1:1/nothing")
    with pytest.raises(HistoryError, match="no run id"):
        TruthReader("", "Bad-Id", [])


def test_the_doctor_drops_what_a_killed_run_left(url: str) -> None:
    def doctor(*flags: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["doctor", "--database-url", url, *flags])
        return result.exit_code, result.output.strip()

    living, killed = TruthReader(url, "living", ["pairs"]), TruthReader(url, "killed", ["pairs"])
    with living:
        living.open()
        killed.open()
        assert killed._connection is not None
        killed._connection.close()
        assert doctor() == (1, "left behind: tidelab_killed")
        assert doctor("--drop") == (0, "dropped tidelab_killed")
        assert doctor() == (0, "nothing is left behind")
        living.read()
    assert doctor("--json")[0] == 0
    with postgres.connect(url) as connection:
        assert connection.execute("SELECT FROM pg_replication_slots").fetchall() == []
        assert connection.execute("SELECT FROM pg_publication").fetchall() == []


def filters(workload: Workload) -> list[Filter]:
    found: list[Filter] = []
    while len(found) < 200:
        shape = workload.shape()
        if shape.table == "members":
            found.append(shape.filter)
    return found


def test_filters_mean_what_postgresql_means(writer: psycopg.Connection) -> None:
    workload = Workload(Random(5))
    rows = [row for _ in range(10) for row in workload.first_state()["members"].values()]
    rows += [("red", "0", number, None) for number in ("NaN", "Infinity", "2.50", "-1")]
    with writer.transaction(force_rollback=True):
        writer.execute("CREATE TABLE members (tenant text, id int, quantity numeric, note text)")
        writer.cursor().executemany("INSERT INTO members VALUES (%s, %s, %s, %s)", rows)
        from tidelab.selftest.database import TABLES

        table = TABLES["members"]
        for filter in filters(workload):
            judge = compile_filter(filter, table)
            condition = render_filter(filter, table)
            query = f"SELECT tenant, id::text, quantity::text, note FROM members WHERE {condition}"
            theirs = writer.execute(query.encode()).fetchall()
            key = str
            assert sorted(theirs, key=key) == sorted((r for r in rows if judge(r) is True), key=key)
