"""Goal: what a coordinator cannot use is one line and a code, and nobody who is served notices.

Method: one table of wrong options, configurations and files, tried beside a coordinator that is
running; at it an agent of each protocol waits for others all the while. Then disks that fail while
agents are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sqlite3
import subprocess
import urllib.error
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import pytest
from websockets.sync.client import ClientConnection, connect

from lab.tests.cli.kit import (
    ANY_PORTS,
    DEADLINE_S,
    POSTED,
    ask,
    call,
    configure,
    run,
    serving,
    sqlite,
)
from tidelab.coordinator.storage.sqlite import SqliteStorage
from tidelab.core.coord.record import Record

RUN = "runs/r"


class Wrong(NamedTuple):
    """Options and a configuration with which nothing starts, and what is said about them.

    $folder is where all files are, $http and $ws are ports in use, $store and $data files in use.
    """

    options: str
    configuration: dict[str, Any]
    words: str


NAMES = {"username": "a", "password": "b"}
NOWHERE = {"type": "sqlite", "sqlite_path": "$folder/nowhere/t.db"}
NO_DATABASE = {"type": "sqlite", "sqlite_path": "$folder/c.pem"}
STARTS = (
    # a port in use, an address of somebody else
    Wrong("--http-port $http", {}, "cannot listen on 127.0.0.1:$http: Address already in use"),
    Wrong("--ws-port $ws", {}, "cannot listen on 127.0.0.1:$ws: Address already in use"),
    Wrong("", {"http_port": "$http"}, "cannot listen on 127.0.0.1:$http: Address already in use"),
    Wrong("", {"ws_port": "$ws"}, "cannot listen on 127.0.0.1:$ws: Address already in use"),
    Wrong("", {"host": "192.0.2.1", "sync_client": NAMES}, "cannot listen on 192.0.2.1:0: "),
    Wrong("", {"host": "no.such.host.invalid", "sync_client": NAMES}, "cannot listen on no.such.h"),
    Wrong("--host 0.0.0.0 --no-testsync", {}, "to listen on 0.0.0.0 at least one token is needed"),
    # a database that cannot be used
    Wrong("--store $store", {}, "another coordinator uses it; give each its own file"),
    Wrong("--store $folder/nowhere/v2.db", {}, "give a file in a folder that can be written"),
    Wrong("--store $folder/c.pem/v2.db", {}, "give a file in a folder that can be written"),
    Wrong("--store $folder", {}, "unable to open database file"),
    Wrong("--store $folder/c.pem", {}, "file is not a database"),
    Wrong("--store $data", {}, "another coordinator uses it; give each its own file"),
    Wrong("--store $folder/other.db", {}, "this is another program's database"),
    Wrong("--store $folder/strange.db", {}, "what was kept cannot be read: "),
    Wrong("", {"storage": NOWHERE}, "storage.sqlite_path: cannot use $folder/nowhere/t.db: "),
    Wrong("", {"storage": NO_DATABASE}, "storage.sqlite_path: cannot use $folder/c.pem: file "),
    # secrets that cannot be meant
    Wrong("--tls-key $folder/k.pem", {}, "TLS needs both, a certificate and its key"),
    Wrong("--tls-certificate $folder/c.pem --tls-key $folder/k.pem", {}, "cannot use certificate "),
    Wrong("--tokens $folder/king", {}, "tokens $folder/king, line 1: write a role and a token; "),
    Wrong("--tokens $folder/alone", {}, "tokens $folder/alone, line 1: write a role and a token"),
    Wrong("--tokens $folder/short", {}, "of the role admin has fewer than 16 characters"),
    Wrong("--tokens $folder/none", {}, "tokens $folder/none cannot be read: No such file or dir"),
    # configurations
    Wrong("", {"http_port": "x", "ws_port": 70000}, "http_port must be a number"),
    Wrong("", {"http_port": "x", "ws_port": 70000}, "ws_port must be a number"),
    Wrong("-c $folder/nowhere", {}, "there is no $folder/nowhere/configuration.json"),
    Wrong("-c $folder/broken", {}, "$folder/broken/configuration.json"),
    Wrong("-c $folder/folder", {}, "cannot be read: Is a directory"),
)  # fmt: skip


def write_files(folder: Path) -> None:
    for name, text in (
        ("c.pem", "no certificate, and no database either " * 20),
        ("king", "king 0123456789abcdef"), ("alone", "admin"), ("short", "admin short"),
    ):  # fmt: skip
        (folder / name).write_text(text)
    with contextlib.closing(sqlite3.connect(folder / "other.db")) as other:
        other.execute("CREATE TABLE test_data (id)")
    asyncio.run(write_nonsense(folder / "strange.db"))
    (folder / "broken").mkdir()
    (folder / "broken" / "configuration.json").write_text("{")
    (folder / "folder" / "configuration.json").mkdir(parents=True)


async def write_nonsense(path: Path) -> None:
    storage = SqliteStorage(path)
    await storage.commit([Record("r", "key", "k", 0, b"nonsense")])
    await storage.close()


@contextlib.contextmanager
def bystanders(start: dict[str, Any]) -> Iterator[None]:
    """Let an agent of each protocol wait; in the end the one that it waits for comes."""
    v2, data = start["v2_url"], f"{start['http_url']}/tests/1"
    assert ask(f"{v2}/{RUN}/keys/k", "PUT", data=b"[1]")["ok"]["version"] == 1
    assert call(data, POSTED) == POSTED
    new = connect(start["connect_url"], proxy=None)
    old = connect(f"{start['ws_url']}/register/1", proxy=None)
    with new, old:
        send(new, id=1, do="join", run="r", agent="a")
        assert receive(new)["id"] == 1
        send(new, id=2, do="wait", barrier="b", target=2)
        wait = {"identifier": "x", "target_count": 2}
        send(old, command="wait_checkpoint", content=wait)
        yield
        assert ask(f"{v2}/{RUN}/keys/k")["ok"]["value"] == [1]
        assert call(data) == POSTED
        assert ask(f"{v2}/{RUN}/barriers/b?agent=b&target=2", "POST")["ok"]["rank"] == 1
        assert receive(new)["ok"]["arrived"] == 2
        with connect(f"{start['ws_url']}/register/1", proxy=None) as last:
            send(last, command="wait_checkpoint", content=wait)
            assert receive(old) == receive(last)


def send(socket: ClientConnection, **fields: object) -> None:
    socket.send(json.dumps(fields))


def receive(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(DEADLINE_S))
    return message


def test_nothing_starts_and_one_line_says_why(tmp_path: Path) -> None:
    write_files(tmp_path)
    served, tried = tmp_path / "served", tmp_path / "tried"
    served.mkdir()
    tried.mkdir()
    store = str(served / "v2.db")
    configure(served, storage=sqlite(served))
    with serving(served, "--store", store) as (_, start), bystanders(start):
        names = {
            "folder": tmp_path, "store": store, "data": served / "t.db",
            "http": start["http_url"].rpartition(":")[2], "ws": start["ws_url"].rpartition(":")[2],
        }  # fmt: skip
        for options, configuration, words in STARTS:
            filled = Template(json.dumps(configuration)).substitute(names)
            settings = json.loads(filled.replace(f'"{names["http"]}"', names["http"])
                                  .replace(f'"{names["ws"]}"', names["ws"]))  # fmt: skip
            configure(tried, **settings)
            result = run("-c", tried, *Template(options).substitute(names).split())
            *warnings, line = result.stderr.splitlines()
            assert result.exit_code == 2, (options, configuration, line)
            assert line.startswith("tidelab: "), line
            assert Template(words).substitute(names) in line
            assert all(each.startswith("tidelab: warning: ") for each in warnings), warnings
            assert "0123456789abcdef" not in line, "a secret is not shown"


def fill_the_disk(process: subprocess.Popen[str], path: Path) -> None:
    """Let the files of a process grow no more."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (path.stat().st_size, -1))


