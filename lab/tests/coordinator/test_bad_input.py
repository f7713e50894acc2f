"""Goal: whatever is wrong is answered with what is wrong, and nobody else notices.

Method: tables of bad input to `/v2`, one for each way in, played to one server. All the while a
bystander waits at a barrier, follows a topic and watches a key; after each line its data are looked
at, and at the end it is told exactly what it waited for. What old clients may do wrong stands in
testsync/test_bad_input.py, and what a server cannot be started with in lab/tests/cli.
"""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from lab.tests.coordinator.bystander import DO, RUN, SEE, beside_a_bystander
from lab.tests.coordinator.kit import Agent, http
from lab.tests.coordinator.testsync.wire import HANDSHAKE, raw, read_answer
from tidelab.limits import (
    COORD_AGENTS_MAX,
    COORD_DEPTH_MAX,
    COORD_DOING_CHARS_MAX,
    COORD_EVENT_BYTES_MAX,
    COORD_FRAME_BYTES_MAX,
    COORD_NAME_CHARS_MAX,
    COORD_VALUE_BYTES_MAX,
)

GUESS, BASIC = {"Authorization": "Bearer d"}, {"Authorization": "Basic do"}
LONG = "x" * (COORD_NAME_CHARS_MAX + 1)
DEEP = "[" * (COORD_DEPTH_MAX + 1) + "]" * (COORD_DEPTH_MAX + 1)
VALUE_TOO_LARGE = json.dumps("x" * COORD_VALUE_BYTES_MAX)
EVENT_TOO_LARGE = json.dumps("x" * COORD_EVENT_BYTES_MAX)
REQUEST_TOO_LARGE = json.dumps("x" * COORD_FRAME_BYTES_MAX)


class Request(NamedTuple):
    """A wrong request, and its answer."""

    ask: str
    body: str | bytes
    status: int
    code: str
    words: str
    headers: dict[str, str] = DO


def bad(ask: str, words: str, body: str | bytes = "") -> Request:
    """Make a request that says what cannot be meant."""
    return Request(ask, body, 400, "bad_request", words)


