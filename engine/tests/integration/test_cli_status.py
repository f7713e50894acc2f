"""Goal: `tidewire status` tells people and machines how a server is, or in one line why it cannot.

Method: the command in a process of its own, a real engine, and servers that answer something else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from engine.tests.integration.command import TIMEOUT_S, tidewire
from engine.tests.integration.live import Live, eventually, following, in_loop
from engine.tests.integration.node import GUARDED, running
from engine.tests.integration.syncing import only_newest

TOKEN = "a-token-of-this-test"


async def status(url: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {"TIDEWIRE_URL": url, "TIDEWIRE_TOKEN": "", **environ}
    return await asyncio.to_thread(tidewire, "status", *arguments, **environ)


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Answer every request with these bytes; yield the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(body: bytes, code: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {code}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.postgres
@only_newest
@in_loop
async def test_a_server_that_is_ready_says_so_to_people_and_machines(live: Live) -> None:
    await live.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    async with live.engine() as engine, following(engine, "orders"):
        await eventually(lambda: engine.is_ready)
        said = await status(engine.url)
        assert said.returncode == 0, said.stderr
        assert re.search(r"^ready +yes$", said.stdout, re.MULTILINE)
        assert re.search(r"^log +\d+ commits, .*% of its window$", said.stdout, re.MULTILINE)
        assert re.search(r"^connections +1$", said.stdout, re.MULTILINE)
        assert re.search(r"^uptime +\d+ s$", said.stdout, re.MULTILINE)
        for name in engine.status().keys() - {"is_ready", "trouble", "waiting"}:
            assert name.partition("_")[0] in said.stdout, name
        document = json.loads((await status(engine.url, "--json")).stdout)
        assert document.keys() == engine.status().keys()


@pytest.mark.postgres
@only_newest
@in_loop
async def test_a_token_is_asked_for_and_never_told(live: Live) -> None:
    async with live.engine(dev=False, tokens=(TOKEN,)) as engine:
        await eventually(lambda: engine.is_ready)
        without = await status(engine.url)
        assert (without.returncode, without.stdout) == (2, "")
        assert "the token is needed: set TIDEWIRE_TOKEN" in without.stderr
        wrong = await status(engine.url, TIDEWIRE_TOKEN="another-secret")
        assert "the token is not the right one" in wrong.stderr
        assert "another-secret" not in wrong.stderr
        assert (await status(engine.url, TIDEWIRE_TOKEN=TOKEN)).returncode == 0
        assert (await status(engine.url, "--token", TOKEN)).returncode == 0


@pytest.mark.postgres
@only_newest
@in_loop
async def test_it_is_asked_again_until_ctrl_c(live: Live) -> None:
    async with live.engine() as engine:
        watching = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tidewire", "status", "--watch", "--json", "--url", engine.url),
            stdout=asyncio.subprocess.PIPE,
        )
        assert watching.stdout is not None
        seen = [json.loads(await watching.stdout.readline()) for _ in range(2)]
        assert seen[1]["uptime_s"] > seen[0]["uptime_s"]
        watching.send_signal(signal.SIGINT)
        await watching.stdout.read()
        async with asyncio.timeout(TIMEOUT_S):
            assert await watching.wait() == 130


DEGRADED = {
    "epoch": "e",
    "progress": "0/1",
    "is_ready": False,
    "trouble": "PostgreSQL is away",
    "state": "asleep",
    "retained_bytes": 12 << 20,
    "blocked_by": {"pid": 4, "age_s": 180.5},
    "asked": [True],
    "slot": None,
    "waiting": {"public.t": "pid 7, user \x1b[2Jann"},
}


@in_loop
async def test_trouble_and_whatever_a_newer_server_adds_is_printed() -> None:
    async with answering(http(json.dumps(DEGRADED).encode())) as url:
        said = await status(url)
    assert said.returncode == 1
    lines = said.stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["ready", "no: PostgreSQL is away"],
        ["epoch", "e"],
        ["progress", "0/1"],
        ["state", "asleep"],
        ["retained", "12 MB"],
        ["blocked_by", "pid 4, age 3 minutes"],
        ["asked", "[true]"],
        ["slot", "none"],
        ["waiting", "public.t for pid 7, user \\x1b[2Jann"],
    ]
    assert len({len(re.split(r"(?<=  )(?=\S)", line)[0]) for line in lines}) == 1, "aligned"


@in_loop
async def test_what_is_no_server_of_ours_is_told_in_one_line() -> None:
    elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    for answer, words in (
        (http(b"<html>"), "it answers 200 to /v1/status"),
        (http(b"[1]"), "is not a Tidewire server"),
        (http(b'{"epoch": 1}'), "is not a Tidewire server"),
        (http(json.dumps(DEGRADED).encode(), "404 Not Found"), "it answers 404"),
        (elsewhere, "it answers 302"),
        (b"SSH-2.0-OpenSSH\r\n", "no server at"),
        (b"", "no server at"),
    ):
        async with answering(answer) as url:
            said = await status(url, TIDEWIRE_TOKEN=TOKEN)
        assert (said.returncode, said.stdout, said.stderr.count("\n")) == (2, "", 1), said
        assert words in said.stderr, answer
        assert TOKEN not in said.stderr


@in_loop
async def test_nobody_is_there_or_nobody_can_be() -> None:
    refused = await status("http://127.0.0.1:1")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no server at http://127.0.0.1:1: Connection refused" in refused.stderr
    for url in ("127.0.0.1:8800", "ftp://x", "http://", "http://x:99999", "http://[x"):
        wrong = await status(url)
        assert wrong.returncode == 2
        assert "such as http://127.0.0.1:8800" in wrong.stderr, url


@in_loop
async def test_a_plain_server_is_asked_for_tls() -> None:
    async with running(GUARDED) as node:
        said = await status(f"wss://127.0.0.1:{node.port}/v1/sync")
    assert said.returncode == 2
    assert "TLS: " in said.stderr
