"""The applications of examples/ do what their pages say: real servers, PostgreSQL and our client.

Method: each runs as a process of its own, as a reader would start it; what it says on stderr and
the rows of a client are looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets
from websockets.typing import Subprotocol

from engine.tests.integration.conftest import FAST as FAST_SERVER
from engine.tests.integration.live import Live, eventually, in_loop
from tidewire import Client
from tidewire.embedded import EmbeddedPostgres

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
UVICORN = ("-m", "uvicorn", "--port", "0", "--app-dir")
FAST, FALL_BACK = ("--ws", "tidewire.asgi:FastPath"), ()
TIMEOUT_S = 30
ways = pytest.mark.parametrize("way", [FAST, FALL_BACK], ids=["fast", "fall-back"])


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """Start one server, of one version: the applications do not depend on it."""
    os.umask(0o022)
    with EmbeddedPostgres(settings=FAST_SERVER) as running:
        yield running


def environ_of(url: str) -> dict[str, str]:
    settings = {"DATABASE_URL": url, "TIDEWIRE_DATABASE_URL": url, "TIDEWIRE_DEV": "1"}
    return {**os.environ, **settings}


class Process:
    """A program that runs until it is stopped, and what it says."""

    def __init__(self, *command: str, environ: dict[str, str], folder: Path = ROOT) -> None:
        self.lines: list[str] = []
        self._popen = subprocess.Popen(
            [sys.executable, *command],
            env={**environ, "PYTHONUNBUFFERED": "1"},
            cwd=folder,
            text=True,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
        )

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read up to a line; pytest's own deadline is the last resort."""
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"ended without {pattern!r}:\n{''.join(self.lines)}")

    def stop(self) -> str:
        """End it as a supervisor does, and return all that it has said."""
        self._popen.send_signal(signal.SIGTERM)
        said, _ = self._popen.communicate(timeout=TIMEOUT_S)
        return "".join(self.lines) + said


@contextlib.contextmanager
def running(
    *command: str, environ: dict[str, str], folder: Path = ROOT
) -> Iterator[tuple[Process, int]]:
    """Run a server until the block is left; return its port, too."""
    process = Process(*command, environ=environ, folder=folder)
    try:
        yield process, int(process.wait_for(r"running on http://127.0.0.1:(\d+)")[1])
    finally:
        process.stop()


def ask(url: str, document: object = None) -> tuple[int, Any]:
    """GET, or POST a document; return status and answer."""
    data = None if document is None else msgspec.json.encode(document)
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read()
    is_json = body[:1] == b"{"
    return status, msgspec.json.decode(body) if is_json else body.decode()


async def order_and_see(port: int, item: str) -> None:
    """Write through the application; the client has the row when it has waited for its position."""
    async with Client(f"ws://127.0.0.1:{port}/sync/v1/sync") as client:
        orders = await client.subscribe("orders")
        url = f"http://127.0.0.1:{port}/orders"
        status, receipt = await asyncio.to_thread(ask, url, {"item": item, "quantity": 3})
        assert status == 201, receipt
        await client.wait_for(receipt["position"])
        row = orders.rows[receipt["id"]]
        assert (row["item"], row["quantity"]) == (item, 3)


@contextlib.asynccontextmanager
async def greeted(port: int) -> AsyncIterator[websockets.ClientConnection]:
    """Open a WebSocket and say hello."""
    url = f"ws://127.0.0.1:{port}/sync/v1/sync"
    async with websockets.connect(url, subprotocols=[Subprotocol("tidewire.v1")]) as guest:
        await guest.send('{"type": "hello", "client": "test"}')
        assert '"welcome"' in str(await guest.recv())
        yield guest


@ways
@in_loop
async def test_fastapi_takes_orders_that_everybody_sees(live: Live, way: tuple[str, ...]) -> None:
    command = (*UVICORN, "examples/fastapi", "app:app", *way)
    with running(*command, environ=environ_of(live.url)) as (process, port):
        await order_and_see(port, "rope")
        follower = Process(
            "examples/quickstart/follow.py",
            environ={**os.environ, "TIDEWIRE_URL": f"ws://127.0.0.1:{port}/sync/v1/sync"},
        )
        await asyncio.to_thread(follower.wait_for, "following public.orders .* with 1 rows")
        await order_and_see(port, "anchor")
        await asyncio.to_thread(follower.wait_for, "insert .*'anchor'")
        await asyncio.to_thread(follower.stop)
        assert ask(f"http://127.0.0.1:{port}/sync/ready") == (200, "ready\n")
        assert ask(f"http://127.0.0.1:{port}/ready")[0] == 404, "the application's own paths"
        async with greeted(port) as guest:
            said = await asyncio.to_thread(process.stop)
            with pytest.raises(websockets.ConnectionClosed):
                await guest.recv()
            assert guest.close_code == 1012
    assert "Application shutdown complete" in said
    assert "Traceback" not in said
    [(active,)] = await live.execute("SELECT count(*) FROM pg_replication_slots WHERE active")
    assert active == 0, "the slot is free for the next process"