WAIT = f"POST {RUN}/barriers/start?agent=clumsy"
KEY, LOG = f"PUT {RUN}/keys/config", f"POST {RUN}/topics/log"
REQUESTS = (
    # an unknown command
    Request("GET /v2/nothing", "", 404, "not_found", "GET /v2 lists what is"),
    Request(f"GET {RUN}/things/x", "", 404, "not_found", "GET /v2 lists what is"),
    Request(f"POST {RUN}/runs/x", "", 404, "not_found", "GET /v2 lists what is"),
    Request(f"PATCH {RUN}/keys/k", "", 405, "bad_request", "this path takes DELETE, GET, PUT"),
    Request("GET /v2/connect", "", 404, "not_found", "GET /v2 lists what is"),
    bad(f"{WAIT}&tarqet=2", "unknown field `tarqet`"),
    # bad JSON
    bad(KEY, "the body: "),
    bad(KEY, "the body: ", "{"),
    bad(KEY, "the body: ", '{"n":5} x'),
    bad(KEY, "not UTF-8", b'"\xff"'),
    bad(KEY, f"deeper than {COORD_DEPTH_MAX} levels", DEEP),
    bad(LOG, "the body: ", "nul"),
    # wrong types
    bad(WAIT, "Expected `object`", "[1]"),
    bad(f"{WAIT}&target=two", "$.target"),
    bad(f"{WAIT}&target=2&target=3", "twice"),
    bad(WAIT, "$.roster", '{"target":null,"roster":"clumsy"}'),
    bad(f"POST {RUN}/barriers/start", "of the agent", '{"agent":1}'),
    bad(f"{KEY}?if_version=new", "$.if_version", "1"),
    bad(f"PUT {RUN}/agents/clumsy?role=king", "$.role"),
    bad(WAIT, "give either `target`"),
    Request(f"POST {RUN}/barriers/start?target=2", "", 409, "not_joined", "name an agent"),
    # targets of nobody, or less
    bad(f"{WAIT}&target=0", ">= 1"),
    bad(f"{WAIT}&target=-2", ">= 1"),
    bad(f"{WAIT}&target=2&quorum=0", ">= 1"),
    bad(f"{WAIT}&target=2&timeout_s=0", "> 0"),
    bad(WAIT, "length >= 1", '{"roster":[]}'),
    bad(f"GET {RUN}/signals/seeded?count=0", ">= 1"),
    bad(f"GET {RUN}/topics/log?offset=0", ">= 1"),
    bad(f"PUT {RUN}/agents/clumsy?size=-1", ">= 1"),
    # names too long, or of other characters
    bad(f"POST /v2/runs/{LONG}/signals/s", "the name of the run"),
    bad("POST /v2/runs/a%2Fb/signals/s", "the name of the run"),
    bad(f"POST {RUN}/signals/s?agent={LONG}", "the name of the agent"),
    bad(f"POST {RUN}/signals/s?agent=%20", "the name of the agent"),
    *(
        bad(f"{method} {RUN}/{subject}s/{LONG}", f"$.{subject}", body)
        for method, subject, body in (
            ("DELETE", "barrier", ""), ("POST", "signal", ""), ("POST", "topic", "1"),
            ("PUT", "key", "1"),
        )
    ),
    bad(f"{KEY}?once={LONG}", "$.once", "1"),
    bad(f"POST {RUN}/agents/clumsy?doing={LONG * 2}", "length <= 200"),
    # bodies too large
    Request(KEY, VALUE_TOO_LARGE, 413, "too_large", str(COORD_VALUE_BYTES_MAX)),
    Request(LOG, EVENT_TOO_LARGE, 413, "too_large", str(COORD_EVENT_BYTES_MAX)),
    Request(KEY, REQUEST_TOO_LARGE, 413, "too_large", str(COORD_FRAME_BYTES_MAX)),
    Request(KEY, REQUEST_TOO_LARGE * 4, 413, "too_large", str(COORD_FRAME_BYTES_MAX)),
    # numbers out of range
    bad(f"{WAIT}&target={COORD_AGENTS_MAX + 1}", "<= 10000"),
    bad(f"{WAIT}&target={10**30}", "$.target"),
    bad(f"{WAIT}&target=2&generation={2**53}", "$.generation"),
    bad(f"GET {RUN}/topics/log?offset={2**63}", "$.offset"),
    bad(f"{KEY}?if_version=-1", "$.if_version", "1"),
    bad(f"{WAIT}&target=2&timeout_s=nan", "$.timeout_s"),
    bad(f"{WAIT}&target=2&timeout_s=1e9", "$.timeout_s"),
    # wrong credentials
    Request(KEY, "1", 401, "unauthorized", "a valid token is needed", {}),
    Request(KEY, "1", 401, "unauthorized", "a valid token is needed", GUESS),
    Request(KEY, "1", 401, "unauthorized", "a valid token is needed", BASIC),
    Request(KEY, "1", 403, "forbidden", "the role agent is needed", SEE),
    Request(WAIT, '{"target":2}', 403, "forbidden", "observer nobody can be an agent", SEE),
    Request(f"DELETE {RUN}", "", 403, "forbidden", "the role admin is needed"),
    Request("GET /metrics", "", 401, "unauthorized", "a valid token is needed", {}),
    Request(KEY, "1", 403, "forbidden", "--allow-origin", {**DO, "Origin": "http://evil.test"}),
    Request(KEY, "1", 403, "forbidden", "--allow-host", {**DO, "Host": "evil.test"}),
)  # fmt: skip


def test_by_http() -> None:
    async def scene() -> None:
        async with beside_a_bystander() as (url, bystander):
            for request in REQUESTS:
                what = f"{request.ask[:80]} {request.body[:40]!r}"
                method, _, path = request.ask.partition(" ")
                body = request.body.encode() if isinstance(request.body, str) else request.body
                status, head, content = await http(url, method, path, body, **request.headers)
                assert head["content-type"] == "application/json", what
                error = json.loads(content)["error"]
                assert (status, error["code"]) == (request.status, request.code), (what, error)
                assert request.words in error["message"], (what, error)
                await bystander.is_undisturbed(what)

    asyncio.run(scene())


class Message(NamedTuple):
    """A wrong frame, and its answer."""

    frame: str | bytes
    code: str
    words: str
    id: int | str | None = None


def frame(do: str, **fields: object) -> str:
    return json.dumps({"id": 7, "do": do, **fields})


def wrong(words: str, do: str, **fields: object) -> Message:
    """Make a frame that can be read so far that its answer finds the way back."""
    return Message(frame(do, **fields), "bad_request", words, 7)


