"""Clients of a mounted engine that are slow, stuck or deaf, and servers that stop under them.

Method: as in `test_mount.py`; small socket buffers on both sides, time passes by `hub.tick`.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.mounting import PATH, SMALL, WAYS, Mounted, mounted, stuck
from engine.tests.integration.node import follower
from engine.tests.integration.peer import BINARY, CLOSE, frame
from tidewire import limits
from tidewire.core.session.server import State

WORDS = [f"{number}:".ljust(20_000, "w") for number in range(100)]
ways = pytest.mark.parametrize("way", list(WAYS))


async def commit_all(node: Mounted) -> None:
    for word in WORDS:
        node.commit(word)
        await asyncio.sleep(0)


@ways
@on_loop
async def test_a_client_never_reads(way: str) -> None:
    # Goal: it costs a bounded amount of memory and itself only, and is cut in the end.
    async with (
        mounted(way, send_buffer_bytes=SMALL) as node,
        stuck(node) as (_, session),
        follower(node, path=PATH) as bystander,
    ):
        await commit_all(node)
        assert await bystander.words(len(WORDS)) == WORDS
        assert session.outbox.is_blocked
        assert session.outbox.sent < 2 * 65_536 + limits.RELAY_BYTES + 4 * len(WORDS[0])
        bystander.send({"type": "ping"})  # it lives in the future, too
        await bystander.messages_until("pong")
        now = asyncio.get_running_loop().time()
        for each in node.hub.sessions:
            each.hear(now + limits.STALLED_S)
        node.pass_time(limits.STALLED_S + 1)
        await until(lambda: node.closed_as("stalled") == 1, "it is cut")
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]


@ways
@on_loop
async def test_a_slow_client_falls_behind_and_catches_up(way: str) -> None:
    async with (
        mounted(way, send_buffer_bytes=SMALL) as node,
        stuck(node) as (client, session),
        follower(node, path=PATH) as bystander,
    ):
        await commit_all(node)
        assert await bystander.words(len(WORDS)) == WORDS
        assert not session.is_live
        client.resume()
        assert await client.words(len(WORDS)) == WORDS
        await until(lambda: session.is_live, "it has caught up")
        node.commit("live again")
        assert await client.words(1) == ["live again"]


@ways
@on_loop
async def test_a_client_is_told_to_go_and_takes_nothing(way: str) -> None:
    async with mounted(way, send_buffer_bytes=SMALL) as node, stuck(node) as (client, session):
        await commit_all(node)
        await until(lambda: session.outbox.is_blocked)
        client.write(frame(BINARY, b"{}"))
        await until(lambda: session.state is State.CLOSED)
        node.pass_time(limits.CLOSE_S + 0.1)
        await until(lambda: node.closed_as("binary_frame") == 1, "it is cut")


@ways
@on_loop
async def test_a_client_vanishes_while_it_is_sent_to(way: str) -> None:
    async with mounted(way, send_buffer_bytes=SMALL) as node:
        async with stuck(node) as (_, session):
            await commit_all(node)
            await until(lambda: session.outbox.is_blocked)
        await until(lambda: node.closed_as("lost") == 1)


@ways
@on_loop
async def test_the_server_loses_patience_with_a_deaf_client(way: str) -> None:
    # Goal: nothing that still waits for the client keeps its socket open.
    async with mounted(way, send_buffer_bytes=SMALL) as node, stuck(node) as (_, session):
        await commit_all(node)
        await until(lambda: session.outbox.is_blocked)
        node.server.config.timeout_graceful_shutdown = 0
        node.server.should_exit = True
        await until(lambda: node.count_sessions() == 0, timeout_s=limits.CLOSE_S / 2)


@ways
@on_loop
async def test_a_live_client_stays_live(way: str) -> None:
    # Goal: what has been taken does not count against a client.
    words = ["w" * 1000] * 200
    async with mounted(way) as node, follower(node, path=PATH) as client:
        (session,) = node.hub.sessions
        for word in words:
            node.commit(word)
            assert await client.words(1) == [word]
        node.commit("one")
        node.commit("another, at once")
        assert session.is_live
        assert await client.words(2) == ["one", "another, at once"]


@ways
@on_loop
async def test_the_server_stops_and_tells_everybody(way: str) -> None:
    async with mounted(way) as node, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(follower(node, path=PATH)) for _ in range(20)]
        node.commit("the last words")
        for client in clients:
            assert await client.words(1) == ["the last words"]
        node.server.should_exit = True
        for client in clients:
            assert await client.close_code() == 1012
        await until(lambda: node.count_sessions() == 0)
        assert node.closed_as("restart") == 20


@ways
@on_loop
async def test_the_engine_stops_before_its_server(way: str) -> None:
    # Goal: the lifespan ends while clients are there, as when an application stops only us.
    async with mounted(way) as node, follower(node, path=PATH) as client:
        node.commit("the last words")
        node.mount.stop()
        assert await client.words(1) == ["the last words"]
        assert await client.close_code() == 1012
        await until(lambda: node.count_sessions() == 0)


@ways
@on_loop
async def test_a_deaf_client_does_not_hold_the_engine_up(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CLOSE_S", 0.2)
    async with mounted(way) as node, follower(node, path=PATH) as deaf:
        node.mount.stop()
        assert (await deaf.frame())[0] == CLOSE  # and no answer
        await until(lambda: node.count_sessions() == 0, "it is cut", timeout_s=2)