@ways
@in_loop
async def test_a_client_goes_on_when_the_application_restarts(
    live: Live, way: tuple[str, ...]
) -> None:
    command = ["-m", "uvicorn", "--app-dir", "examples/fastapi", "app:app", *way]
    with running(*command, "--port", "0", environ=environ_of(live.url)) as (process, port):
        async with Client(f"ws://127.0.0.1:{port}/sync/v1/sync") as client:
            orders = await client.subscribe("orders")
            ask(f"http://127.0.0.1:{port}/orders", {"item": "before"})
            await eventually(lambda: len(orders.rows) == 1)
            await asyncio.to_thread(process.stop)
            await live.execute("INSERT INTO orders (item, quantity) VALUES ('meanwhile', 1)")
            again = [*command, "--port", str(port)]
            with running(*again, environ=environ_of(live.url)) as (restarted, _):
                await eventually(lambda: len(orders.rows) == 2)
                await asyncio.to_thread(restarted.stop)


@ways
@in_loop
async def test_django_takes_orders_that_everybody_sees(live: Live, way: tuple[str, ...]) -> None:
    folder, environ = EXAMPLES / "django", environ_of(live.url)
    migrate = [sys.executable, "manage.py", "migrate", "--run-syncdb"]
    await asyncio.to_thread(subprocess.check_output, migrate, cwd=folder, env=environ)
    command = (*UVICORN, ".", "shop.asgi:application", *way)
    with running(*command, environ=environ, folder=folder) as (process, port):
        await order_and_see(port, "lantern")
        assert ask(f"http://127.0.0.1:{port}/sync/ready") == (200, "ready\n")
        assert ask(f"http://127.0.0.1:{port}/synchronous")[0] == 404, "Django's own paths"
        said = await asyncio.to_thread(process.stop)
    assert "Application shutdown complete" in said
    assert "Traceback" not in said


@in_loop
async def test_sqlalchemy_writes_and_waits_for_its_own_write(live: Live) -> None:
    command = [sys.executable, "examples/sqlalchemy/orders.py"]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=ROOT,
        env=environ_of(live.url),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "one commit: [('insert', 'rope'), ('insert', 'anchor')]",
        "our own write is there: ['anchor', 'rope']",
    ]


@in_loop
async def test_one_command_brings_its_own_database() -> None:
    command = (
        "examples/with_postgres.py",
        sys.executable,
        *UVICORN,
        "examples/fastapi",
        "mount:app",
    )
    with running(*command, environ=dict(os.environ)) as (process, port):
        server = re.search(r"database postgresql://.*:(\d+)/", "".join(process.lines))
        assert server
        await eventually(lambda: ask(f"http://127.0.0.1:{port}/sync/ready") == (200, "ready\n"))
        assert "Traceback" not in process.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(server[1])), TIMEOUT_S)


def test_an_application_forgets_the_lifespan(live: Live) -> None:
    command = (*UVICORN, "examples/fastapi", "mount:app", "--lifespan", "off")
    with running(*command, environ=environ_of(live.url)) as (process, port):
        assert ask(f"http://127.0.0.1:{port}/sync/ready")[0] == 500
        assert "lifespan=tidewire.lifespan" in process.stop()


def test_an_application_without_tokens_does_not_start(live: Live) -> None:
    environ = {**environ_of(live.url), "TIDEWIRE_DEV": ""}
    process = Process(*UVICORN, "examples/fastapi", "mount:app", environ=environ)
    process.wait_for("no tokens: set TIDEWIRE_TOKENS")
    process.wait_for("Application startup failed")
    process.stop()


def test_django_without_tokens_does_not_start(live: Live) -> None:
    environ = {**environ_of(live.url), "TIDEWIRE_DEV": ""}
    process = Process(*UVICORN, "examples/django", "shop.asgi:application", environ=environ)
    process.wait_for("no tokens: set TIDEWIRE_TOKENS")
    assert "Traceback" not in process.stop()


def test_two_workers_are_told_that_one_is_enough(live: Live) -> None:
    command = (*UVICORN, "examples/fastapi", "mount:app", "--workers", "2")
    process = Process(*command, environ=environ_of(live.url))
    try:
        process.wait_for("another node of this deployment has it.*should have one worker")
    finally:
        process.stop()