MESSAGES = (
    # an unknown command
    Message(frame("jump"), "unknown_command", "there is no command 'jump'; known: abandon, ", 7),
    Message('{"do":"Wait"}', "unknown_command", "known: abandon, "),
    Message(frame("x" * 100_000), "unknown_command", "known: abandon, ", 7),
    Message('{"id":7}', "bad_request", "`do`", 7),
    wrong("unknown field `tarqet`", "wait", barrier="start", tarqet=2),
    # bad JSON
    Message("", "bad_request", "truncated"),
    Message("null", "bad_request", "Expected `object`"),
    Message('{"id":7,"do":"leave"} x', "bad_request", "trailing characters"),
    Message(b"\xff", "bad_request", "not UTF-8"),
    Message(f'{{"do":"put","id":7,"value":{DEEP}}}', "bad_request", "deeper than", 7),
    Message("[" * 100_000, "bad_request", "deeper than"),
    # wrong types
    wrong("$.target", "wait", barrier="start", target="2"),
    wrong("$.target", "wait", barrier="start", target=1.5),
    wrong("$.target", "wait", barrier="start", target=True),
    wrong("$.roster", "wait", barrier="start", roster="clumsy"),
    wrong("$.key", "put", key=5, value=1),
    wrong("$.role", "join", run="r", agent="clumsy", role="king"),
    wrong("$.is_concurrent", "join", run="r", agent="clumsy", is_concurrent="yes"),
    wrong("missing required field `value`", "put", key="config"),
    wrong("missing required field `barrier`", "wait"),
    wrong("give either `target`", "wait", barrier="start"),
    Message('{"id":[7],"do":"leave"}', "bad_request", "$.id"),
    # targets of nobody, or less
    wrong(">= 1", "wait", barrier="start", target=0),
    wrong(">= 1", "wait", barrier="start", target=-2),
    wrong(">= 1", "wait", barrier="start", target=2, quorum=0),
    wrong("> 0", "wait", barrier="start", target=2, timeout_s=0),
    wrong("length >= 1", "wait", barrier="start", roster=[]),
    wrong(">= 1", "await", signal="seeded", count=0),
    wrong(">= 1", "read", topic="log", offset=-1),
    wrong(">= 1", "join", run="r", agent="clumsy", size=0),
    # names too long, or of other characters
    *(
        wrong(f"$.{name}", do, **{name: text}, **more)
        for text in (LONG, "", "a b", "x\n", "\u00e9")
        for do, name, more in (
            ("join", "run", {"agent": "clumsy"}), ("join", "agent", {"run": "r"}),
            ("wait", "barrier", {"target": 2}), ("raise", "signal", {}),
            ("publish", "topic", {"data": 1}), ("put", "key", {"value": 1}),
            ("cancel", "once", {"barrier": "start"}),
        )
    ),
    wrong("$.doing", "beat", doing="x" * (COORD_DOING_CHARS_MAX + 1)),
    wrong("$.reason", "cancel", barrier="start", reason="x" * (COORD_DOING_CHARS_MAX + 1)),
    # bodies too large
    Message(f'{{"do":"put","key":"config","value":{VALUE_TOO_LARGE}}}', "too_large", "bytes"),
    Message(f'{{"do":"publish","topic":"log","data":{EVENT_TOO_LARGE}}}', "too_large", "bytes"),
    # numbers out of range
    wrong("<= 10000", "wait", barrier="start", target=COORD_AGENTS_MAX + 1),
    wrong("$.target", "wait", barrier="start", target=10**30),
    wrong("$.generation", "wait", barrier="start", target=2, generation=2**53),
    wrong("$.offset", "read", topic="log", offset=2**63),
    wrong("$.if_version", "put", key="config", value=1, if_version=-1),
    wrong("$.timeout_s", "wait", barrier="start", target=2, timeout_s=1e9),
    Message('{"id":1e30,"do":"leave"}', "bad_request", "$.id"),
    Message(json.dumps({"id": LONG, "do": "leave"}), "bad_request", "$.id"),
    # more than this token may do
    Message(frame("drop", run="r"), "forbidden", "the role admin is needed", 7),
)  # fmt: skip


def test_by_socket() -> None:
    async def scene() -> None:
        async with beside_a_bystander() as (url, bystander):
            clumsy = await Agent.open(url, **DO)
            await clumsy.ok("join", run="r", agent="clumsy")
            for message in MESSAGES:
                what = repr(message.frame[:160])
                await clumsy.socket.send(message.frame)
                answer = await clumsy.receive()
                assert answer.get("id") == message.id, (what, answer)
                assert answer["error"]["code"] == message.code, (what, answer)
                assert message.words in answer["error"]["message"], (what, answer)
                assert await clumsy.ok("get", key="config"), "the socket is still open"
                await bystander.is_undisturbed(what)
            assert clumsy.pushes == []

    asyncio.run(scene())


