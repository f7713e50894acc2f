"""Goal: everything that needs no socket can be done with curl. Method: a server, plain requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from lab.tests.coordinator.kit import DEADLINE_S, Agent, Json, call, http, running
from tidelab.coordinator import Options, serve
from tidelab.coordinator.v2.gate import Tokens
from tidelab.errors import ConfigurationError


def play(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


async def seen(url: str) -> None:
    """Wait until a request has come that makes a run."""
    async with asyncio.timeout(DEADLINE_S):
        while not (await call(url, "GET", "/v2/runs"))["ok"]["runs"]:
            pass


def test_two_meet_with_two_requests() -> None:
    async def scene() -> None:
        async with running() as url, asyncio.TaskGroup() as tasks:
            both = [
                tasks.create_task(call(url, "POST", f"/v2/runs/r/barriers/b?agent={name}&target=2"))
                for name in "ab"
            ]
            told = [(await each)["ok"] for each in both]
            assert {each["rank"] for each in told} == {0, 1}
            assert len({each["start_at_ms"] for each in told}) == 1
            assert all(each["start_at_ms"] > time.time() * 1000 for each in told)
            late = await call(url, "POST", "/v2/runs/r/barriers/b?agent=late&target=2")
            assert late["ok"]["start_at_ms"] == told[0]["start_at_ms"]

    play(scene())


def test_a_poll_ends_and_the_place_is_kept() -> None:
    async def scene() -> None:
        async with running() as url:
            path = "/v2/runs/r/barriers/b?agent=a&target=2&poll_s=0.05"
            waiting = await call(url, "POST", path)
            assert waiting["ok"] == {"barrier": "b", "generation": 1, "arrived": 1, "needed": 2}
            other = await call(url, "POST", "/v2/runs/r/barriers/b?agent=b", {"target": 2})
            assert other["ok"]["rank"] == 1
            assert (await call(url, "POST", path))["ok"]["rank"] == 0

    play(scene())


def test_keys_signals_and_topics() -> None:
    async def scene() -> None:
        async with running() as url:
            put = await call(url, "PUT", "/v2/runs/r/keys/k?if_version=0", {"a": 1})
            assert put == {"status": 200, "ok": {"key": "k", "version": 1}}
            again = await call(url, "PUT", "/v2/runs/r/keys/k?if_version=0", 2)
            assert (again["status"], again["error"]["code"]) == (409, "conflict")
            status, head, body = await http(url, "GET", "/v2/runs/r/keys/k")
            assert (status, head["content-type"]) == (200, "application/json")
            assert body == b'{"ok":{"key":"k","version":1,"value":{"a": 1}}}\n'
            for sequence in (1, 2):
                told = await call(url, "POST", "/v2/runs/r/signals/s")
                assert told["ok"]["sequence"] == sequence
            for _ in range(2):
                told = await call(url, "POST", "/v2/runs/r/signals/s?agent=a&once=x")
                assert told["ok"]["sequence"] == 3, "a repeat raises nothing"
            assert (await call(url, "GET", "/v2/runs/r/signals/s?count=3"))["ok"]["count"] == 3
            async with asyncio.timeout(5):  # far less than the next thing that happens by itself
                late = await call(url, "GET", "/v2/runs/r/signals/s?count=9&timeout_s=0.05")
            assert (late["status"], late["error"]["code"]) == (504, "timeout")
            await call(url, "POST", "/v2/runs/r/topics/t", ["x"])
            told = await call(url, "GET", "/v2/runs/r/topics/t?offset=1")
            assert told["ok"]["events"] == [{"offset": 1, "data": ["x"]}]
            assert (await call(url, "DELETE", "/v2/runs/r/keys/k"))["ok"] == {}
            assert (await call(url, "GET", "/v2/runs/r/keys/k"))["status"] == 404

    play(scene())


def test_a_reader_that_waits_gets_the_next_event() -> None:
    async def scene() -> None:
        async with running() as url, asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(call(url, "GET", "/v2/runs/r/topics/t?wait_s=20"))
            await seen(url)
            await call(url, "POST", "/v2/runs/r/topics/t", 1)
            assert (await reader)["ok"]["events"][0]["data"] == 1

    play(scene())


def test_who_looks_is_told_what_is_newer() -> None:
    async def scene() -> None:
        async with running() as url, asyncio.TaskGroup() as tasks:
            agent = await Agent.join(url, "a")
            seen = (await call(url, "GET", "/v2/runs/r?after=0&wait_s=20"))["ok"]["version"]
            path = f"/v2/runs/r?after={seen}&wait_s=20"
            looking = [tasks.create_task(call(url, "GET", path)) for _ in range(3)]
            idle = await call(url, "GET", f"/v2/runs/r?after={seen}&wait_s=0.05")
            assert idle["ok"]["version"] == seen
            await agent.ok("beat", doing="page 3")
            for each in looking:
                assert (await each)["ok"]["agents"][0]["did"] == "page 3"
            await agent.close()

    play(scene())


def test_agents_come_beat_and_leave_and_runs_are_dropped() -> None:
    async def scene() -> None:
        async with running() as url:
            joined = await call(url, "PUT", "/v2/runs/r/agents/a", {"lease_s": 60, "size": 1})
            assert joined["ok"]["agent"] == "a"
            beat = await call(url, "POST", "/v2/runs/r/agents/a", {"doing": "page 3"})
            assert abs(beat["ok"]["now_ms"] - time.time() * 1000) < 5_000
            story = await call(url, "GET", "/v2/runs/r")
            assert story["ok"]["agents"][0]["state"] == "present"
            assert "page 3" in story["ok"]["agents"][0]["doing"]
            await call(url, "DELETE", "/v2/runs/r/agents/a")
            story = await call(url, "GET", "/v2/runs/r")
            assert story["ok"]["agents"][0]["state"] == "left"
            assert [run["run"] for run in (await call(url, "GET", "/v2/runs"))["ok"]["runs"]] == [
                "r"
            ]
            assert (await call(url, "DELETE", "/v2/runs/r"))["status"] == 200
            assert (await call(url, "GET", "/v2/runs"))["ok"]["runs"] == []

    play(scene())


def test_health_index_and_page() -> None:
    async def scene() -> None:
        async with running() as url:
            assert (await http(url, "GET", "/v2/health"))[2] == b'{"status":"ok"}\n'
            index = await call(url, "GET", "/v2")
            assert index["paths"]["POST /v2/runs/RUN/barriers/NAME"] == "wait"
            _, head, body = await http(url, "GET", "/v2/")
            assert head["content-type"] == "text/html; charset=utf-8"
            assert head["content-security-policy"].startswith("default-src 'none'; script-src 'sha")
            assert b"http" not in body.replace(b"http-equiv", b""), "nothing comes from elsewhere"
            assert (await http(url, "GET", "/v2/", Host="evil.test"))[0] == 403

    play(scene())


TOKENS = Tokens(observer=("see",), agent=("do",), admin=("all", "more"))


@pytest.mark.parametrize(
    ("token", "statuses"),
    [
        (None, (401, 401, 401)),
        ("Bearer wrong", (401, 401, 401)),
        ("Basic see", (401, 401, 401)),
        ("Bearer", (401, 401, 401)),
        ("Bearer see", (200, 403, 403)),
        ("bearer do", (200, 200, 403)),
        ("Bearer more", (200, 200, 200)),
    ],
)
def test_a_token_opens_what_its_role_may_do(token: str | None, statuses: tuple[int, ...]) -> None:
    async def scene() -> None:
        options = Options(http_port=0, tokens=TOKENS)
        async with running(options) as url:
            headers = {} if token is None else {"Authorization": token}
            await call(url, "POST", "/v2/runs/r/signals/s", Authorization="Bearer all")
            asked = (
                ("GET", "/v2/runs"),
                ("POST", "/v2/runs/r/signals/s"),
                ("DELETE", "/v2/runs/r"),
            )
            found = [(await call(url, *each, **headers))["status"] for each in asked]
            assert tuple(found) == statuses
            assert (await http(url, "GET", "/v2/health"))[0] == 200

    play(scene())


def test_pages_and_foreign_names_are_refused() -> None:
    async def scene() -> None:
        options = Options(
            http_port=0, allowed_hosts=("lab.test",), allowed_origins=("https://lab.test/",)
        )
        async with running(options) as url:

            async def status(**headers: str) -> int:
                return (await http(url, "GET", "/v2/runs", **headers))[0]

            assert await status(Host="evil.test") == 403
            assert await status(Host="LAB.test:1") == 200
            assert await status(Host="[::1]:9") == 200
            assert await status(Host="a b") == 403
            assert await status(Origin="https://evil.test") == 403
            assert await status(Origin="https://lab.test") == 200

    play(scene())


def test_an_image_on_a_page_of_another_site_does_nothing() -> None:
    """A GET may come without an Origin, and by `agent=` it would make a run and an agent."""

    async def scene() -> None:
        async with running(Options(http_port=0, allowed_origins=("https://lab.test",))) as url:
            path = "/v2/runs/r/signals/s?agent=gw0&timeout_s=0.001"
            for site in ("cross-site", "same-site"):
                for asked in (path, "/v2/runs", "/v2", "/metrics"):
                    assert (await http(url, "GET", asked, **{"Sec-Fetch-Site": site}))[0] == 403
                link = await http(url, "GET", "/v2/", **{"Sec-Fetch-Site": site})
                assert link[0] == 200, "a page may link to ours"
            assert (await call(url, "GET", "/v2/runs"))["ok"]["runs"] == []
            for fine in (
                {"Sec-Fetch-Site": "none"},  # an address that somebody typed
                {"Sec-Fetch-Site": "same-origin"},  # our own page
                {"Sec-Fetch-Site": "cross-site", "Origin": "https://lab.test"},
            ):
                assert (await http(url, "GET", "/v2/runs", **fine))[0] == 200

    play(scene())


def test_a_method_that_a_path_does_not_take_is_told_which_it_takes() -> None:
    async def scene() -> None:
        async with running() as url:
            status, head, _ = await http(url, "PATCH", "/v2/runs/r/keys/k")
            assert (status, head["allow"]) == (405, "DELETE, GET, PUT")

    play(scene())


def test_tokens_are_not_shown() -> None:
    assert "all" not in repr(Options(tokens=TOKENS)).replace("allowed", "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "0.0.0.0"}, "at least one token is needed"),
        ({"tokens": Tokens(agent=("",))}, "a token is empty"),
        ({"tls_key": Path("k")}, "a certificate and its key"),
    ],
)
def test_what_would_not_be_safe_is_not_started(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Options(**options)


def test_a_port_that_is_taken_and_a_wrong_certificate_are_one_clear_line(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running() as url:
            taken = Options(http_port=int(url.rpartition(":")[2]))
            with pytest.raises(
                ConfigurationError, match=r"cannot listen on 127.0.0.1:\d+: Address"
            ):
                await serve(taken, asyncio.Event())
        none = Options(http_port=0, tls_certificate=tmp_path / "c", tls_key=tmp_path / "k")
        with pytest.raises(ConfigurationError, match="cannot use certificate"):
            await serve(none, asyncio.Event())

    play(scene())


def test_who_waits_by_http_is_told_that_the_server_stops() -> None:
    async def scene() -> None:
        waiting: asyncio.Task[Json] | None = None
        async with asyncio.TaskGroup() as tasks, running() as url:
            waiting = tasks.create_task(call(url, "POST", "/v2/runs/r/barriers/b?agent=a&target=2"))
            await seen(url)
        assert waiting is not None
        assert (await waiting)["status"] == 503

    play(scene())
