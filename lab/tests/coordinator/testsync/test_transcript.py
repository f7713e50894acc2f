"""Goal: clients of TestSync get from us what they got from the original, byte for byte.

Method: three transcripts, `http.toml`, `handshake.toml` and `socket.toml`, are played to a server
with real sockets, over both kinds of storage.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.testsync.wire import (
    HANDSHAKE,
    Addresses,
    agent,
    basic,
    receive,
    request,
    server,
)
from tidelab.coordinator.testsync.desk import now_ms
from tidelab.core.coord.testsync.limits import START_DELAY_MS

HERE = Path(__file__).parent
LOOKED_AT = (
    "content-type",
    "content-length",
    "location",
    "x-content-type-options",
    "sec-websocket-version",
)
ACCEPTED = {
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
}
KINDS = ("memory", "sqlite")
COUNT = '{"command":"get_connection_count"}'


def read(name: str, table: str) -> list[dict[str, Any]]:
    return list(tomllib.loads((HERE / name).read_text())[table])


def authorization(by: str | None) -> dict[str, str]:
    match by:
        case None:
            return {}
        case "agent":
            return {"Authorization": basic()}
        case "stranger":
            return {"Authorization": basic("bad", "creds")}
        case _:
            return {"Authorization": by}


async def play(exchange: dict[str, Any], url: str) -> None:
    method, _, target = exchange["request"].partition(" ")
    times = exchange.get("times", 1)
    headers = authorization(exchange.get("by"))
    if exchange.get("upgrade"):
        headers = {**HANDSHAKE, **headers, **exchange.get("headers", {})}
    answered = await request(
        url,
        method,
        target,
        headers,
        exchange.get("body", "").encode("latin-1") * times,
        in_chunks=exchange.get("in_chunks", False),
    )
    found = {name: answered.headers.get(name) for name in LOOKED_AT}
    assert found == {name: exchange.get(name) for name in LOOKED_AT}, exchange["why"]
    expected = exchange["answer"].encode("latin-1")
    expected *= times if answered.status == 200 else 1
    assert answered.status == exchange["status"], exchange["why"]
    if answered.status == 101:
        fields = {name: text for name, text in answered.headers.items() if name != "date"}
        assert fields == ACCEPTED
    assert answered.body == expected, exchange["why"]


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_http_answers_are_the_original_s(kind: str, tmp_path: Path) -> None:
    exchanges = read("http.toml", "exchange")
    assert len(exchanges) == 41
    async with server(tmp_path / "t.db" if kind == "sqlite" else None) as addresses:
        for exchange in exchanges:
            await play(exchange, addresses.http_url)


@on_loop
async def test_handshakes_are_answered_as_by_the_original() -> None:
    exchanges = read("handshake.toml", "exchange")
    assert len(exchanges) == 23
    async with server() as addresses:
        for exchange in exchanges:
            await play(exchange, addresses.ws_url)


class Talk:
    """Plays the lines of one talk."""

    def __init__(self, addresses: Addresses, stack: AsyncExitStack) -> None:
        self._addresses = addresses
        self._stack = stack
        self._agents: dict[str, ClientConnection] = {}
        self._tests: dict[str, str] = {}
        self._starts: dict[str, int] = {}
        self._begun_ms = now_ms()

    async def play(self, line: str) -> None:
        who, sign, text = (*line.split(" ", 2), "")[:3]
        if who in ("POST", "GET"):
            test_id, _, data = text.partition(" = ")
            await self._exchange(who, test_id, data.encode("latin-1"))
        elif sign == "at":
            self._tests[who] = text
            self._agents[who] = await self._stack.enter_async_context(
                agent(self._addresses, int(text))
            )
        elif sign in (">", ">>"):
            message = text.encode("latin-1")
            await self._agents[who].send(message, text=sign == ">")
        elif sign == "-":
            await self._expect_nothing(who)
        else:
            await self._expect(who, text, is_text=sign == "<")

    async def _exchange(self, method: str, test_id: str, data: bytes) -> None:
        body = data if method == "POST" else b""
        answered = await request(
            self._addresses.http_url, method, f"/tests/{test_id}", authorization("agent"), body
        )
        assert (answered.status, answered.body) == (200, data)

    async def _expect_nothing(self, who: str) -> None:
        count = list(self._tests.values()).count(self._tests[who])
        answer = f'{{"command":"get_connection_count","content":{{"count":{count}}}}}'
        await self._agents[who].send(COUNT)
        assert await receive(self._agents[who]) == answer

    async def _expect(self, who: str, text: str, *, is_text: bool) -> None:
        got = await receive(self._agents[who])
        assert isinstance(got, str) is is_text
        found = got.encode() if isinstance(got, str) else got
        parts = re.split(rb"(<\w+>(?=}))", text.encode("latin-1"))
        pattern = b"".join(
            b"(?P<" + part[1:-1] + rb">\d+)" if place % 2 else re.escape(part)
            for place, part in enumerate(parts)
        )
        match = re.fullmatch(pattern, found, re.DOTALL)
        assert match, (found, text)
        for name, start in match.groupdict().items():
            assert self._starts.setdefault(name, int(start)) == int(start)
            assert self._begun_ms <= int(start) - START_DELAY_MS <= now_ms()


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_talks_over_sockets_are_the_original_s(kind: str, tmp_path: Path) -> None:
    talks = read("socket.toml", "talk")
    assert len(talks) == 16
    async with server(tmp_path / "t.db" if kind == "sqlite" else None) as addresses:
        for talk in talks:
            async with AsyncExitStack() as stack:
                player = Talk(addresses, stack)
                for line in talk["lines"]:
                    await player.play(line)
