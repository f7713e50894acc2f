"""wss and https on the one port, with a certificate of our own making.

Method: the `openssl` program signs a certificate for localhost, which the clients are told to
trust; nothing is skipped in their checks.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import websockets
from websockets.typing import Subprotocol

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import GUARDED, OPEN, TOKEN, Node, running
from engine.tests.integration.peer import PROTOCOL, peer, words_of
from tidewire.config import Config
from tidewire.errors import ConfigError

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="the program openssl is not here")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with `certificate.pem` and `key.pem`."""
    folder = tmp_path_factory.mktemp("tls")
    command = [str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=20)
    return folder


def secured(keys: Path, base: Config = OPEN) -> Config:
    return replace(
        base, tls_certificate=str(keys / "certificate.pem"), tls_key=str(keys / "key.pem")
    )


def trust(keys: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=keys / "certificate.pem")


@needs_openssl
@on_loop
async def test_a_client_follows_over_tls(keys: Path) -> None:
    words = [f"{number}".ljust(50_000) for number in range(20)]
    async with running(secured(keys)) as node:
        async with peer(node.port, tls=trust(keys)) as client:
            assert (await client.shake_hands()).status == 101
            await client.follow()
            for word in words:
                node.commit(word)
            assert await client.words(len(words)) == words
        await until(lambda: node.count_sessions() == 0)


@needs_openssl
@on_loop
async def test_a_socket_over_tls_that_has_drained_takes_more(keys: Path) -> None:
    # Goal: an empty buffer never counts as full.
    # Method: commits one by one, each seen before the next; the client says nothing, not even ack.
    async with running(secured(keys)) as node, peer(node.port, tls=trust(keys)) as client:
        assert (await client.shake_hands()).status == 101
        await client.follow()
        (session,) = node.hub.sessions
        for number in range(20):
            node.commit(str(number))
            assert words_of(await client.message()) == [str(number)]
            assert not session.outbox.is_blocked


@needs_openssl
@on_loop
async def test_a_library_speaks_wss_and_says_goodbye(keys: Path) -> None:
    async with running(secured(keys, GUARDED)) as node:
        async with websockets.connect(
            node.url,
            ssl=trust(keys),
            subprotocols=[Subprotocol(PROTOCOL)],
            additional_headers={"Authorization": f"Bearer {TOKEN}"},
        ) as socket:
            await socket.send('{"type":"hello","client":"a"}')
            assert '"welcome"' in str(await socket.recv())
        assert socket.close_code == 1000
        await until(lambda: node.closed_as("normal") == 1)


@needs_openssl
@on_loop
async def test_https_works_on_the_same_port(keys: Path) -> None:
    async with running(secured(keys)) as node, aiohttp.ClientSession() as http:
        url = f"https://localhost:{node.port}/health"
        async with http.get(url, ssl=trust(keys)) as response:
            assert (response.status, await response.text()) == (200, "ok\n")


@needs_openssl
@on_loop
async def test_a_client_does_not_trust_us(keys: Path) -> None:
    async with running(secured(keys)) as node:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with peer(node.port, tls=ssl.create_default_context()):
                pass
        assert node.count_sessions() == 0


@needs_openssl
@on_loop
async def test_a_client_speaks_plain_http_to_the_tls_port(keys: Path) -> None:
    async with running(secured(keys)) as node:
        async with peer(node.port) as client:
            client.ask("/health")
            assert b"200" not in await client.end()
        async with peer(node.port, tls=trust(keys)) as client:
            client.ask("/health")
            assert (await client.answer()).status == 200


@needs_openssl
@on_loop
async def test_a_server_over_tls_stops(keys: Path) -> None:
    async with running(secured(keys)) as node, peer(node.port, tls=trust(keys)) as client:
        assert (await client.shake_hands()).status == 101
        await client.follow()
        node.listener.should_exit = True
        assert await client.close_code() == 1012


@on_loop
async def test_the_certificate_is_not_there(tmp_path: Path) -> None:
    # Goal: a wrong setting is a ConfigError that names the file, not a traceback.
    with pytest.raises(ConfigError, match=r"certificate\.pem"):
        await start_and_stop(secured(tmp_path))


@needs_openssl
@on_loop
async def test_the_certificate_stands_where_the_key_should(keys: Path) -> None:
    with pytest.raises(ConfigError, match=r"certificate\.pem"):
        await start_and_stop(replace(secured(keys), tls_key=str(keys / "certificate.pem")))


async def start_and_stop(config: Config) -> None:
    """Run a listener to its end, whichever of its steps finds the fault."""
    node = Node(config)
    node.listen()
    node.listener.should_exit = True
    await node.listener.run_until_stopped()
