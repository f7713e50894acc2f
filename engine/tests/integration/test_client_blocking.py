"""Goal: code that blocks, in any number of threads, sees what the asynchronous client sees.

Method: a real server in a process of its own. Whatever must end is waited for with a deadline; what
has to do with signals and the end of the interpreter is a program of its own.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.tests.integration.command import Background
from engine.tests.integration.live import Live
from engine.tests.integration.syncing import only_newest
from engine.tests.integration.test_engine_failures import ServerProcess
from tidewire import Client as AsyncClient
from tidewire import Disconnected, Shape, SqliteStore, StoreError, SyncError, WaitTimeout
from tidewire.blocking import Client, Subscription, position

pytestmark = [pytest.mark.postgres, only_newest]

DEADLINE_S = 20.0
ACCOUNTS = 20


@dataclass(frozen=True)
class Served:
    """A server, and its database."""

    url: str
    database_url: str

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.database_url, autocommit=True)


@pytest.fixture
def served(live: Live) -> Iterator[Served]:
    with psycopg.connect(live.url, autocommit=True) as connection:
        for table in ("a", "b"):
            connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, n int)".encode())
            rows = f"INSERT INTO {table} SELECT n, 100 FROM generate_series(1, {ACCOUNTS}) n"
            connection.execute(rows.encode())
    server = ServerProcess(live.url)
    threads = set(threading.enumerate())
    yield Served(server.url, live.url)
    until(lambda: set(threading.enumerate()) <= threads)
    assert server.end(signal.SIGTERM) == 0


@dataclass
class Account:
    id: int
    n: int


def until(predicate: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.002)  # why: the poll of a condition, under a deadline


def total(*tables: Subscription[Account]) -> int:
    return sum(row.n for table in tables for row in table.rows.values())


def test_rows_commits_and_positions(served: Served) -> None:
    with Client(served.url) as client, served.connect() as connection:
        a = client.subscribe("a", where="id <= $1", params=[3], row_type=Account)
        assert (a.table, a.key, a.is_live, a.resets, a.error) == (
            "public.a",
            ("id",),
            True,
            0,
            None,
        )
        assert (a.columns[1], a.shape.table) == (("n", "int4"), "a")
        assert "Subscription 1 of public.a" in repr(a)
        before = a.rows
        assert before == {n: Account(n, 100) for n in (1, 2, 3)}
        transactions = client.commits()
        connection.execute("UPDATE a SET n = n + id")
        client.wait_for(position(connection))
        a.live()
        assert a.rows[3] == Account(3, 103)
        assert before[3] == Account(3, 100), "rows that you hold are of one moment"
        commits = a.commits()
        commit = next(commits)
        assert {change.key: change.values["n"] for change in commit.changes} == {
            (n,): 100 + n for n in (1, 2, 3)
        }
        transaction = next(transactions)
        assert (transaction.lsn, transaction.changes) == (commit.lsn, {a: commit.changes})
        assert client.is_connected
        assert client.position is not None
        assert client.saved_position is None
        client.unsubscribe(a)
        assert list(commits) == []
        assert len(a.rows) == 3, "what was received stays readable"


def test_commits_only_have_no_rows(served: Served) -> None:
    with Client(served.url) as client:
        a = client.subscribe("a", initial=False)
        with pytest.raises(RuntimeError, match="initial=False"):
            print(a.rows)


def test_what_goes_wrong_is_told_as_by_the_asynchronous_client(served: Served) -> None:
    with Client(served.url) as client:
        with pytest.raises(SyncError, match="unknown_table"):
            client.subscribe("nowhere")
        client.subscribe("a")
        with pytest.raises(WaitTimeout):
            client.wait_for("FFFFFF/0", timeout_s=0.01)
        with pytest.raises(ValueError, match="not a WAL position"):
            client.wait_for("now")


def test_many_threads_never_see_half_a_commit(served: Served) -> None:
    is_enough = threading.Event()

    def write() -> int:
        with served.connect() as connection:
            number = 0
            while not is_enough.is_set():
                number += 1
                with connection.transaction():
                    for table, sign in (("a", 1), ("b", -1)):
                        move = f"UPDATE {table} SET n = n + %s WHERE id %% 3 = %s"
                        connection.execute(move.encode(), [sign, number % 3])
                        spare = number % 5 + 1000
                        connection.execute(
                            f"INSERT INTO {table} VALUES (%s, 0) ON CONFLICT (id) "
                            f"DO UPDATE SET id = {table}.id + 1000 + %s".encode(),
                            [spare, number * 10],
                        )
            return number

    def read(client: Client, both: tuple[Subscription[Account], Subscription[Account]]) -> int:
        seen = set()
        while not is_enough.is_set():
            rows = client.rows(*both)
            sums = [sum(row.n for row in table.values()) for table in rows]
            assert sum(sums) == ACCOUNTS * 200
            seen.add(sums[0])
            for table in both:
                held = table.rows
                assert len(list(held.items())) == len(held), "it stands still while it is read"
        return len(seen)

    with Client(served.url) as client, ThreadPoolExecutor(4) as threads:
        both = client.subscribe_all(Shape("a", row_type=Account), Shape("b", row_type=Account))
        working: list[Future[int]] = [threads.submit(write)]
        working += [threads.submit(read, client, both) for _ in range(2)]
        try:
            for number, _ in enumerate(both[0].commits()):
                if number == 300 or any(each.done() for each in working):
                    break
        finally:
            is_enough.set()
        assert all(each.result() > 10 for each in working)
    assert total(*both) == ACCOUNTS * 200


# --- the end ---


def test_a_client_that_is_not_open_says_so(served: Served) -> None:
    client = Client(served.url)
    with pytest.raises(Disconnected, match="not open: use `with Client"):
        client.subscribe("a")
    with client:
        a = client.subscribe("a")
    for act in (
        lambda: client.subscribe("a"),
        lambda: client.wait_for("0/1"),
        lambda: next(a.commits()),
        client.commits,
        lambda: client.unsubscribe(a),
        a.live,
    ):
        with pytest.raises(Disconnected, match="the client was closed"):
            act()
    assert len(a.rows) == len(client.rows(a)[0]) == ACCOUNTS, "they stay readable"


def test_whoever_waits_in_another_thread_is_told_that_the_client_was_closed(
    served: Served,
) -> None:
    with ThreadPoolExecutor(3) as threads:
        with Client(served.url) as client:
            a = client.subscribe("a")
            waiting: list[Future[object]] = [
                threads.submit(lambda: list(a.commits())),
                threads.submit(lambda: list(client.commits())),
                threads.submit(lambda: client.wait_for("FFFFFF/0", timeout_s=60)),
            ]
            until(lambda: client._client._session._waits)
        for each in waiting:
            with pytest.raises(Disconnected, match="the client was closed"):
                each.result(DEADLINE_S)


def test_calls_from_everywhere_while_it_closes_end(served: Served) -> None:
    for _ in range(5):
        with ThreadPoolExecutor(4) as threads:
            with Client(served.url) as client:
                a = client.subscribe("a")

                def ask(a: Subscription = a, client: Client = client) -> int:
                    calls = 0
                    while True:
                        try:
                            client.wait_for("0/1")
                        except Disconnected:
                            return calls + len(a.rows) - ACCOUNTS
                        calls += 1

                asking = [threads.submit(ask) for _ in range(4)]
                client.wait_for("0/1")
            assert all(each.result(DEADLINE_S) >= 0 for each in asking)


def test_a_call_in_the_last_moment_is_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_handed_over = threading.Event()
    hand_over, leave = asyncio.run_coroutine_threadsafe, AsyncClient.__aexit__

    def handing_over(work: Any, loop: asyncio.AbstractEventLoop) -> Future[Any]:
        future = hand_over(work, loop)
        is_handed_over.set()
        return future

    async def leaving(self: AsyncClient, *error: Any) -> None:
        await leave(self, *error)
        is_handed_over.clear()
        calls.append(threads.submit(client._call, asyncio.Event().wait))
        assert is_handed_over.wait(DEADLINE_S), "the loop has no step until then"

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", handing_over)
    monkeypatch.setattr(AsyncClient, "__aexit__", leaving)
    calls: list[Future[bool]] = []
    with ThreadPoolExecutor(2) as threads:
        with Client(served.url) as client:
            calls.append(threads.submit(client._call, asyncio.Event().wait))
            assert is_handed_over.wait(DEADLINE_S)
        for call in calls:
            with pytest.raises(Disconnected, match="the client was closed"):
                call.result(DEADLINE_S)
    assert len(calls) == 2


def test_no_server(served: Served) -> None:
    nobody = Client("ws://127.0.0.1:1", open_timeout_s=0.1)
    with pytest.raises(Disconnected, match=r"no server at ws://127\.0\.0\.1:1 within"):
        nobody.__enter__()
    with Client(served.url):
        pass


def test_an_error_of_the_block_goes_its_way(served: Served) -> None:
    with pytest.raises(KeyError, match="its own"), Client(served.url):
        raise KeyError("its own")


def test_a_store_is_gone_on_with_and_is_for_one(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    with Client(served.url, store=SqliteStore(path)) as client:
        client.subscribe("a")
        until(lambda: client.saved_position)
        with pytest.raises(StoreError, match="in use"), Client(served.url, store=SqliteStore(path)):
            raise AssertionError("the file is in use")
    with pytest.raises(KeyError), Client(served.url, store=SqliteStore(path)):
        raise KeyError  # before it has asked for anything
    with Client(served.url, store=SqliteStore(path)) as client:
        assert client.saved_position is not None
        assert len(client.subscribe("a").rows) == ACCOUNTS


PROGRAM = """
import sys
from tidewire import SqliteStore
from tidewire.blocking import Client
{}
"""
WAITING = """
with Client(sys.argv[1], store=SqliteStore(sys.argv[2])) as client:
    a = client.subscribe("a")
    print("following", flush=True)
    for commit in a.commits():
        pass
