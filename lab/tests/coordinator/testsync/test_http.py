"""Goal: data of tests survive whatever clients do over HTTP.

Method: real sockets; clients that hurry, dawdle, vanish, and speak of something else.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.testsync.wire import (
    HANDSHAKE,
    PATIENCE_S,
    agent,
    ask,
    basic,
    raw,
    read_answer,
    request,
    send_raw,
    server,
)
from tidelab.coordinator import listener
from tidelab.coordinator.testsync import app
from tidelab.coordinator.testsync import storage as storage_module
from tidelab.core.coord.testsync.limits import POST_BYTES_MAX

KINDS = ("memory", "sqlite")
OURS = {"Authorization": basic()}


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_the_steps_of_the_original_s_own_program(kind: str, tmp_path: Path) -> None:
    """Post, get, and over the socket read, count and pass a checkpoint alone, as Go writes it."""
    async with server(tmp_path / "t.db" if kind == "sqlite" else None) as at:
        for method, body in (("POST", b"payload-e2e"), ("GET", b"")):
            got = await request(at.http_url, method, "/tests/12345", OURS, body)
            assert (got.status, got.body) == (200, b"payload-e2e")
        async with agent(at, 12345) as client, asyncio.timeout(5):
            read = await ask(client, '{"command":"read_data","content":{}}')
            assert read == b"payload-e2e"
            count = await ask(client, '{"command":"get_connection_count","content":{}}')
            assert count == '{"command":"get_connection_count","content":{"count":1}}'
            passed = await ask(
                client,
                '{"command":"wait_checkpoint",'
                '"content":{"identifier":"checkpoint-1","target_count":1}}',
            )
            assert str(passed).startswith('{"command":"wait_checkpoint","content":{')


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_of_many_posts_at_once_one_succeeds(kind: str, tmp_path: Path) -> None:
    async with server(tmp_path / "t.db" if kind == "sqlite" else None) as at:
        for test_id in range(20):
            path = f"/tests/{test_id}"
            async with asyncio.TaskGroup() as tasks:
                posts = [
                    tasks.create_task(request(at.http_url, "POST", path, OURS, b"%d" % number))
                    for number in range(8)
                ]
            won = [each.result().body for each in posts if each.result().status == 200]
            lost = [each for each in posts if each.result().status == 409]
            assert (len(won), len(lost)) == (1, 7)
            assert (await request(at.http_url, "GET", path, OURS)).body == won[0]


@on_loop
async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "REQUEST_S", 0.2)
    async with server() as at:
        head = f"POST /tests/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\n"
        got = await send_raw(at.http_url, f"{head}Content-Length: 10\r\n\r\nabc".encode())
        assert (got.status, got.body) == (503, b'{"code":503,"error":"Request timed out"}')
        assert got.headers["content-type"] == "text/plain; charset=utf-8"
        assert got.headers["content-length"] == "40"
        assert (await request(at.http_url, "GET", "/tests/1", OURS)).status == 404


@on_loop
async def test_a_client_that_vanishes_in_a_body_leaves_nothing_behind() -> None:
    async with server() as at:
        async with raw(at.http_url) as (_, writer):
            head = f"POST /tests/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\n"
            writer.write(f"{head}Content-Length: 10\r\n\r\nabc".encode())
            await writer.drain()
        for _ in range(20):
            assert (await request(at.http_url, "GET", "/tests/1", OURS)).status == 404


@on_loop
async def test_a_body_far_too_large_is_answered_when_it_is_over() -> None:
    async with server() as at:
        body = b"a" * (3 * POST_BYTES_MAX)
        assert (await request(at.http_url, "POST", "/tests/1", OURS, body)).status == 413
        assert (await request(at.http_url, "GET", "/tests/1", OURS)).status == 404


@on_loop
async def test_two_requests_share_a_connection() -> None:
    async with server() as at, raw(at.http_url) as (answers, writer):
        for _ in range(2):
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_answer(answers)).body == b'{"status":"ok"}'


@on_loop
async def test_a_client_that_says_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REQUEST_S", 0.3)
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    async with server() as at, AsyncExitStack() as stack:
        silent = []
        for url in (at.http_url, at.ws_url):
            for silence in (b"", b"GET /health HT", health + b"GET /he"):
                answers, writer = await stack.enter_async_context(raw(url))
                writer.write(silence)
                silent.append(answers)
        async with asyncio.timeout(PATIENCE_S):
            for answers in silent:
                with contextlib.suppress(ConnectionResetError):
                    await answers.read()


@on_loop
async def test_a_database_that_is_locked_is_told_and_nobody_else_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storage_module, "DATABASE_BUSY_S", 0.2)
    async with server(tmp_path / "t.db") as at, agent(at, 1) as client, agent(at, 1) as other:
        with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as thief:
            thief.execute("BEGIN EXCLUSIVE")
            posted = asyncio.get_running_loop().create_task(
                request(at.http_url, "POST", "/tests/1", OURS, b"x")
            )
            count = await ask(other, '{"command":"get_connection_count"}')
            assert '"count":2' in str(count)
            assert (await posted).body == b'{"code":500,"error":"Could not store data"}\n'
            told = await ask(client, '{"command":"update_data","content":1}')
            assert told == (
                '{"command":"error","content":{"code":500,"error":"SQLite: database is locked"}}'
            )
        assert await ask(client, '{"command":"read_data"}') == b""
        assert (await request(at.http_url, "POST", "/tests/1", OURS, b"x")).status == 200


@on_loop
async def test_the_other_protocol_has_all_below_its_prefix() -> None:
    async with server() as at:
        assert (await request(at.http_url, "GET", "/v20")).status == 404
        assert (await request(at.http_url, "GET", "/health")).body == b'{"status":"ok"}'
        ours = {"Host": "localhost"}
        for path in ("/v2", "/v2/health", "/metrics"):
            assert (await request(at.http_url, "GET", path, ours)).status == 200
        refused = await request(at.http_url, "GET", "/tests/1", {**HANDSHAKE, **OURS})
        assert refused.status == 403, "sockets of agents have a port of their own"


@on_loop
async def test_alone_it_is_what_it_was() -> None:
    async with server(has_v2=False, host="0.0.0.0") as at:
        for path in ("/v2", "/v2/health", "/metrics"):
            assert (await request(at.http_url, "GET", path)).body == b"404 page not found\n"
