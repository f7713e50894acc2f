"""Goal: on a socket everybody is answered, whatever others do. Method: a server, real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from lab.tests.coordinator.kit import (
    DEADLINE_S,
    Agent,
    Json,
    call,
    certify,
    connect_slowly,
    masked,
    running,
    serving,
)
from tidelab.coordinator import OldClients, Options, keeper
from tidelab.coordinator.storage.sqlite import SqliteStorage
from tidelab.coordinator.v2 import socket as v2_socket
from tidelab.coordinator.v2.gate import Tokens
from tidelab.core.coord.record import Write
from tidelab.limits import COORD_FRAME_BYTES_MAX


def play(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


def test_agents_share_data_signals_and_events() -> None:
    async def scene() -> None:
        async with running() as url:
            a, b = await Agent.join(url, "a"), await Agent.join(url, "b")
            assert (await a.ok("watch", key="k")) == {"key": "k"}
            assert (await a.ok("subscribe", topic="t"))["next"] == 1
            assert (await b.ok("put", key="k", value=[1]))["version"] == 1
            assert (await b.ok("publish", topic="t", data={"x": 1}))["offset"] == 1
            assert await a.push() == {"event": "changed", "key": "k", "version": 1, "value": [1]}
            appended = {"event": "appended", "topic": "t", "offset": 1, "data": {"x": 1}}
            assert await a.push() == appended
            waiting = await a.send("await", signal="s", count=2)
            assert [(await b.ok("raise", signal="s"))["sequence"] for _ in range(2)] == [1, 2]
            assert (await a.answer(waiting))["ok"]["count"] == 2
            for agent in (a, b):
                await agent.close()

    play(scene())


def test_a_broken_barrier_tells_the_whole_story() -> None:
    async def scene() -> None:
        async with running() as url:
            a, b = await Agent.join(url, "a"), await Agent.join(url, "b", lease_s=0)
            waiting = await a.send("wait", barrier="b", roster=["a", "b"])
            await b.ok("beat", doing="loading page 3")
            b.socket.transport.abort()
            fault = (await a.answer(waiting))["error"]
            assert (fault["code"], fault["roll"]["dead"]) == ("broken", ["b"])
            assert "loading page 3" in fault["roll"]["doing"]["b"]
            await a.close()

    play(scene())


def test_clocks_are_compared_and_the_start_is_told_on_the_agents_own() -> None:
    async def scene() -> None:
        async with running() as url:
            a = await Agent.join(url, "a")

            def clock_ms() -> int:
                return round(time.monotonic() * 1000)  # any clock will do

            told: Json = {}
            heard = 0
            for _ in range(3):
                echo = {"told_ms": told["now_ms"], "heard_ms": heard} if told else {}
                told = await a.ok("beat", sent_ms=clock_ms(), **echo)
                heard = clock_ms()
            released = await a.ok("wait", barrier="b", target=1)
            offset_ms = (time.monotonic() - time.time()) * 1000
            wrong_ms = released["start_at_local_ms"] - (released["start_at_ms"] + offset_ms)
            assert abs(wrong_ms) <= told["error_ms"] + 5, "5 for rounding, and a clock that is set"
            await a.close()

    play(scene())


def test_the_newest_connection_of_a_name_wins_and_the_old_one_is_closed() -> None:
    async def scene() -> None:
        async with running() as url:
            old = await Agent.join(url, "a")
            new = await Agent.join(url, "a")
            assert await old.push() == {"event": "replaced", "agent": "a"}
            with pytest.raises(ConnectionClosed) as closed:
                await old.receive()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
            assert (await new.ok("raise", signal="s"))["sequence"] == 1
            await new.close()

    play(scene())


def test_a_close_handshake_is_quick() -> None:
    async def scene() -> None:
        async with running() as url:
            a = await Agent.join(url, "a")
            begin = time.monotonic()
            await a.close()
            assert time.monotonic() - begin < 1.0
            assert a.socket.close_code == 1000

    play(scene())


def test_a_stop_closes_sockets_with_1012_after_the_last_answer() -> None:
    async def scene() -> None:
        async with running() as url:
            a = await Agent.join(url, "a")
            asked = await a.send("raise", signal="s")
            assert (await a.answer(asked))["ok"]["sequence"] == 1
        with pytest.raises(ConnectionClosed):
            await a.receive()
        assert a.socket.close_code == 1012

    play(scene())


def test_an_agent_that_does_not_read_is_cut_and_delays_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(v2_socket, "COORD_OUTBOX_BYTES_MAX", 256 * 1024)

    async def scene() -> None:
        async with running() as url:
            a, b = await Agent.join(url, "a"), await Agent.join(url, "b")
            slow = await connect_slowly(url)
            for frame in (
                {"do": "join", "run": "r", "agent": "slow"},
                {"do": "subscribe", "topic": "t"},
            ):
                await asyncio.get_running_loop().sock_sendall(slow, masked(frame))
            await a.ok("subscribe", topic="t")
            async with asyncio.timeout(DEADLINE_S):
                while await state_of(url, "slow") != "present":
                    pass
                event = "x" * 50_000
                for number in range(1, 2_000):
                    assert (await b.ok("publish", topic="t", data=event))["offset"] == number
                    assert (await a.push())["offset"] == number, "a reader is told at once"
                    if await state_of(url, "slow") != "present":
                        break
                else:
                    raise AssertionError("100 MB wait for an agent that does not read")
            slow.close()
            for agent in (a, b):
                await agent.close()

    play(scene())


def test_agents_that_ask_faster_than_the_disk_keeps_are_held_back_and_all_are_answered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keeper, "COORD_PENDING_MAX", 3)
    sizes: list[int] = []
    commit = SqliteStorage.commit

    async def noted(storage: SqliteStorage, writes: Sequence[Write]) -> None:
        sizes.append(len(writes))
        await commit(storage, writes)

    monkeypatch.setattr(SqliteStorage, "commit", noted)

    async def scene() -> None:
        async with running(Options(http_port=0, storage=tmp_path / "c.db")) as url:
            agents = [await Agent.join(url, name) for name in ("a", "b")]
            for agent in agents:
                chunk = [{"id": n, "do": "raise", "signal": "s"} for n in range(100, 200)]
                agent.socket.transport.write(b"".join(masked(frame) for frame in chunk))
            for agent in agents:
                for number in range(100, 200):
                    assert "ok" in await agent.answer(number)
            for agent in agents:
                await agent.close()

    play(scene())
    assert max(sizes) <= 3 + 2 * 2, "what one agent has sent is not taken all at once"


def test_a_ping_is_answered_also_while_messages_come_in_pieces() -> None:
    async def scene() -> None:
        async with running() as url:
            raw, loop = await connect_slowly(url), asyncio.get_running_loop()
            join = masked({"do": "join", "run": "r", "agent": "a"})
            ping = b"\x89\x82\0\0\0\0hi"
            for piece in (join[:3], join[3:] + ping[:4], ping[4:]):
                await loop.sock_sendall(raw, piece)
            received = b""
            async with asyncio.timeout(DEADLINE_S):
                while b"\x8a\x02hi" not in received or b'"agent":"a"' not in received:
                    received += await loop.sock_recv(raw, 4096)
            raw.close()

    play(scene())


def test_a_frame_too_large_ends_its_own_connection_only() -> None:
    async def scene() -> None:
        async with running() as url:
            a, b = await Agent.join(url, "a"), await Agent.join(url, "b")
            await a.socket.send("x" * (COORD_FRAME_BYTES_MAX + 1))
            with pytest.raises(ConnectionClosed):
                await a.receive()
            assert a.socket.close_code == 1009
            assert (await b.ok("raise", signal="s"))["sequence"] == 1
            await b.close()

    play(scene())


def test_a_half_open_agent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v2_socket, "COORD_PING_S", 0.1)

    async def scene() -> None:
        async with running() as url:
            a = await Agent.join(url, "a")
            silent = await connect_slowly(url)
            join = {"do": "join", "run": "r", "agent": "silent", "lease_s": 0}
            await asyncio.get_running_loop().sock_sendall(silent, masked(join))
            waiting = await a.send("wait", barrier="b", roster=["a", "silent"], timeout_s=600)
            answer = await a.answer(waiting)
            assert answer["error"]["code"] == "broken"
            assert answer["error"]["roll"]["dead"] == ["silent"]
            silent.close()
            await a.close()

    play(scene())


def test_sockets_that_break_while_events_flow_are_no_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        async with running() as url:
            speaker = await Agent.join(url, "speaker")
            for number in range(20):
                listener = await Agent.join(url, f"l{number}")
                await listener.ok("subscribe", topic="t")
                published = [await speaker.send("publish", topic="t", data=n) for n in range(20)]
                listener.socket.transport.abort()
                for id in published:
                    assert "ok" in await speaker.answer(id)
            await speaker.close()

    play(scene())
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def state_of(url: str, name: str) -> str | None:
    story = (await call(url, "GET", "/v2/runs/r"))["ok"]
    states = {agent["agent"]: agent["state"] for agent in story["agents"]}
    return states.get(name)


def test_without_room_there_is_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        monkeypatch.setattr(v2_socket, "COORD_CONNECTIONS_MAX", 1)
        async with running() as url:
            first = await Agent.join(url, "a")
            with pytest.raises(InvalidStatus) as refused:
                await Agent.open(url)
            assert refused.value.response.status_code == 503
            await first.close()

    play(scene())


def test_both_protocols_over_tls(tmp_path: Path) -> None:
    certificate, key = certify(tmp_path)

    async def scene() -> None:
        import ssl

        options = Options(
            http_port=0,
            tls_certificate=certificate,
            tls_key=key,
            old_clients=OldClients(ws_port=0),
        )
        trust = ssl.create_default_context(cafile=str(certificate))
        trust.check_hostname = False
        async with serving(options) as at:
            assert at.url.startswith("https://")
            async with connect(f"wss{at.url[5:]}/v2/connect", ssl=trust, proxy=None) as socket:
                await socket.send('{"do":"list"}')
                assert json.loads(await socket.recv())["ok"]["runs"] == []
            async with connect(f"{at.ws_url}/register/1", ssl=trust, proxy=None) as socket:
                await socket.send('{"command":"get_connection_count"}')
                assert json.loads(await socket.recv())["content"] == {"count": 1}

    play(scene())


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["tidelab.v2", "bearer.ZG8_PyE-"], "tidelab.v2"),
        (["bearer.ZG8_PyE-", "other"], None),
    ],
)
def test_a_token_may_come_among_the_subprotocols(
    offered: list[Subprotocol], chosen: str | None
) -> None:
    async def scene() -> None:
        async with running(Options(http_port=0, tokens=Tokens(agent=("do??!>",)))) as url:
            address = f"ws{url[4:]}/v2/connect"
            async with connect(address, subprotocols=offered, proxy=None) as socket:
                assert socket.subprotocol == chosen
                await socket.send('{"do":"join","run":"r","agent":"a"}')
                assert json.loads(await socket.recv())["ok"]["agent"] == "a"

    play(scene())
