"""A mounted engine serves as one with its own port does, by the fast path and by the fall-back.

Method: every test runs on both ways, and on both loops; uvicorn is real, clients are bare sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import websockets

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.mounting import FALL_BACK, FAST, PATH, Mounted, mounted
from engine.tests.integration.mounting import WAYS as ALL_WAYS
from engine.tests.integration.node import GUARDED, OPEN, TOKEN, Node, follower
from engine.tests.integration.peer import (
    BINARY,
    CLOSE,
    HANDSHAKES,
    TEXT,
    frame,
    peer,
)
from tidewire import limits
from tidewire.server.admission import Verdict
from tidewire.server.relay import Relay, refuse
from tidewire.server.scope import Application, Receive, Scope, Send

BEARER = f"Authorization: Bearer {TOKEN}"
ways = pytest.mark.parametrize("way", list(ALL_WAYS))


@pytest.fixture(autouse=True)
def no_complaint(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let no error of ours end in the log of the server."""
    yield
    for record in caplog.get_records("call"):
        kind = record.exc_info[0] if record.exc_info else None
        # A server that loses patience complains of its own doing.
        assert kind in (None, asyncio.CancelledError, UnicodeDecodeError), record.getMessage()


async def status_of(
    node: Mounted, *lines: str, base: str = "full", host: str = "localhost"
) -> tuple[int, dict[str, str], bytes]:
    async with peer(node.port) as client:
        return await client.shake_hands(*lines, base=base, host=host, path=PATH)


def from_elsewhere(app: Application) -> Application:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "server": ("203.0.113.1", 443)}, receive, send)

    return serve


@ways
@on_loop
async def test_a_client_follows_through_an_application(way: str) -> None:
    words = [*(f"word {number}" for number in range(50)), "é" * 40_000, "w" * 200, "v" * 70_000]
    async with mounted(way) as node, follower(node, path=PATH) as client:
        for word in words:
            node.commit(word)
        assert await client.words(len(words)) == words
        assert node.calls == 1, "the application's middleware stands before us"


@ways
@on_loop
async def test_the_fast_path_is_taken_exactly_where_it_is_named(way: str) -> None:
    async with mounted(way) as node, follower(node, path=PATH):
        (connection,) = node.server.server_state.connections
        ours = type(connection).__module__.startswith("tidewire")
        assert ours == (way == FAST)


@ways
@on_loop
async def test_the_subprotocol_is_named_and_nothing_is_compressed_by_us(way: str) -> None:
    async with mounted(way) as node:
        _, headers, _ = await status_of(node)
        assert headers["sec-websocket-protocol"] == "tidewire.v1"
        assert "sec-websocket-extensions" not in headers


@ways
@on_loop
async def test_the_same_handshakes_are_refused(way: str) -> None:
    config = replace(GUARDED, allowed_hosts=("sync.example",), allowed_origins=("https://a.b",))
    async with mounted(way, config) as node:
        assert (await status_of(node, BEARER))[0] == 101
        assert (await status_of(node, BEARER, host="sync.example"))[0] == 101
        assert (await status_of(node, BEARER, "Origin: https://a.b"))[0] == 101
        assert (await status_of(node, BEARER, host="evil.example"))[0] == 421
        assert (await status_of(node, BEARER, "Origin: https://evil.example"))[0] == 403
        status, headers, body = await status_of(node, "Authorization: Bearer wrong")
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN.encode() not in body
        for base in set(HANDSHAKES) - {"full"}:
            assert (await status_of(node, BEARER, base=base))[0] in (400, 426), base
        await until(lambda: node.count_sessions() == 0)
        assert node.metrics.connections_refused._value.get() >= 5


@ways
@on_loop
async def test_a_token_may_come_in_hello(way: str) -> None:
    async with mounted(way, GUARDED) as node:
        async with peer(node.port) as client:
            assert (await client.shake_hands(path=PATH)).status == 101
            await client.follow(token=TOKEN)
        async with peer(node.port) as client:
            assert (await client.shake_hands(path=f"{PATH}?token={TOKEN}")).status == 101
            client.send({"type": "hello", "client": "a"})
            assert await client.close_code() == 4401


@ways
@on_loop
async def test_all_connections_are_taken(way: str) -> None:
    async with mounted(way, replace(OPEN, connections_max=1)) as node:
        async with follower(node, path=PATH):
            status, headers, _ = await status_of(node)
            assert status == 503
            assert int(headers["retry-after"]) > 0
        await until(lambda: node.count_sessions() == 0)
        assert (await status_of(node))[0] == 101


@ways
@on_loop
async def test_many_handshakes_at_once_do_not_pass_the_limit(way: str) -> None:
    # Goal: between the judgement and the session nobody else gets in.
    async with (
        mounted(way, replace(OPEN, connections_max=3)) as node,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(peer(node.port)) for _ in range(10)]
        for client in clients:
            client.ask(PATH, *HANDSHAKES["full"])
        answers = sorted([(await client.answer()).status for client in clients])
        assert answers == [101] * 3 + [503] * 7


@ways
@on_loop
async def test_dev_serves_loopback_only(way: str) -> None:
    # Method: what a server says of a connection that came in by a public address.
    async with mounted(way, wrap=from_elsewhere) as node:
        status, _, body = await status_of(node)
        assert status == 403
        assert b"TIDEWIRE_TOKENS" in body
        async with peer(node.port) as client:
            client.ask("/inner/health")
            assert (await client.answer()).status == 403
    async with mounted(way, GUARDED, wrap=from_elsewhere) as node:
        assert (await status_of(node, BEARER))[0] == 101