class Handshake(NamedTuple):
    """A socket that is asked for in a wrong way, and the answer."""

    path: str
    headers: dict[str, str]
    status: int
    code: str


OFFERED = "Sec-WebSocket-Protocol"
HANDSHAKES = (
    Handshake("/v2/connect", {}, 401, "unauthorized"),
    Handshake("/v2/connect", GUESS, 401, "unauthorized"),
    Handshake("/v2/connect", BASIC, 401, "unauthorized"),
    Handshake("/v2/connect?token=do", {}, 401, "unauthorized"),
    Handshake("/v2/connect", {OFFERED: "tidelab.v2, bearer.ZA"}, 401, "unauthorized"),
    Handshake("/v2/connect", {OFFERED: "tidelab.v2, bearer.Z"}, 401, "unauthorized"),
    Handshake("/v2/connect", {OFFERED: "tidelab.v2, x-bearer.ZG8"}, 401, "unauthorized"),
    Handshake("/v2/connect", {**GUESS, OFFERED: "bearer.ZG8"}, 401, "unauthorized"),
    Handshake("/v2/other", DO, 404, "not_found"),
    Handshake("/v2/connect", {**DO, "Origin": "http://evil.test"}, 403, "forbidden"),
)


def test_at_the_door() -> None:
    async def scene() -> None:
        async with beside_a_bystander() as (url, bystander):
            for path, headers, status, code in HANDSHAKES:
                with pytest.raises(InvalidStatus) as refused:
                    await connect(f"ws{url[4:]}{path}", additional_headers=headers, proxy=None)
                error = json.loads(refused.value.response.body or b"")["error"]
                assert (refused.value.response.status_code, error["code"]) == (status, code)
                assert error["message"]
                await bystander.is_undisturbed(path)

    asyncio.run(scene())


BROKEN = {
    b"\x81\x02hi": 1002,  # not masked
    b"\x83\x80\0\0\0\0": 1002,  # an opcode that there is not
    b"\xc1\x80\0\0\0\0": 1002,  # a reserved bit
    b"\x80\x80\0\0\0\0": 1002,  # a continuation of nothing
    b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126: 1002,  # a long ping
    b"\x88\x82\0\0\0\0\x03\xe7": 1002,  # close code 999
    b"\x81\x81\0\0\0\0\xff": 1007,  # a text that is no UTF-8
    b"\x81\xff" + (COORD_FRAME_BYTES_MAX + 1).to_bytes(8) + b"\0\0\0\0": 1009,  # too large
}


def test_frames_that_break_the_rules_end_their_own_socket_only() -> None:
    async def scene() -> None:
        async with beside_a_bystander() as (url, bystander):
            for broken, code in BROKEN.items():
                async with raw(url) as (answers, writer):
                    lines = (f"{name}: {value}\r\n" for name, value in {**DO, **UPGRADE}.items())
                    writer.write(f"GET /v2/connect HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
                    assert (await read_answer(answers)).status == 101
                    writer.write(broken)
                    async with asyncio.timeout(5):
                        end = await answers.read()
                assert (end[0], int.from_bytes(end[2:4])) == (0x88, code), (broken[:20], end)
                await bystander.is_undisturbed(repr(broken[:20]))

    asyncio.run(scene())


UPGRADE = {"Host": "localhost", **HANDSHAKE}

GARBAGE = (
    b"nonsense\r\n\r\n",
    b"GET /v2/runs HTTP/9\r\n\r\n",
    b"GET /v2/runs HTTP/1.1\r\n\r\n",  # without a host
    b"PUT /v2/runs/r/keys/config HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"PUT /v2/runs/r/keys/config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
    b"GET /v2/runs HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000,
)


def test_what_is_no_http_is_a_400() -> None:
    async def scene() -> None:
        async with beside_a_bystander() as (url, bystander):
            for garbage in GARBAGE:
                async with raw(url) as (answers, writer):
                    writer.write(garbage)
                    async with asyncio.timeout(5):
                        answer = await answers.read()
                assert answer.startswith(b"HTTP/1.1 400 "), (garbage[:40], answer)
                await bystander.is_undisturbed(repr(garbage[:40]))

    asyncio.run(scene())
