"""The command line as a person meets it: one clear line and an exit code, and never a traceback."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from engine.tests.integration.command import TIMEOUT_S, Background, tidewire
from engine.tests.integration.live import Live, database
from tidewire.embedded import EmbeddedPostgres

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def node(live: Live) -> Iterator[tuple[Live, str]]:
    """Serve a database with a table `orders`."""
    asyncio.run(live.execute("CREATE TABLE orders (id int PRIMARY KEY, n numeric, at date)"))
    command = ("-m", "tidewire", "serve", "--dev", "--listen", "127.0.0.1:0")
    server = Background(
        *command, said="serving on", stream="stderr", TIDEWIRE_DATABASE_URL=live.url
    )
    url = re.search(r"ws://\S+", server.line)
    assert url
    yield live, url[0]
    assert server.stop(signal.SIGTERM) == 0


WRONG_USE = {
    "no database": (["serve", "--dev"], 2, "TIDEWIRE_DATABASE_URL"),
    "not a URL": (["serve", "--dev", "--database-url", "postgres//x"], 2, "database URL"),
    "nobody there": (
        ["serve", "--dev", "--database-url", "postgresql://a:hunter2@127.0.0.1:1/b"],
        3,
        "Connection refused",
    ),
    "no tokens": (["serve", "--database-url", "postgresql://x"], 2, "set TIDEWIRE_TOKENS"),
    "dev for all the world": (
        ["serve", "--dev", "--listen", "0.0.0.0:1", "--database-url", "postgresql://x"],
        2,
        "loopback",
    ),
    "no such level": (["serve", "--dev", "--log-level", "loud"], 2, "debug, info"),
    "no such file": (["serve", "--config", "nowhere.toml"], 2, "nowhere.toml"),
    "no such flag": (["serve", "--fast"], 2, "No such option"),
    "no such verb": (["sevre"], 2, "No such command"),
    "no server to tail": (["tail", "x", "--url", "ws://127.0.0.1:1/v1/sync"], 1, "no server at"),
    "not a WebSocket URL": (["tail", "x", "--url", "http://127.0.0.1:1/"], 1, "isn't a valid URI"),
}


@pytest.mark.parametrize("case", WRONG_USE, ids=lambda case: case.replace(" ", "-"))
def test_wrong_use_is_answered_with_what_to_do(case: str) -> None:
    arguments, code, words = WRONG_USE[case]
    done = tidewire(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.postgres
def test_a_server_that_cannot_do_it_is_refused_with_the_remedy() -> None:
    with EmbeddedPostgres(settings={"wal_level": "replica"}) as server:
        done = tidewire("serve", "--dev", "--database-url", server.url)
        assert done.returncode == 3
        assert "ALTER SYSTEM SET wal_level = logical" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.postgres
def test_a_role_without_the_privilege_is_refused_with_the_remedy(server: EmbeddedPostgres) -> None:
    with database(server) as live:
        role = f"r_{live.url[-8:]}"
        with psycopg.connect(live.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'".encode())
        try:
            url = re.sub(r"//[^@]+@", f"//{role}:p@", live.url)
            done = tidewire("serve", "--dev", "--database-url", url)
        finally:
            with psycopg.connect(live.url, autocommit=True) as connection:
                connection.execute(f"DROP ROLE {role}".encode())
    assert done.returncode == 3
    assert f"ALTER ROLE {role} REPLICATION" in done.stderr


@pytest.mark.postgres
def test_a_role_has_its_privilege_as_amazon_gives_it(server: EmbeddedPostgres) -> None:
    # Goal: the next thing that is missing is told, as the stream itself only works over there.
    with database(server) as live, psycopg.connect(live.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE rds_replication")
        connection.execute("CREATE ROLE app LOGIN PASSWORD 'p' IN ROLE rds_replication")
        try:
            url = re.sub(r"//[^@]+@", "//app:p@", live.url)
            done = tidewire("serve", "--dev", "--database-url", url)
        finally:
            connection.execute("DROP ROLE app, rds_replication")
    assert "may not make a publication" in done.stderr


@pytest.mark.postgres
def test_a_port_that_is_taken_is_named(node: tuple[Live, str]) -> None:
    live, url = node
    listen = url.removeprefix("ws://").partition("/")[0]
    done = tidewire("serve", "--dev", "--listen", listen, "--database-url", live.url)
    assert done.returncode == 2
    assert f"cannot listen on {listen}" in done.stderr


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 2000))
sys.argv[0] = "tidewire"
runpy.run_module("tidewire", run_name="__main__")
"""


