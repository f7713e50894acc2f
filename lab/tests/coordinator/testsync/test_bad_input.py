"""Goal: whatever an old client does wrong is answered, and nobody else notices.

Method: tables of bad input, one for each way in, played to one server, over both kinds of storage.
All the while a bystander waits at a checkpoint of the same test; after each line its data are read
and agents are counted, and at the end it is released by the one that it waited for. What the
original answered, too, stands byte for byte in the transcripts beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection

from engine.tests.integration.loop import on_loop
from lab.tests.coordinator.testsync.wire import (
    COUNT,
    HANDSHAKE,
    READ,
    Addresses,
    agent,
    ask,
    basic,
    count_is,
    counted,
    raw,
    receive,
    request,
    send_raw,
    server,
    shake_hands,
    wait,
)
from tidelab.core.coord.testsync.limits import (
    AGENTS_MAX,
    CHECKPOINT_NAME_MAX,
    MESSAGE_BYTES_MAX,
    POST_BYTES_MAX,
    UPDATE_BYTES_MAX,
)

KINDS = ("memory", "sqlite")
OURS = {"Authorization": basic()}
DATA = b'{"written": "before"}'


class Bystander:
    """An agent that waits for one other, and to whom nothing else may happen."""

    def __init__(self, at: Addresses, client: ClientConnection) -> None:
        self._at, self._client = at, client

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, at: Addresses) -> AsyncIterator[Bystander]:
        posted = await request(at.http_url, "POST", "/tests/1", OURS, DATA)
        assert posted.status == 200
        async with agent(at, 1) as client:
            await client.send(wait("start", 2))
            self = cls(at, client)
            yield self
            async with agent(at, 1) as other:
                told = json.loads(await ask(other, wait("start", 2)))["content"]
            assert json.loads(await receive(client))["content"] == told
            assert (told["identifier"], told["finished"]) == ("start", True)

    async def is_undisturbed(self, others: int = 0) -> None:
        """Read the data in both ways; had it been told anything else, that would come first."""
        await count_is(self._client, 1 + others)
        assert await ask(self._client, READ) == DATA
        assert (await request(self._at.http_url, "GET", "/tests/1", OURS)).body == DATA


@contextlib.asynccontextmanager
async def beside_a_bystander(kind: str, folder: Path) -> AsyncIterator[tuple[Addresses, Bystander]]:
    path = folder / "t.db" if kind == "sqlite" else None
    async with server(path) as at, Bystander.at(at) as bystander:
        yield at, bystander


class Wrong(NamedTuple):
    """A wrong request, and its answer."""

    ask: str
    status: int
    answer: str
    body: bytes = b""
    headers: dict[str, str] = OURS


def told(code: int, words: str) -> str:
    return f'{{"code":{code},"error":"{words}"}}\n'


def no_number(digits: str) -> str:
    return told(400, f'Unable to parse testID as int: invalid integer \\"{digits}\\"')


NOWHERE = "404 page not found\n"
NOT_AUTHORIZED = told(401, "Request not authorized")
REQUESTS = (
    # an unknown command
    Wrong("GET /nope", 404, NOWHERE),
    Wrong("GET /tests", 404, NOWHERE),
    Wrong("DELETE /tests/1", 405, ""),
    Wrong("PUT /tests/1", 405, "", b"other"),
    # data that are there
    Wrong("POST /tests/1", 409, told(409, "Provided test already has set data"), b"other"),
    # tests that are no numbers, or out of range
    Wrong("POST /tests/one", 404, NOWHERE, b"other"),
    Wrong("POST /tests/-1", 404, NOWHERE, b"other"),
    Wrong("POST /tests/1.5", 404, NOWHERE, b"other"),
    Wrong(f"POST /tests/{2**63}", 400, no_number(str(2**63)), b"other"),
    Wrong(f"GET /tests/{'9' * 5000}", 400, no_number("9" * 5000)),
    Wrong("GET /tests/2", 404, told(404, "Could not find test")),
    # a body too large
    Wrong("POST /tests/2", 413, told(413, "Request data too large"), b"x" * (POST_BYTES_MAX + 1)),
    # wrong credentials
    Wrong("POST /tests/2", 401, NOT_AUTHORIZED, b"other", {}),
    Wrong("POST /tests/2", 401, NOT_AUTHORIZED, b"other", {"Authorization": basic("bad", "creds")}),
    Wrong("POST /tests/2", 401, NOT_AUTHORIZED, b"other", {"Authorization": "Basic !!"}),
    Wrong("POST /tests/2", 401, NOT_AUTHORIZED, b"other", {"Authorization": "Bearer token"}),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_by_http(kind: str, tmp_path: Path) -> None:
    async with beside_a_bystander(kind, tmp_path) as (at, bystander):
        for line in REQUESTS:
            method, _, path = line.ask.partition(" ")
            got = await request(at.http_url, method, path, line.headers, line.body)
            assert (got.status, got.body.decode()) == (line.status, line.answer), line.ask[:60]
            await bystander.is_undisturbed()
        assert (await request(at.http_url, "GET", "/tests/2", OURS)).status == 404


HEAD = f"POST /tests/2 HTTP/1.1\r\nAuthorization: {basic()}\r\n"
GARBAGE = (
    "nonsense\r\n\r\n",
    "GET /tests/2 HTTP/9\r\n\r\n",
    f"{HEAD}\r\n",  # without a host
    f"{HEAD}Host: x\r\nContent-Length: -1\r\n\r\n",
    f"{HEAD}Host: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
    f"{HEAD}Host: x\r\nX: {'x' * 100_000}",
)


@on_loop
async def test_what_is_no_http_is_a_400(tmp_path: Path) -> None:
    async with beside_a_bystander("memory", tmp_path) as (at, bystander):
        for url in (at.http_url, at.ws_url):
            for garbage in GARBAGE:
                assert (await send_raw(url, garbage.encode())).status == 400, garbage[:60]
                await bystander.is_undisturbed()
        assert (await request(at.http_url, "GET", "/tests/2", OURS)).status == 404


SHAKE = {**HANDSHAKE, **OURS}
HANDSHAKES = (
    Wrong("GET /nope", 404, NOWHERE, headers=SHAKE),
    Wrong("GET /register", 404, NOWHERE, headers=SHAKE),
    Wrong("POST /register/1", 405, "", headers=SHAKE),
    Wrong("GET /register/one", 404, NOWHERE, headers=SHAKE),
    Wrong("GET /register/-1", 404, NOWHERE, headers=SHAKE),
    Wrong(f"GET /register/{2**63}", 400, no_number(str(2**63)), headers=SHAKE),
    Wrong("GET /register/1", 401, NOT_AUTHORIZED, headers=HANDSHAKE),
    Wrong("GET /register/1", 401, NOT_AUTHORIZED,
          headers={**HANDSHAKE, "Authorization": basic("bad", "creds")}),
    Wrong("GET /register/1?username=bad&password=creds", 401, NOT_AUTHORIZED, headers=HANDSHAKE),
    Wrong("GET /register/1", 400, "Bad Request\n", headers=OURS),
    Wrong("GET /register/1", 400, "Bad Request\n", headers={**SHAKE, "Sec-WebSocket-Version": "9"}),
    Wrong("GET /register/1", 400, "Bad Request\n", headers={**SHAKE, "Sec-WebSocket-Key": "?"}),
)  # fmt: skip


@on_loop
async def test_at_the_door(tmp_path: Path) -> None:
    async with beside_a_bystander("memory", tmp_path) as (at, bystander):
        for line in HANDSHAKES:
            method, _, path = line.ask.partition(" ")
            got = await request(at.ws_url, method, path, line.headers, line.body)
            assert (got.status, got.body.decode()) == (line.status, line.answer), line.ask
            await bystander.is_undisturbed()


class Message(NamedTuple):
    """A wrong message, and the code and words of its answer."""

    message: str | bytes
    code: int
    words: str


def checkpoint(**content: object) -> str:
    return json.dumps({"command": "wait_checkpoint", "content": content})


MESSAGES = (
    # an unknown command
    Message('{"command":"nope","content":{}}', 404, "no command 'nope'; known: read_data, "),
    Message('{"command":""}', 404, "known: read_data, "),
    Message('{"command":"GET_CONNECTION_COUNT"}', 404, "known: read_data, "),
    Message('{"content":{}}', 404, "known: read_data, "),
    # bad JSON
    Message("hello", 400, "a message must be a JSON object"),
    Message("[1,2]", 400, "a message must be a JSON object"),
    Message("null", 400, "a message must be a JSON object"),
    Message("", 400, "a message must be a JSON object"),
    Message('{"command":"close"} x', 400, "a message must be a JSON object"),
    Message('\ufeff{"command":"close"}', 400, "a message must be a JSON object"),
    Message(b"\xff\xfe", 400, "a message must be a JSON object"),
    Message('{"command":"update_data","content":{]}', 400, "a message must be a JSON object"),
    Message('{"command":"update_data","content":' + "[" * 100_000, 400, "a message "),
    # wrong types
    Message('{"command":5}', 400, "command must be a string"),
    Message('{"command":"wait_checkpoint"}', 400, "content must be a JSON object"),
    Message('{"command":"wait_checkpoint","content":"x"}', 400, "content must be a JSON object"),
    Message(checkpoint(identifier=5, target_count=1), 400, "identifier must be a string"),
    Message(checkpoint(identifier="x", target_count="1"), 400, "target_count must be an integer"),
    Message(checkpoint(identifier="x", target_count=1.5), 400, "target_count must be an integer"),
    Message(checkpoint(identifier="x", target_count=True), 400, "target_count must be an integer"),
    # numbers out of range, and targets that nobody can reach
    Message(checkpoint(identifier="x", target_count=2**63), 400, "an integer of 64 bits"),
    Message(checkpoint(identifier="x", target_count=10**30), 400, "64 bits"),
    Message(wait("x", AGENTS_MAX + 1), 400, f"this server takes {AGENTS_MAX} agents"),
    # names too long
    Message(wait("x" * (CHECKPOINT_NAME_MAX + 1), 1), 413, "identifier is longer than"),
    # bodies too large
    Message('{"command":"update_data","content":"' + "x" * UPDATE_BYTES_MAX + '"}', 413, "larger"),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_by_socket(kind: str, tmp_path: Path) -> None:
    async with beside_a_bystander(kind, tmp_path) as (at, bystander), agent(at, 1) as clumsy:
        for message, code, words in MESSAGES:
            answer = json.loads(await ask(clumsy, message))
            assert answer["command"] == "error", message[:60]
            assert answer["content"]["code"] == code, message[:60]
            assert words in answer["content"]["error"], message[:60]
            assert await ask(clumsy, COUNT) == counted(2), "the socket is still open"
            await bystander.is_undisturbed(others=1)


@pytest.mark.parametrize("target", [0, -3, -(2**63)])
@on_loop
async def test_a_target_of_nobody_is_reached_at_once(target: int, tmp_path: Path) -> None:
    """As at the original: no error, and nobody else is released by it."""
    async with beside_a_bystander("memory", tmp_path) as (at, bystander), agent(at, 1) as clumsy:
        answer = json.loads(await ask(clumsy, wait("x", target)))
        assert answer["content"]["finished"] is True
        await bystander.is_undisturbed(others=1)


BROKEN = {
    b"\x81\x02hi": 1002,  # not masked
    b"\x83\x80\0\0\0\0": 1002,  # an opcode that there is not
    b"\xc1\x80\0\0\0\0": 1002,  # a reserved bit
    b"\x80\x80\0\0\0\0": 1002,  # a continuation of nothing
    b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126: 1002,  # a long ping
    b"\x88\x82\0\0\0\0\x03\xe7": 1002,  # close code 999
    b"\x81\xff" + (MESSAGE_BYTES_MAX + 1).to_bytes(8) + b"\0\0\0\0": 1009,  # too large
}


@on_loop
async def test_frames_that_break_the_rules_end_their_own_connection_only(tmp_path: Path) -> None:
    async with beside_a_bystander("memory", tmp_path) as (at, bystander):
        for broken, code in BROKEN.items():
            async with raw(at.ws_url) as (answers, writer):
                await shake_hands(answers, writer)
                await bystander.is_undisturbed(others=1)
                writer.write(broken)
                async with asyncio.timeout(5):
                    end = await answers.read()
            assert (end[0], int.from_bytes(end[2:4])) == (0x88, code), broken[:20]
            await bystander.is_undisturbed()
