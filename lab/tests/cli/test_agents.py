"""Goal: `tidelab agents serve` starts as its options say, and ends as it should.

Method: the real command as a process, with real signals; and the typer app for what needs neither.
"""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

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
from tidelab.core.coord.testsync.meetings import Meetings, Tell


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
    (warning,) = json.loads(checked.stdout)["warnings"]
    assert warning.startswith("/v2 is not served"), "and no key is unknown"
    meetings = Meetings(0)
    deed = meetings.receive(meetings.register(1), b'{"command":"reed_data"}', 0)
    assert isinstance(deed, Tell)
    assert deed.text.decode() == told.strip()


# --- /v2 beside it ---

SECRET = "0123456789abcdef"


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


def test_an_old_configuration_for_a_network_serves_old_clients_only(tmp_path: Path) -> None:
    names = {"username": "a", "password": "b"}
    folder = configure(tmp_path, host="0.0.0.0", sync_client=names)
    with serving(folder) as (process, start):
        assert "v2_url" not in start
        process.terminate()
        _, err = process.communicate(timeout=DEADLINE_S)
    assert err == (
        "tidelab: warning: /v2 is not served: to listen on 0.0.0.0 it needs tokens; "
        "set TIDELAB_AGENT_TOKENS, or use --tokens\n"
    )
    alone = run("-c", folder, "--no-testsync")
    assert alone.exit_code == 2
    assert alone.stderr == (
        "tidelab: to listen on 0.0.0.0 at least one token is needed; "
        "set TIDELAB_AGENT_TOKENS, or use --tokens\n"
    )


def test_a_network_that_old_clients_are_opened_to_by_an_option_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokens are those of /v2: they keep nobody from the ports of old clients."""
    monkeypatch.setenv("TIDELAB_AGENT_TOKENS", SECRET)
    told = "everybody who reaches 0.0.0.0 may take part as a client of TestSync"
    open_ = run("-c", configure(tmp_path), "--host", "0.0.0.0", "--check", "--json")
    assert told in open_.stderr
    assert [told in warning for warning in json.loads(open_.stdout)["warnings"]] == [True]
    for arguments in (("--host", "0.0.0.0", "--no-testsync"), ("--host", "127.0.0.1")):
        closed = run("-c", configure(tmp_path, host="0.0.0.0"), "--check", "--json", *arguments)
        assert (closed.stderr, json.loads(closed.stdout)["warnings"]) == ("", [])
    monkeypatch.delenv("TIDELAB_AGENT_TOKENS")
    names = {"username": "a", "password": "b"}
    half = run("-c", configure(tmp_path, host="0.0.0.0", sync_client=names), "--check", "--json")
    assert "/v2 is not served" in json.loads(half.stdout)["warnings"][0]