def test_a_disk_that_fails_ends_v2_with_one_line(tmp_path: Path) -> None:
    """What cannot be kept is not answered: agents come back when there is room again."""
    path = tmp_path / "v2.db"
    with serving(tmp_path, *ANY_PORTS, "--no-testsync", "--store", str(path)) as (process, start):
        fill_the_disk(process, path)
        large = b'"' + b"x" * 100_000 + b'"'
        with pytest.raises((urllib.error.URLError, ConnectionError, HTTPException)) as broken:
            ask(f"{start['v2_url']}/{RUN}/keys/k", "PUT", data=large)
        assert not isinstance(broken.value, urllib.error.HTTPError)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith(f"tidelab: storage {path}: ")
    assert "Traceback" not in err


def test_a_disk_that_fails_is_told_to_old_clients_and_the_rest_goes_on(tmp_path: Path) -> None:
    configure(tmp_path, storage=sqlite(tmp_path))
    large = "x" * 1_000_000
    with serving(tmp_path) as (process, start), bystanders(start):
        fill_the_disk(process, tmp_path / "t.db")
        with pytest.raises(urllib.error.HTTPError) as refused:
            call(f"{start['http_url']}/tests/2", large.encode())
        told = json.loads(refused.value.read())
        refused.value.close()
        assert told == {"code": 500, "error": "Could not store data"}
        with connect(f"{start['ws_url']}/register/2", proxy=None) as agent:
            send(agent, command="update_data", content=large)
            assert receive(agent)["content"]["code"] == 500
            send(agent, command="get_connection_count")
            assert receive(agent)["content"] == {"count": 1}
