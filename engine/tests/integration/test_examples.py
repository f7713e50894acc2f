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

from engine.tests.integration.command import Background
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
    return {"DATABASE_URL": url, "TIDEWIRE_DATABASE_URL": url, "TIDEWIRE_DEV": "1"}


@contextlib.contextmanager
def running(*command: str, folder: str = ".", **environ: str) -> Iterator[tuple[Background, int]]:
    """Run a server until the block is left; return its port, too."""
    process = Background(*command, stream="both", folder=folder, **environ)
    try:
        yield process, int(process.wait_for(r"running on http://127.0.0.1:(\d+)")[1])
    finally:
        process.stop(signal.SIGTERM)


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
    with running(*command, **environ_of(live.url)) as (process, port):
        await order_and_see(port, "rope")
        follower = Background(
            "examples/quickstart/follow.py",
            TIDEWIRE_URL=f"ws://127.0.0.1:{port}/sync/v1/sync",
        )
        await asyncio.to_thread(follower.wait_for, "following public.orders .* with 1 rows")
        await order_and_see(port, "anchor")
        await asyncio.to_thread(follower.wait_for, "insert .*'anchor'")
        await asyncio.to_thread(follower.stop, signal.SIGTERM)
        assert ask(f"http://127.0.0.1:{port}/sync/ready") == (200, "ready\n")
        assert ask(f"http://127.0.0.1:{port}/ready")[0] == 404, "the application's own paths"
        async with greeted(port) as guest:
            await asyncio.to_thread(process.stop, signal.SIGTERM)
            with pytest.raises(websockets.ConnectionClosed):
                await guest.recv()
            assert guest.close_code == 1012
    assert "Application shutdown complete" in process.said
    assert "Traceback" not in process.said
    [(active,)] = await live.execute("SELECT count(*) FROM pg_replication_slots WHERE active")
    assert active == 0, "the slot is free for the next process"


@ways
@in_loop
async def test_a_client_goes_on_when_the_application_restarts(
    live: Live, way: tuple[str, ...]
) -> None:
    command = ["-m", "uvicorn", "--app-dir", "examples/fastapi", "app:app", *way]
    with running(*command, "--port", "0", **environ_of(live.url)) as (process, port):
        async with Client(f"ws://127.0.0.1:{port}/sync/v1/sync") as client:
            orders = await client.subscribe("orders")
            ask(f"http://127.0.0.1:{port}/orders", {"item": "before"})
            await eventually(lambda: len(orders.rows) == 1)
            await asyncio.to_thread(process.stop, signal.SIGTERM)
            await live.execute("INSERT INTO orders (item, quantity) VALUES ('meanwhile', 1)")
            again = [*command, "--port", str(port)]
            with running(*again, **environ_of(live.url)) as (restarted, _):
                await eventually(lambda: len(orders.rows) == 2)
                await asyncio.to_thread(restarted.stop, signal.SIGTERM)


@ways
@in_loop
async def test_django_takes_orders_that_everybody_sees(live: Live, way: tuple[str, ...]) -> None:
    folder, environ = str(EXAMPLES / "django"), environ_of(live.url)
    migrate = [sys.executable, "manage.py", "migrate", "--run-syncdb"]
    everything = {**os.environ, **environ}
    await asyncio.to_thread(subprocess.check_output, migrate, cwd=folder, env=everything)
    command = (*UVICORN, ".", "shop.asgi:application", *way)
    with running(*command, folder=folder, **environ) as (process, port):
        await order_and_see(port, "lantern")
        assert ask(f"http://127.0.0.1:{port}/sync/ready") == (200, "ready\n")
        assert ask(f"http://127.0.0.1:{port}/synchronous")[0] == 404, "Django's own paths"
        await asyncio.to_thread(process.stop, signal.SIGTERM)
    assert "Application shutdown complete" in process.said
    assert "Traceback" not in process.said


@in_loop
async def test_sqlalchemy_writes_and_waits_for_its_own_write(live: Live) -> None:
    command = [sys.executable, "examples/sqlalchemy/orders.py"]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=ROOT,
        env={**os.environ, **environ_of(live.url)},
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
    with running(*command) as (process, port):
        server = re.search(r"database postgresql://.*:(\d+)/", "".join(process.lines))
        assert server
        await eventually(lambda: ask(f"http://127.0.0.1:{port}/sync/ready") == (200, "ready\n"))
        process.stop(signal.SIGTERM)
        assert "Traceback" not in process.said
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(server[1])), TIMEOUT_S)


def test_an_application_forgets_the_lifespan(live: Live) -> None:
    command = (*UVICORN, "examples/fastapi", "mount:app", "--lifespan", "off")
    with running(*command, **environ_of(live.url)) as (process, port):
        assert ask(f"http://127.0.0.1:{port}/sync/ready")[0] == 500
        process.stop(signal.SIGTERM)
        assert "lifespan=tidewire.lifespan" in process.said


def test_an_application_without_tokens_does_not_start(live: Live) -> None:
    environ = {**environ_of(live.url), "TIDEWIRE_DEV": ""}
    process = Background(*UVICORN, "examples/fastapi", "mount:app", stream="both", **environ)
    process.wait_for("no tokens: set TIDEWIRE_TOKENS")
    process.wait_for("Application startup failed")
    process.stop(signal.SIGTERM)


def test_django_without_tokens_does_not_start(live: Live) -> None:
    environ = {**environ_of(live.url), "TIDEWIRE_DEV": ""}
    process = Background(
        *UVICORN, "examples/django", "shop.asgi:application", stream="both", **environ
    )
    process.wait_for("no tokens: set TIDEWIRE_TOKENS")
    process.stop(signal.SIGTERM)
    assert "Traceback" not in process.said


def test_two_workers_are_told_that_one_is_enough(live: Live) -> None:
    command = (*UVICORN, "examples/fastapi", "mount:app", "--workers", "2")
    process = Background(*command, stream="both", **environ_of(live.url))
    try:
        process.wait_for("another node of this deployment has it.*should have one worker")
    finally:
        process.stop(signal.SIGTERM)
