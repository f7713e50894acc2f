"""Goal: a coordinator that cannot be reached is told so that one knows what to try next.

Method: real failures at real ports; URLs as people have them at hand.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from lab.tests.agent.kit import agent, play
from lab.tests.coordinator.kit import certify, serving
from tidelab.agent import AgentEnded
from tidelab.agent.address import socket_of
from tidelab.coordinator import OldClients, Options


@pytest.mark.parametrize(
    ("url", "socket"),
    [
        ("http://127.0.0.1:9104", "ws://127.0.0.1:9104/v2/connect"),
        ("https://lab.test/", "wss://lab.test/v2/connect"),
        ("http://127.0.0.1:9104/v2/", "ws://127.0.0.1:9104/v2/connect"),
        ("ws://[::1]:9104/v2", "ws://[::1]:9104/v2/connect"),
        ("https://lab.test/agents", "wss://lab.test/agents/v2/connect"),
    ],
)
def test_the_address_of_a_server_or_of_its_page_will_do(url: str, socket: str) -> None:
    assert socket_of(url) == socket


@pytest.mark.parametrize("url", ["127.0.0.1:9104", "ftp://lab.test", "http://", ""])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(ValueError, match=r"is like http://127\.0\.0\.1:9104, not"):
        socket_of(url)


async def refusal_of(url: str) -> str:
    with pytest.raises(AgentEnded) as ended:
        async with agent(url, "a", open_timeout_s=0.5):
            pass
    assert url in str(ended.value)
    return str(ended.value)


def test_another_server_is_taken_for_one() -> None:
    async def scene() -> None:
        async with serving(Options(http_port=0, old_clients=OldClients(ws_port=0))) as at:
            assert at.ws_url is not None
            told = await refusal_of(at.ws_url)
            assert told.endswith("it answers 404: is this the address of a coordinator?")

    play(scene())


def test_a_server_without_tls_is_asked_for_by_another_url() -> None:
    """Of several attempts the last has no time left; the first says more."""
    attempts = itertools.count()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(attempts) == 0:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        else:
            await reader.read()  # until it gives up
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            told = await refusal_of(f"https://127.0.0.1:{port}")
            assert told.endswith("it does not speak TLS: is its URL one with http://?")

    play(scene())


def test_tls_says_whom_it_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        certificate, key = certify(tmp_path)
        options = Options(http_port=0, tls_certificate=certificate, tls_key=key)
        async with serving(options) as at:
            told = await refusal_of(at.url)
            assert "self-signed certificate; the variable SSL_CERT_FILE may name" in told
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            async with agent(at.url, "a") as a:
                assert (await a.inspect()).run == "r"

    play(scene())
