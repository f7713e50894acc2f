"""Plain HTTP: each path, each refusal, and the headers that keep a browser safe.

Method: heads of requests are written by hand on a bare socket; `/metrics` is read by Prometheus'
own parser.
"""

from __future__ import annotations

import json
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from engine.tests.integration.loop import on_loop
from engine.tests.integration.node import GUARDED, OPEN, TOKEN, Node, follower, running
from engine.tests.integration.peer import Answer, peer
from tidewire.server.app import App

BEARER = f"Authorization: Bearer {TOKEN}"
PATHS = ("/health", "/metrics", "/ready", "/v1/status", "/v1/sync")


async def ask(
    node: Node, path: str, *lines: str, method: str = "GET", host: str | None = "localhost"
) -> Answer:
    async with peer(node.port) as client:
        client.ask(path, *lines, method=method, host=host)
        return await client.answer(is_head=method == "HEAD")


@on_loop
async def test_health_and_readiness_are_asked_without_a_token() -> None:
    async with running(GUARDED) as node:
        health = await ask(node, "/health")
        assert (health.status, health.body) == (200, b"ok\n")
        ready = await ask(node, "/ready")
        assert (ready.status, ready.body) == (200, b"ready\n")
        node.is_ready = False
        assert (await ask(node, "/ready")).status == 503
        assert (await ask(node, "/health")).status == 200


@on_loop
async def test_status_is_json() -> None:
    async with running() as node, follower(node):
        answer = await ask(node, "/v1/status?pretty")
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body)["connections"] == 1


@on_loop
async def test_prometheus_reads_the_metrics() -> None:
    async with running() as node, follower(node):
        node.metrics.rows.inc(3)
        answer = await ask(node, "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = list(text_string_to_metric_families(answer.body.decode()))
        samples = {sample.name: sample.value for family in families for sample in family.samples}
        assert samples["tidewire_rows_total"] == 3
        assert samples["tidewire_connections"] == 1
        assert samples["tidewire_connections_opened_total"] == 1
        assert all(family.documentation for family in families)
        assert all(family.name.startswith("tidewire_") for family in families)


@on_loop
async def test_guarded_paths_ask_for_a_token() -> None:
    async with running(GUARDED) as node:
        for path in ("/metrics", "/v1/status"):
            for lines in ((), ("Authorization: Bearer wrong",), (f"Authorization: Basic {TOKEN}",)):
                answer = await ask(node, path, *lines)
                assert answer.status == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert b"tidewire_" not in answer.body
            assert (await ask(node, path, BEARER)).status == 200
            assert (await ask(node, f"{path}?token={TOKEN}")).status == 401


@on_loop
async def test_there_is_nothing_at_a_path() -> None:
    async with running(GUARDED) as node:
        for path in ("/", "/nothing", "/health/", "/../etc/passwd", "/v1", "/%2e%2e/", "//health"):
            answer = await ask(node, path)
            assert answer.status == 404, path
            assert all(known in answer.body.decode() for known in PATHS)


@on_loop
async def test_other_methods_are_refused() -> None:
    async with running() as node:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            answer = await ask(node, "/health", "Content-Length: 0", method=method)
            assert answer.status == 405, method


@on_loop
async def test_a_refused_method_names_the_right_ones() -> None:
    # RFC 9110, 15.5.6: a 405 MUST carry Allow.
    async with running() as node:
        answer = await ask(node, "/health", "Content-Length: 0", method="POST")
        assert answer.headers.get("allow") == "GET, HEAD"


@on_loop
async def test_head_is_get_without_a_body() -> None:
    async with running() as node, peer(node.port) as client:
        for path in ("/health", "/v1/status", "/nothing"):
            whole = await ask(node, path)
            client.ask(path, method="HEAD")
            bare = await client.answer(is_head=True)
            assert bare.status == whole.status
            assert bare.headers["content-length"] == str(len(whole.body))
        client.ask("/health")  # no byte of a body stands in between
        assert (await client.answer()).body == b"ok\n"


@on_loop
async def test_the_sync_path_is_asked_without_an_upgrade() -> None:
    async with running() as node:
        answer = await ask(node, "/v1/sync")
        assert answer.status == 426
        assert answer.headers["upgrade"] == "websocket"
        assert b"tidewire.v1" in answer.body


@on_loop
async def test_every_answer_keeps_a_browser_safe() -> None:
    async with running(GUARDED) as node:
        answers = [await ask(node, path) for path in (*PATHS, "/nothing")]
        answers.append(await ask(node, "/health", host="evil.example"))
        for answer in answers:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "server" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers


@on_loop
async def test_a_page_of_another_site_asks() -> None:
    async with running(replace(OPEN, allowed_origins=("https://app.example",))) as node:
        assert (await ask(node, "/v1/status", host="evil.example")).status == 421
        assert (await ask(node, "/v1/status", host=None)).status in (400, 421)
        assert (await ask(node, "/v1/status", "Origin: http://evil.example")).status == 403
        assert (await ask(node, "/v1/status", "Origin: null")).status == 403
        assert (await ask(node, "/v1/status", "Origin: https://app.example")).status == 200


@on_loop
async def test_a_request_names_two_hosts() -> None:
    # RFC 9112, 3.2: more than one Host MUST be answered 400; whichever is looked at, both count.
    async with running() as node:
        assert (await ask(node, "/health", "Host: evil.example")).status in (400, 421)
        twice = await ask(node, "/health", "Host: localhost", host="evil.example")
        assert twice.status in (400, 421)


@on_loop
async def test_requests_come_all_at_once() -> None:
    async with running() as node, peer(node.port) as client:
        for path in ("/health", "/ready", "/nothing"):
            client.ask(path)
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 404]


@on_loop
async def test_a_page_is_served_at_the_root() -> None:
    def with_page(app: App) -> App:
        page = b"<!doctype html><title>tide</title>"
        return App(
            app._admission,
            app._tokens,
            is_ready=lambda: True,
            status=dict,
            metrics=bytes,
            page=page,
        )

    async with running(wrap=with_page) as node:
        answer = await ask(node, "/")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.body.endswith(b"<title>tide</title>")