@pytest.mark.postgres
@pytest.mark.parametrize(("connections", "allowed"), [(50, 1050), (5000, 2000)])
def test_a_shell_allows_fewer_files_than_there_may_be_connections(
    live: Live, connections: int, allowed: int
) -> None:
    server = Background(
        *("-c", LIMITED, "serve", "--dev", "--listen", "127.0.0.1:0"),
        said="serving on",
        stream="stderr",
        TIDEWIRE_DATABASE_URL=live.url,
        TIDEWIRE_CONNECTIONS_MAX=str(connections),
    )
    found = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert server.stop(signal.SIGTERM) == 0
    assert found == (allowed, 2000)
    warned = "allows 2000 open files, all connections may need 6000" in "".join(server.lines)
    assert warned == (connections == 5000)


@pytest.mark.postgres
def test_tail_prints_changes_for_people_and_for_machines(node: tuple[Live, str]) -> None:
    live, url = node
    insert = "INSERT INTO orders VALUES (%s, 1.50, '2026-01-02')"
    command = ("-m", "tidewire", "tail", "orders", "--url", url, "--limit", "1")
    for n, flag in enumerate(((), ("--json",))):
        tail = Background(*command, *flag, said="following public.orders", stream="stderr")
        assert tail.process.poll() is None
        asyncio.run(live.execute(insert, n))
        assert tail.process.wait(TIMEOUT_S) == 0
        tail.out.close()
    done = subprocess.Popen(
        [sys.executable, *command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.stderr
    assert b"following" in done.stderr.readline()
    asyncio.run(live.execute(insert, 9))
    out, _ = done.communicate(timeout=TIMEOUT_S)
    document = json.loads(out)
    assert (document["op"], document["key"]) == ("insert", [9])
    assert document["values"] == {"id": 9, "n": "1.50", "at": "2026-01-02"}


@pytest.mark.postgres
def test_tail_prints_the_rows_that_are_there_and_only_those_asked_for(
    node: tuple[Live, str],
) -> None:
    live, url = node
    asyncio.run(live.execute("INSERT INTO orders VALUES (41, 1.5, NULL), (42, 2.5, NULL)"))
    options = ("--rows", "--where", "id >= $1", "--param", "42", "--columns", "id, n")
    tail = Background(
        *("-m", "tidewire", "tail", "orders", "--url", url, "--limit", "2", "--json"),
        *options,
        said='"op":"row"',
    )
    asyncio.run(live.execute("INSERT INTO orders VALUES (40, 0, NULL), (43, 3.5, NULL)"))
    assert tail.process.wait(TIMEOUT_S) == 0
    row, insert = (json.loads(line) for line in [*tail.lines, *tail.out])
    assert (row["op"], row["key"], row["values"]) == ("row", [42], {"id": 42, "n": "2.5"})
    assert (insert["op"], insert["values"]) == ("insert", {"id": 43, "n": "3.5"})
    tail.out.close()


@pytest.mark.postgres
def test_tail_of_a_table_that_is_not_there_fails(node: tuple[Live, str]) -> None:
    done = tidewire("tail", "nowhere", "--url", node[1])
    assert done.returncode == 1
    assert "unknown_table" in done.stderr


@pytest.mark.postgres
def test_the_example_of_the_readme_runs(node: tuple[Live, str]) -> None:
    live, url = node
    example = Background(
        str(EXAMPLES / "quickstart" / "follow.py"), said="following public.orders", TIDEWIRE_URL=url
    )
    asyncio.run(live.execute("INSERT INTO orders VALUES (7, NULL, NULL)"))
    line = "insert (7,) is now {'id': 7, 'n': None, 'at': None}"
    assert line in example.wait_for("insert").string
    example.stop()


@pytest.mark.postgres
def test_the_demo_proves_itself_and_leaves_nothing_behind() -> None:
    done = tidewire("demo", "--check")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"ok: .* [\d.]+ ms after its commit\n", done.stdout)


@pytest.mark.postgres
def test_the_demo_tells_what_to_do_and_ctrl_c_cleans_up() -> None:
    demo = Background("-m", "tidewire", "demo", "--port", "0", said="Ctrl-C ends it")
    said = "".join(demo.lines)
    database_url = re.search(r"(postgresql://\S+)", said)
    assert database_url
    assert "page    http://127.0.0.1:" in said
    with psycopg.connect(database_url[1]) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (12,)
    assert demo.stop() == 130
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            psycopg.connect(database_url[1], connect_timeout=2).close()
        except psycopg.OperationalError:
            return
    raise AssertionError("PostgreSQL is still there")


def test_every_verb_has_help_with_an_example() -> None:
    for verb in ("demo", "serve", "doctor", "status", "tail", "teardown"):
        done = tidewire(verb, "--help")
        assert done.returncode == 0
        assert re.search(rf"Examples?:\s+.*tidewire {verb}", done.stdout, re.DOTALL), verb
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", tidewire("--version").stdout)
