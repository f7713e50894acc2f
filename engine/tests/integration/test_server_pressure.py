"""Clients that are slow, stuck or dead disturb nobody, and cost a bounded amount of memory.

Method: small socket buffers on both sides, so that little is enough to fill them; time passes by
`hub.tick`. What waits for a client is looked up in its transport.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import Node, follower, running
from engine.tests.integration.peer import BINARY, PING, TEXT, Peer, frame, peer, text, words_of
from tidewire import limits
from tidewire.core.session.server import ServerSession
from tidewire.server.connection import Connection

SMALL = 4096
WORDS = [f"{number}:".ljust(20_000, "w") for number in range(100)]


@contextlib.asynccontextmanager
async def stuck(node: Node) -> AsyncIterator[tuple[Peer, ServerSession]]:
    """Let a peer with a small buffer follow the table and then read nothing more."""
    known = set(node.hub.sessions)
    async with peer(node.port, receive_buffer_bytes=SMALL) as client:
        assert (await client.shake_hands()).status == 101
        await client.follow()
        client.pause()
        (session,) = set(node.hub.sessions) - known
        yield client, session


def transport_of(node: Node, session: ServerSession) -> asyncio.WriteTransport:
    connections = (c for c in node.listener.server_state.connections if isinstance(c, Connection))
    transport = next(c._transport for c in connections if c._session is session)
    assert transport is not None
    return transport


def is_direct(session: ServerSession) -> bool:
    return session.descriptor is not None


async def commit_all(node: Node, words: list[str]) -> None:
    for word in words:
        node.commit(word)
        await asyncio.sleep(0)


@on_loop
async def test_a_client_never_reads() -> None:
    async with (
        running(send_buffer_bytes=SMALL) as node,
        stuck(node) as (_, session),
        follower(node) as bystander,
    ):
        transport = transport_of(node, session)
        await commit_all(node, WORDS)
        assert await bystander.words(len(WORDS)) == WORDS
        assert session.outbox.is_blocked
        waiting = transport.get_write_buffer_size() + sum(map(len, session.outbox.frames))
        assert waiting < limits.SOCKET_BUFFER_BYTES + 2 * len(WORDS[0])
        node.pass_time(limits.STALLED_S - 0.5)
        assert node.count_sessions() == 2
        bystander.send({"type": "ping"})  # it lives, in that future as well
        session.hear(asyncio.get_running_loop().time() + limits.STALLED_S)
        node.pass_time(limits.STALLED_S + 0.1)
        await until(lambda: node.closed_as("stalled") == 1, "it is cut")
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]


@on_loop
async def test_a_slow_client_falls_behind_and_catches_up() -> None:
    async with (
        running(send_buffer_bytes=SMALL) as node,
        stuck(node) as (client, session),
        follower(node) as bystander,
    ):
        await commit_all(node, WORDS)
        assert await bystander.words(len(WORDS)) == WORDS
        assert not session.is_live
        client.resume()
        assert await client.words(60) == WORDS[:60]
        client.pause()
        await commit_all(node, ["later", "latest"])
        client.resume()
        assert await client.words(42) == [*WORDS[60:], "later", "latest"]
        await until(lambda: session.is_live, "it has caught up")
        node.commit("live again")
        assert await client.words(1) == ["live again"]


@on_loop
async def test_commits_go_past_a_transport_only_while_it_holds_nothing() -> None:
    # Goal: nothing overtakes what waits in a transport, nothing is written to a closed descriptor.
    async with running(send_buffer_bytes=SMALL) as node, follower(node) as bystander:
        async with stuck(node) as (client, session):
            assert is_direct(session)
            await commit_all(node, WORDS)
            assert await bystander.words(len(WORDS)) == WORDS
            assert session.outbox.is_blocked
            assert not is_direct(session)
            client.resume()
            assert await client.words(len(WORDS)) == WORDS
            await until(lambda: is_direct(session), "the transport has drained")
        await until(lambda: node.count_sessions() == 1, "it is gone")
        assert not is_direct(session)


@on_loop
async def test_a_socket_drains_without_any_acknowledgement() -> None:
    words = WORDS[:40]  # more than the socket takes, less than the window
    async with running(send_buffer_bytes=SMALL) as node, stuck(node) as (client, session):
        await commit_all(node, words)
        assert session.outbox.is_blocked
        client.resume()
        for word in words:
            assert words_of(await client.message()) == [word]


@on_loop
async def test_a_client_reads_and_acknowledges_nothing() -> None:
    # Goal: the window holds back what TCP does not: a browser reads into its heap.
    async with running() as node, follower(node) as client, follower(node) as bystander:
        await commit_all(node, WORDS)
        assert await bystander.words(len(WORDS)) == WORDS
        got = 0
        for _ in range(limits.WINDOW_BYTES // len(WORDS[0])):
            got += len(str(await client.message()))
        await client.message()  # one may overshoot
        client.send({"type": "ping", "t": 1})
        assert (await client.message())["type"] == "pong", "nothing more came"
        client.send({"type": "ack", "n": client.counted})
        rest = len(WORDS) - client.counted
        assert await client.words(rest) == WORDS[-rest:]


@on_loop
async def test_a_bulk_update_reaches_a_slow_client_in_parts() -> None:
    async with running(send_buffer_bytes=SMALL) as node, stuck(node) as (client, _):
        node.commit("before")
        node.commit(*WORDS)
        node.commit("after")
        client.resume()
        assert await client.words(102) == ["before", *WORDS, "after"]


@on_loop
async def test_a_client_pings_and_never_reads() -> None:
    # Goal: pongs wait in memory that is bounded, too. Method: look at the transport all the while.
    async with running(send_buffer_bytes=SMALL) as node, stuck(node) as (client, session):
        transport = transport_of(node, session)
        peak = 0

        def is_done() -> bool:
            nonlocal peak
            peak = max(peak, transport.get_write_buffer_size())
            return not session.shapes

        for _ in range(100):
            client.write(frame(PING, b"p" * 125) * 200)
            await client.drain()
        client.write(text({"type": "unsubscribe", "id": "1"}))
        await until(is_done, "all pings were read, or the client was cut")
        assert peak < limits.WINDOW_BYTES


@on_loop
async def test_a_client_vanishes_behind_its_router() -> None:
    # Goal: a socket that answers nothing is pinged and then cut; who answers stays.
    async with running() as node, follower(node) as bystander, stuck(node) as (_, session):
        (alive,) = set(node.hub.sessions) - {session}
        node.pass_time(limits.HEARTBEAT_S - 1)
        node.commit("no ping before this")
        assert await bystander.frame() != (PING, b"")
        node.pass_time(limits.HEARTBEAT_S + 1)
        assert await bystander.frame() == (PING, b"")
        alive.hear(asyncio.get_running_loop().time() + limits.HEARTBEAT_S + 2)
        node.pass_time(limits.HEARTBEAT_S + 1 + limits.DEAD_S + 0.1)
        await until(lambda: node.closed_as("dead") == 1, "it is cut")
        assert list(node.hub.sessions) == [alive]


@on_loop
async def test_a_client_is_told_to_go_and_stays() -> None:
    async with running() as node, follower(node) as bystander, stuck(node) as (client, _):
        client.write(frame(BINARY, b"") + frame(TEXT, b"{}"))
        await until(lambda: any(s.deadline < now() + limits.CLOSE_S for s in node.hub.sessions))
        assert node.count_sessions() == 2
        node.pass_time(limits.CLOSE_S + 0.1)
        await until(lambda: node.closed_as("binary_frame") == 1, "it is cut")
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]


@on_loop
async def test_a_client_breaks_a_rule_and_never_reads() -> None:
    # Goal: even a socket whose buffer is full goes away. Method: fill it, then send a bad frame.
    async with running(send_buffer_bytes=SMALL) as node, stuck(node) as (client, session):
        await commit_all(node, WORDS)
        assert session.outbox.is_blocked
        client.write(frame(3))
        await until(transport_of(node, session).is_closing, "the server gives up")
        node.pass_time(limits.STALLED_S + 0.1)
        await until(lambda: node.count_sessions() == 0, "it is cut")


def now() -> float:
    return asyncio.get_running_loop().time()
