"""Handshakes: who is let in, and what each wrong one is answered.

Method: heads of requests are written by hand on a bare socket.
"""

from __future__ import annotations

from dataclasses import replace

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import GUARDED, OPEN, TOKEN, Node, follower, running
from engine.tests.integration.peer import HANDSHAKES, PATH, Answer, peer
from tidewire import limits

EXAMPLE = replace(
    OPEN,
    dev=False,
    tokens=(TOKEN,),
    allowed_hosts=("sync.example",),
    allowed_origins=("https://app.example",),
)

BEARER = f"Authorization: Bearer {TOKEN}"


async def shake(
    node: Node, *lines: str, base: str = "full", host: str | None = "localhost"
) -> Answer:
    async with peer(node.port) as client:
        answer = await client.shake_hands(*lines, base=base, host=host)
        if answer.status != 101:
            assert await client.end() == b"", "a refused client is let go"
        return answer


async def send_head(node: Node, head: bytes) -> bytes:
    """Send bytes in place of a handshake and return the first line of the answer."""
    async with peer(node.port) as client:
        client.write(head)
        return await client.line()


def head(first_line: str, *lines: str, base: str = "full") -> bytes:
    return "\r\n".join([first_line, "Host: localhost", *HANDSHAKES[base], *lines, "", ""]).encode()


@on_loop
async def test_a_proper_handshake_names_the_subprotocol() -> None:
    async with running() as node:
        answer = await shake(node)
        assert answer.status == 101
        assert answer.headers["sec-websocket-protocol"] == "tidewire.v1"
        # The example of RFC 6455, 1.3.
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert "sec-websocket-extensions" not in answer.headers


@on_loop
async def test_a_client_offers_more_than_we_speak() -> None:
    async with running() as node:
        deflate = "Sec-WebSocket-Extensions: permessage-deflate"
        other = "Sec-WebSocket-Protocol: chat"
        for lines in ((deflate,), (other,), (other, deflate)):
            answer = await shake(node, *lines)
            assert answer.status == 101
            assert answer.headers["sec-websocket-protocol"] == "tidewire.v1"
            assert "sec-websocket-extensions" not in answer.headers


@on_loop
async def test_handshakes_are_incomplete() -> None:
    async with running() as node, follower(node) as bystander:
        wrong = [base for base in HANDSHAKES if base != "full"]
        answers = {base: await shake(node, base=base) for base in wrong}
        assert {base: answer.status for base, answer in answers.items()} == dict.fromkeys(
            wrong, 400
        )
        for base in ("no subprotocol", "other subprotocol"):
            assert b"tidewire.v1" in answers[base].body
        assert node.metrics.connections_refused._value.get() == len(wrong)
        assert node.count_sessions() == 1
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]


@on_loop
async def test_garbage_comes_instead_of_a_handshake() -> None:
    async with running() as node:
        garbage = [
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"\0" * 100,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ]
        for data in [*garbage, b"GET\r\n\r\n", b"GET /v1/sync HTTP/9.9\r\n\r\n"]:
            assert await send_head(node, data) == b"HTTP/1.1 400 Bad Request\r\n"
        assert node.count_sessions() == 0


@on_loop
async def test_a_handshake_comes_by_another_method() -> None:
    async with running() as node:
        assert (await send_head(node, head(f"POST {PATH} HTTP/1.1"))).split()[1] == b"405"


@on_loop
async def test_a_handshake_has_a_head_beyond_all_measure() -> None:
    # Goal: an answer, and not a closed socket that explains nothing.
    async with running() as node:
        long_line = head(f"GET {PATH} HTTP/1.1", "X: " + "x" * 20_000)
        many_lines = head(f"GET {PATH} HTTP/1.1", *["X: x"] * 300)
        for data in (long_line, many_lines):
            status = await send_head(node, data)
            assert status[:10] == b"HTTP/1.1 4", status


@on_loop
async def test_a_handshake_has_a_body() -> None:
    async with running() as node:
        body = head(f"GET {PATH} HTTP/1.1", "Content-Length: 2")
        status = await send_head(node, body)
        assert status[:10] == b"HTTP/1.1 4", status