"""
OPENING = """
print("following", flush=True)
with Client("ws://127.0.0.1:1", open_timeout_s=60):
    pass
"""
FORGETFUL = """
client = Client(sys.argv[1], store=SqliteStore(sys.argv[2]))
client.__enter__()
print(len(client.subscribe("a").rows), flush=True)
"""


@pytest.mark.parametrize("body", [WAITING, OPENING])
def test_ctrl_c_ends_a_program(served: Served, tmp_path: Path, body: str) -> None:
    path = tmp_path / "rows.db"
    command = ("-c", PROGRAM.format(body), served.url, str(path))
    program = Background(*command, said="following")
    before = time.monotonic()
    assert program.stop(signal.SIGINT) == -signal.SIGINT
    assert time.monotonic() - before < 5
    if body == WAITING:
        store = SqliteStore(path)
        saved = store.open()
        store.close()
        assert saved is not None
        assert len(saved.tables[0][1].rows) == ACCOUNTS


def test_a_program_that_never_leaves_the_block_ends(served: Served, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM.format(FORGETFUL), served.url, str(tmp_path / "x.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ACCOUNTS}\n", "")


# --- the position of a write ---


def test_the_position_of_a_write(served: Served) -> None:
    with psycopg.connect(served.database_url) as connection:
        connection.execute("INSERT INTO a VALUES (77, 7)")
        with pytest.raises(ValueError, match="commit, then ask"):
            position(connection)
        connection.commit()
        with Client(served.url) as client:
            a = client.subscribe("a")
            client.wait_for(position(connection))
            assert a.rows[77] == {"id": 77, "n": 7}


def test_a_connection_that_does_not_block_is_refused(served: Served) -> None:
    async def ask() -> None:
        async with await psycopg.AsyncConnection.connect(served.database_url) as connection:
            with pytest.raises(TypeError, match=r"`await tidewire.position\(...\)`"):
                position(connection)

    asyncio.run(ask())
