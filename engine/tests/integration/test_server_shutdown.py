"""The server stops: everybody is told with 1012, nobody can hold it up, and nothing stays open.

Method: the listener of the kit runs in a task; its end, the sockets and the sessions are looked at.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import websockets

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import Node, follower, running
from engine.tests.integration.peer import CLOSE, PATH, peer
from tidewire import limits
from tidewire.config import Config
from tidewire.errors import ConfigError
from tidewire.server import listener as listener_module

CLIENTS = 50


@on_loop
async def test_all_clients_are_told_that_the_server_stops() -> None:
    async with running() as node, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(follower(node)) for _ in range(CLIENTS)]
        greeted = await stack.enter_async_context(peer(node.port))
        assert (await greeted.shake_hands()).status == 101
        node.commit("the last words")
        node.listener.should_exit = True
        for client in clients:
            assert await client.words(1) == ["the last words"]
            assert await client.close_code() == 1012
            assert "restart" in client.reason or "moment" in client.reason
        assert await greeted.close_code() == 1012
        await until(lambda: node.count_sessions() == 0)
        assert node.closed_as("restart") == CLIENTS + 1


@on_loop
async def test_nobody_is_let_in_while_the_server_stops() -> None:
    async with running() as node, follower(node) as client:
        node.listener.should_exit = True
        assert await client.close_code() == 1012
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            async with peer(node.port):
                pass


@on_loop
async def test_half_a_handshake_does_not_hold_the_server_up() -> None:
    async with running() as node, peer(node.port) as half, peer(node.port) as mute:
        half.write(f"GET {PATH} HTTP/1.1\r\nHost: loc".encode())
        await half.drain()
        await until(lambda: len(node.listener.server_state.connections) == 2)
        node.listener.should_exit = True
        assert await half.end() == b""
        assert await mute.end() == b""


@on_loop
async def test_a_client_ignores_that_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    # Goal: no socket stays open when the listener has ended.
    monkeypatch.setattr(listener_module, "_DRAIN_S", 1)
    async with running() as node, follower(node) as deaf, follower(node) as polite:
        node.listener.should_exit = True
        assert await polite.close_code() == 1012
        assert (await deaf.frame())[0] == CLOSE  # and no answer
        async with asyncio.timeout(3):
            await deaf.end()
        await until(lambda: node.count_sessions() == 0, timeout_s=1)


@on_loop
async def test_a_deaf_client_does_not_hold_the_server_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_DRAIN_S", 0.2)
    async with running() as node, follower(node) as deaf:
        node.listener.should_exit = True
        assert (await deaf.frame())[0] == CLOSE  # and no answer
        await until(node.is_over, "the listener has ended", timeout_s=2)


@on_loop
async def test_a_client_that_ignores_the_close_is_cut_when_its_time_is_over() -> None:
    async with running() as node, follower(node) as deaf:
        node.listener.should_exit = True
        assert (await deaf.frame())[0] == CLOSE
        node.pass_time(limits.CLOSE_S + 0.1)
        await deaf.end()
        await until(lambda: node.count_sessions() == 0)


@on_loop
async def test_a_client_library_comes_back_after_the_restart() -> None:
    async with running() as node:
        socket = await websockets.connect(
            node.url, subprotocols=[websockets.Subprotocol("tidewire.v1")]
        )
        node.listener.should_exit = True
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012
        await socket.close()
    async with running(Config(listen=f"127.0.0.1:{node.port}", dev=True)) as again:
        assert again.port == node.port
        async with follower(again) as client:
            again.commit("back")
            assert await client.words(1) == ["back"]


@on_loop
async def test_the_port_is_taken() -> None:
    async with running() as node:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{node.port}: .*in use"):
            Node(Config(listen=f"127.0.0.1:{node.port}", dev=True)).listen()


@on_loop
async def test_the_address_is_not_ours() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 203\.0\.113\.1:0"):
        Node(Config(listen="203.0.113.1:0", tokens=("x" * 16,))).listen()