@on_loop
async def test_a_client_stops_in_the_middle_of_its_handshake() -> None:
    async with running() as node, follower(node) as bystander, peer(node.port) as client:
        client.write(head(f"GET {PATH} HTTP/1.1")[:-2])
        await client.drain()
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]
        assert node.count_sessions() == 1
        client.write(b"\r\n")  # it was only slow
        assert (await client.answer()).status == 101


@on_loop
async def test_a_page_comes_by_a_name_that_is_not_ours() -> None:
    # Goal: DNS rebinding. The page of evil.example reaches us under its own name.
    async with running() as node:
        port = node.port
        refused = await shake(node, f"Origin: http://evil.example:{port}", host="evil.example")
        assert refused.status == 421
        assert (await shake(node, host=None)).status == 421
        assert (await shake(node, "Host: evil.example")).status == 421
        assert (await shake(node, "Host: localhost", host="evil.example")).status == 421
        assert (await shake(node, host=f"[::1]:{port}")).status == 101


@on_loop
async def test_a_page_of_another_site_connects() -> None:
    async with running(EXAMPLE) as node:
        for origin in ("http://evil.example", "null", "https://app.example.evil.example", ""):
            assert (await shake(node, BEARER, f"Origin: {origin}")).status == 403
        allowed = ["https://app.example", "https://sync.example", "http://localhost:3000"]
        for origin in allowed:
            answer = await shake(node, BEARER, f"Origin: {origin}", host="sync.example:443")
            assert answer.status == 101, origin
        twice = ("Origin: https://app.example", "Origin: https://evil.example")
        assert (await shake(node, BEARER, *twice)).status in (400, 403)


@on_loop
async def test_a_token_comes_in_the_header() -> None:
    async with running(GUARDED) as node:
        assert (await shake(node, BEARER)).status == 101
        assert (await shake(node, BEARER.replace("Bearer", "bearer"))).status == 101
        wrong = [
            "Bearer wrong",
            "Bearer",
            f"Basic {TOKEN}",
            f"Bearer {TOKEN}x",
            TOKEN,
            "Bearer \xe9",
        ]
        for value in wrong:
            answer = await shake(node, f"Authorization: {value}")
            assert answer.status == 401, value
            assert TOKEN.encode() not in answer.body
        assert (await shake(node, BEARER, "Authorization: Bearer wrong")).status == 401


@on_loop
async def test_a_refusal_tells_how_to_authenticate() -> None:
    # RFC 9110, 15.5.2: a 401 MUST carry WWW-Authenticate.
    async with running(GUARDED) as node:
        answer = await shake(node, "Authorization: Bearer wrong")
        assert answer.headers.get("www-authenticate") == "Bearer"


@on_loop
async def test_a_token_in_the_address_does_not_count() -> None:
    async with running(GUARDED) as node, peer(node.port) as client:
        assert (await client.shake_hands(path=f"{PATH}?token={TOKEN}")).status == 101
        client.send({"type": "hello", "client": "a"})
        assert await client.close_code() == 4401


@on_loop
async def test_all_connections_are_taken() -> None:
    async with running(replace(OPEN, connections_max=2)) as node, follower(node) as bystander:
        async with follower(node):
            refused = await shake(node)
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
            node.commit("undisturbed")
            assert await bystander.words(1) == ["undisturbed"]
        await until(lambda: node.count_sessions() == 1)
        assert (await shake(node)).status == 101


@on_loop
async def test_half_a_handshake_is_not_waited_for_for_ever() -> None:
    # Method: the sweep of the watch, with the time that it would have.
    async with running() as node, follower(node) as bystander, peer(node.port) as client:
        client.write(head(f"GET {PATH} HTTP/1.1")[:-2])
        await client.drain()
        open_now = node.listener.server_state.connections
        await until(lambda: len(open_now) == 2, "the server has both")
        node.listener.sweep(0.0)
        node.listener.sweep(limits.REQUEST_S - 0.1)
        assert len(open_now) == 2
        node.listener.sweep(limits.REQUEST_S)
        await until(lambda: len(open_now) == 1, "the silent one is cut")
        node.commit("undisturbed")
        assert await bystander.words(1) == ["undisturbed"]
