"""Goal: `tidelab agents serve` starts, ends, and refuses to start as clearly as can be.

Method: the real command as a process, with real signals; and the typer app for what needs neither.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tidelab.cli.app import app
from tidelab.core.coord.testsync.meetings import Meetings, Tell

DEADLINE_S = 30.0
POSTED = b"\x00 kept \xff"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["agents", "serve", *map(str, arguments)])


def configure(folder: Path, **settings: Any) -> Path:
    defaults = {"http_port": 0, "ws_port": 0, "logging": {"dir": str(folder)}}
    (folder / "configuration.json").write_text(json.dumps({**defaults, **settings}))
    return folder


def sqlite(folder: Path) -> dict[str, str]:
    return {"type": "sqlite", "sqlite_path": str(folder / "t.db")}


@contextlib.contextmanager
def serving(
    folder: Path, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start the command; give the process and its first line. It is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tidelab", "agents", "serve", "--json", *arguments]
        + ["-c", str(folder)] * (folder / "configuration.json").exists(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=DEADLINE_S)[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def call(url: str, data: bytes | None = None) -> bytes:
    header = {"Authorization": "Basic Og=="}
    request = urllib.request.Request(url, data, header, method="GET" if data is None else "POST")
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_is_stopped_and_says_goodbye(tmp_path: Path, number: int, code: int) -> None:
    with serving(configure(tmp_path)) as (process, start):
        assert start["pid"] == process.pid
        assert start["storage"] == "memory"
        with connect(f"{start['ws_url']}/register/1", proxy=None) as agent:
            process.send_signal(number)
            out, err = process.communicate(timeout=DEADLINE_S)
            with pytest.raises(EOFError):
                read_until_closed(agent)
            assert (agent.close_code, agent.close_reason) == (1001, "the server stops")
        assert (process.returncode, out, err) == (code, "", "")


def read_until_closed(agent: Any) -> None:
    for _ in agent:
        pass
    raise EOFError


def test_data_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    folder = configure(tmp_path, storage=sqlite(tmp_path))
    with serving(folder) as (process, start):
        assert start["storage"] == str(tmp_path / "t.db")
        for test_id in range(20):
            assert call(f"{start['http_url']}/tests/{test_id}", POSTED) == POSTED
        process.kill()
    with serving(folder) as (_, start):
        for test_id in range(20):
            assert call(f"{start['http_url']}/tests/{test_id}") == POSTED


def test_the_log_has_neither_data_nor_credentials(tmp_path: Path) -> None:
    names = {"username": "aSecretName", "password": "aSecretWord"}
    folder = configure(
        tmp_path, sync_client=names, logging={"dir": str(tmp_path), "level": "DEBUG"}
    )
    with serving(folder) as (process, start):
        query = f"username={names['username']}&password={names['password']}"
        with connect(f"{start['ws_url']}/register/1?{query}", proxy=None) as agent:
            agent.send('{"command":"update_data","content":"someSecretData"}')
            agent.send('{"command":"read_data"}')
            assert agent.recv(DEADLINE_S) == b'"someSecretData"'
        process.terminate()
        out, err = process.communicate(timeout=DEADLINE_S)
    log = (tmp_path / "test-sync.log").read_text()
    assert "INFO test 1: an agent came" in log
    assert "ecret" not in log + out + err


def test_a_log_that_cannot_be_written_goes_to_stderr(tmp_path: Path) -> None:
    folder = configure(tmp_path, logging={"dir": str(tmp_path / "nowhere")})
    with serving(folder) as (process, _):
        process.terminate()
        _, err = process.communicate(timeout=DEADLINE_S)
    assert "test-sync.log cannot be written, this is used instead" in err
    assert process.returncode == 0


def test_an_unknown_storage_is_a_warning_and_memory(tmp_path: Path) -> None:
    with serving(configure(tmp_path, storage={"type": "redis"})) as (process, start):
        assert start["storage"] == "memory"
        process.terminate()
        _, err = process.communicate(timeout=DEADLINE_S)
    assert "tidelab: warning: storage.type 'redis' is not known" in err
    assert "storage.type 'redis' is not known" in (tmp_path / "test-sync.log").read_text()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("-c", configure(tmp_path, ws_port=port))
    assert result.exit_code == 2
    assert result.stderr == f"tidelab: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_ours_is_one_line(tmp_path: Path, host: str) -> None:
    names = {"username": "a", "password": "b"}
    result = run("-c", configure(tmp_path, host=host, sync_client=names))
    assert result.exit_code == 2
    assert re.search(f"^tidelab: cannot listen on {host}:0: .+\n$", result.stderr, re.MULTILINE)


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "t.db"
    storage = {"type": "sqlite", "sqlite_path": str(path)}
    result = run("-c", configure(tmp_path, storage=storage))
    assert result.exit_code == 2
    assert result.stderr == (
        f"tidelab: storage.sqlite_path: cannot use {path}: unable to open database file\n"
    )


def test_a_configuration_that_is_missing_or_broken_is_one_line(tmp_path: Path) -> None:
    missing = run("-c", tmp_path)
    assert missing.exit_code == 2
    assert f"there is no {tmp_path / 'configuration.json'}" in missing.stderr
    (tmp_path / "configuration.json").write_text('{"http_port": "x", "ws_port": 70000}')
    broken = run("-c", tmp_path, "--check")
    assert broken.exit_code == 2
    assert "http_port must be a number" in broken.stderr
    assert "ws_port must be a number" in broken.stderr
    assert broken.stderr.count("\n") == 1
    folder = tmp_path / "folder"
    (folder / "configuration.json").mkdir(parents=True)
    assert "cannot be read: Is a directory" in run("-c", folder).stderr


def test_a_check_reads_and_starts_nothing(tmp_path: Path) -> None:
    configure(tmp_path, storage=sqlite(tmp_path), http_prot=1, sync_client={"password": "secret"})
    plain = run("--configDir", tmp_path, "--check")
    assert plain.exit_code == 0
    assert "is http_port meant?" in plain.stderr
    assert "credentials: needed" in plain.stdout
    assert "secret" not in plain.output
    found = json.loads(run("-c", tmp_path, "--check", "--json").stdout)
    assert (found["storage"], found["ws_port"]) == (str(tmp_path / "t.db"), 0)
    assert len(found["warnings"]) == 1
    assert not (tmp_path / "t.db").exists()


def test_help_has_examples() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("tidelab agents serve -c ./config", "--check", "--json", "--configDir"):
        assert word in result.output


def test_what_the_documentation_shows_is_so(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "testsync.md").read_text()
    settings, told = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (tmp_path / "configuration.json").write_text(settings)
    checked = run("-c", tmp_path, "--check", "--json")
    assert json.loads(checked.stdout)["warnings"] == []
    meetings = Meetings(0)
    deed = meetings.receive(meetings.register(1), b'{"command":"reed_data"}', 0)
    assert isinstance(deed, Tell)
    assert deed.text.decode() == told.strip()


# --- /v2 beside it ---

ANY_PORTS = ("--http-port", "0", "--ws-port", "0")
SECRET = "0123456789abcdef"


def ask(url: str, method: str = "GET", token: str = "", data: bytes | None = None) -> Any:
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}"}, method=method)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return json.loads(answer.read())


def test_without_a_configuration_it_starts_with_defaults_and_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, *ANY_PORTS) as (process, start):
        base = start["http_url"]
        assert start == {
            "http_url": base, "pid": process.pid, "v2_url": f"{base}/v2", "store": "memory",
            "connect_url": f"{base.replace('http', 'ws')}/v2/connect", "page_url": f"{base}/v2/",
            "ws_url": start["ws_url"], "storage": "memory",
        }  # fmt: skip
        assert base.startswith("http://127.0.0.1:")
        assert ask(f"{start['v2_url']}/health") == {"status": "ok"}
        assert call(f"{base}/tests/1", POSTED) == POSTED
        process.terminate()
        _, err = process.communicate(timeout=DEADLINE_S)
    assert err == "tidelab: there is no config/configuration.json: defaults are used\n"
    assert list(tmp_path.iterdir()) == [], "nothing is left in the folder"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_who_waits_is_told_that_it_stops(tmp_path: Path, number: int, code: int) -> None:
    with serving(tmp_path, *ANY_PORTS, "--no-testsync") as (process, start):
        assert "ws_url" not in start
        with connect(start["connect_url"], proxy=None) as agent:
            agent.send('{"id":1,"do":"join","run":"r","agent":"a"}')
            agent.send('{"id":2,"do":"wait","barrier":"b","target":2}')
            agent.send('{"id":3,"do":"raise","signal":"s"}')
            told = [json.loads(agent.recv(DEADLINE_S)) for _ in range(2)]
            assert [each["id"] for each in told] == [1, 3]
            process.send_signal(number)
            assert process.wait(DEADLINE_S) == code
            with pytest.raises(ConnectionClosed):
                agent.recv(DEADLINE_S)
            assert agent.close_code == 1012


def test_a_store_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    arguments = (*ANY_PORTS, "--store", str(tmp_path / "v2.db"))
    with serving(tmp_path, *arguments) as (process, start):
        assert start["store"] == str(tmp_path / "v2.db")
        ask(f"{start['v2_url']}/runs/r/keys/k", "PUT", data=b"[1]")
        process.kill()
    with serving(tmp_path, *arguments) as (_, start):
        assert ask(f"{start['v2_url']}/runs/r/keys/k")["ok"]["value"] == [1]


def test_tokens_come_from_the_environment_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"# ours\nadmin {SECRET}-admin # and no other\n\n")
    arguments = (*ANY_PORTS, "--tokens", str(tmp_path / "tokens"), "--host", "0.0.0.0")
    with serving(tmp_path, *arguments, TIDELAB_OBSERVER_TOKENS=f"{SECRET} {SECRET}2") as (
        process,
        start,
    ):
        url = start["v2_url"].replace("0.0.0.0", "127.0.0.1")
        for token in (f"{SECRET}2", f"{SECRET}-admin"):
            assert ask(f"{url}/runs", token=token)["ok"]["runs"] == []
        for method, token, code in (("GET", "", 401), ("PUT", SECRET, 403)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                ask(f"{url}/runs/r/keys/k", method, token, b"1")
            assert refused.value.code == code
            refused.value.close()
        process.terminate()
        assert SECRET not in "".join(process.communicate(timeout=DEADLINE_S))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("king 0123456789abcdef", "tokens T, line 1: write a role and a token; roles: observer, "),
        ("admin", "tokens T, line 1: write a role and a token"),
        ("admin short", "a token of the role admin has fewer than 16 characters"),
        (None, "tokens T cannot be read: No such file or directory"),
    ],
)
def test_tokens_that_cannot_be_meant_are_one_line(
    tmp_path: Path, line: str | None, words: str
) -> None:
    path = tmp_path / "tokens"
    if line is not None:
        path.write_text(line)
    result = run("-c", configure(tmp_path), "--tokens", path)
    assert result.exit_code == 2
    assert result.stderr.startswith("tidelab: " + words.replace(" T", f" {path}"))
    assert "0123456789" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_old_configuration_for_a_network_serves_old_clients_only(tmp_path: Path) -> None:
    names = {"username": "a", "password": "b"}
    folder = configure(tmp_path, host="0.0.0.0", sync_client=names)
    with serving(folder) as (process, start):
        assert "v2_url" not in start
        process.terminate()
        _, err = process.communicate(timeout=DEADLINE_S)
    assert err == (
        "tidelab: warning: /v2 is not served: to listen on 0.0.0.0 it needs tokens, see --help\n"
    )
    alone = run("-c", folder, "--no-testsync")
    assert (alone.exit_code, alone.stderr) == (
        2, "tidelab: to listen on 0.0.0.0 at least one token is needed\n",
    )  # fmt: skip


def test_what_v2_cannot_use_is_one_line(tmp_path: Path) -> None:
    folder = configure(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        used = run("-c", folder, "--http-port", str(port))
        assert (
            used.stderr == f"tidelab: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        )
    (tmp_path / "c.pem").write_text("no certificate")
    for arguments, words in (
        (
            ("--store", tmp_path / "nowhere" / "v2.db"),
            "give a file in a folder that can be written",
        ),
        (("--store", tmp_path), "unable to open database file"),
        (("--tls-key", tmp_path / "k.pem"), "TLS needs both, a certificate and its key"),
        (
            ("--tls-certificate", tmp_path / "c.pem", "--tls-key", tmp_path / "k.pem"),
            "cannot use certificate",
        ),
    ):
        result = run("-c", folder, *arguments)
        assert result.exit_code == 2
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_disk_that_fails_ends_it_with_one_line(tmp_path: Path) -> None:
    """What cannot be kept is not answered: the file is made unusable while agents are there."""
    path = tmp_path / "v2.db"
    with serving(tmp_path, *ANY_PORTS, "--no-testsync", "--store", str(path)) as (process, start):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (path.stat().st_size, -1))
        large = b'"' + b"x" * 100_000 + b'"'
        with pytest.raises((urllib.error.URLError, ConnectionError, HTTPException)) as broken:
            ask(f"{start['v2_url']}/runs/r/keys/k", "PUT", data=large)
        assert not isinstance(broken.value, urllib.error.HTTPError)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith(f"tidelab: storage {path}: ")
    assert "Traceback" not in err