@ways
@on_loop
async def test_other_websockets_stay_the_applications(way: str) -> None:
    async with mounted(way) as node, follower(node, path=PATH) as client:
        async with websockets.connect(f"ws://127.0.0.1:{node.port}/echo") as socket:
            for word in ("a", "b" * 100_000):
                node.commit(word)
                await socket.send(word)
                assert await socket.recv() == word
        assert socket.close_code == 1000
        assert await client.words(2) == ["a", "b" * 100_000]
        for path in ("/v1/sync", "/inner", "/inner/v1", "/inner/inner/v1/sync"):
            with pytest.raises(websockets.exceptions.InvalidStatus):
                await websockets.connect(f"ws://127.0.0.1:{node.port}{path}")


@ways
@on_loop
async def test_http_is_served_below_the_mount(way: str) -> None:
    async with mounted(way, GUARDED) as node, peer(node.port) as client:
        expected = {"/health": 200, "/ready": 200, "/metrics": 401, "/v1/sync": 426, "/x": 404}
        for path, status in expected.items():
            client.ask(f"/inner{path}")
            assert (await client.answer()).status == status, path
        client.ask("/inner/v1/status", BEARER)
        assert (await client.answer()).status == 200
        client.ask("/health")
        assert (await client.answer()).status == 404, "nothing of ours is beside the mount"


@ways
@on_loop
async def test_frames_break_the_rules(way: str) -> None:
    wrong = {
        "binary": (frame(BINARY, b"{}"), 1003),
        "no UTF-8": (frame(TEXT, b'"\xff"'), 1007),
        "too big": (frame(TEXT, b'"' + b"x" * limits.INBOUND_FRAME_BYTES + b'"'), 1009),
        "unknown opcode": (frame(3), 1002),
        "not masked": (frame(TEXT, b"{}", is_masked=False), 1002),
        "no hello": (frame(TEXT, b"{}"), 4400),
    }
    async with mounted(way) as node, follower(node, path=PATH) as bystander:
        for name, (data, code) in wrong.items():
            async with peer(node.port) as client:
                assert (await client.shake_hands(path=PATH)).status == 101
                client.write(data)
                assert await client.close_code() == code, name
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]
        await until(lambda: node.count_sessions() == 1)


@ways
@on_loop
async def test_a_client_floods(way: str) -> None:
    async with mounted(way) as node, follower(node, path=PATH) as client:
        client.send(*[{"type": "ping"}] * 1000)
        assert await client.close_code() == 4429


@on_loop
async def test_silence_is_no_death_where_only_the_server_sees_pongs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Method: time is the subject, so it passes, in the small.
    monkeypatch.setattr(limits, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(limits, "DEAD_S", 0.05)
    async with mounted(FALL_BACK) as node, follower(node, path=PATH) as client:
        clock = asyncio.get_running_loop().time
        end = clock() + 0.5

        def watch() -> bool:
            node.pass_time(0)
            return clock() > end

        await until(watch)
        node.commit("alive")
        assert await client.words(1) == ["alive"]


@on_loop
async def test_a_server_cannot_answer_a_handshake_with_a_status() -> None:
    # Method: the extension is not there, so what is left is the refusal of ASGI itself.
    sent: list[Mapping[str, Any]] = []

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event)

    await refuse({"type": "websocket"}, send, Verdict(401, "no"))
    assert [event["type"] for event in sent] == ["websocket.close"]


@on_loop
async def test_a_server_says_by_an_error_that_the_client_has_gone() -> None:
    # Method: a server that says nothing else: uvicorn also tells it to whoever receives.
    for error in (OSError("gone"), RuntimeError("closed before")):
        node = Node()
        events = [{"type": "websocket.receive", "text": '{"type": "hello", "client": "a"}'}]

        async def receive() -> Mapping[str, Any]:
            if not events:  # noqa: B023
                await asyncio.Event().wait()
            return events.pop()  # noqa: B023

        async def send(event: Mapping[str, Any]) -> None:
            if event["type"] != "websocket.accept":
                raise error  # noqa: B023

        await Relay(node, {}, receive, send).run()
        assert node.closed_as("lost") == 1
        node.check_is_empty()


@ways
@on_loop
async def test_a_client_leaves(way: str, caplog: pytest.LogCaptureFixture) -> None:
    async with mounted(way) as node:
        async with follower(node, path=PATH):
            pass  # it is cut
        await until(lambda: node.closed_as("lost") == 1)
        async with follower(node, path=PATH) as client:
            client.write(frame(CLOSE, (1000).to_bytes(2)))
            assert await client.close_code() == 1000
        await until(lambda: node.closed_as("normal") == 1)
        assert not node.mount._open
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@on_loop
async def test_a_client_talks_before_it_is_answered() -> None:
    # RFC 6455, 4.1: it MUST wait. Method: the application takes its time, and the client none.
    def dawdle(app: Application) -> Application:
        async def later(scope: Scope, receive: Receive, send: Send) -> None:
            await until(hasty.is_set, "the client has talked")
            await app(scope, receive, send)

        return later

    hasty = asyncio.Event()
    async with mounted(FAST, wrap=dawdle) as node, peer(node.port) as client:
        client.ask(PATH, *HANDSHAKES["full"])
        await until(lambda: node.server.server_state.tasks, "the application is called")
        (connection,) = node.server.server_state.connections
        client.send({"type": "hello", "client": "a"})
        await until(lambda: getattr(connection, "_reads", 0) == 2, "it has come")
        hasty.set()
        assert await client.end() == b""
        assert node.count_sessions() == 0
