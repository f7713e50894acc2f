"""HTTP beside the WebSocket: a small ASGI application with a table of paths.

`/health` and `/ready` tell nothing but yes or no and are open; the others ask for the bearer token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from tidewire import telemetry
from tidewire.server.admission import Admission
from tidewire.server.auth import Tokens
from tidewire.server.scope import Receive, Scope, Send, headers_of, path_of


class Reply(NamedTuple):
    """One whole HTTP answer."""

    status: int
    content_type: str
    body: bytes


Handler: TypeAlias = Callable[[], Reply]
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
# Pages run only what we ship, may talk only to this server, and are framed by nobody.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


def text(status: int, body: str) -> Reply:
    """Make a plain answer."""
    return Reply(status, _TEXT, body.encode() + b"\n")


def json(document: object) -> Reply:
    """Make an answer for machines."""
    return Reply(200, _JSON, msgspec.json.encode(document) + b"\n")


class App:
    """The ASGI application of one engine."""

    def __init__(
        self,
        admission: Admission,
        tokens: Tokens,
        *,
        is_ready: Callable[[], bool],
        status: Callable[[], object],
        metrics: Callable[[], bytes],
        page: bytes | None = None,
    ) -> None:
        self._admission = admission
        self._tokens = tokens
        self._open: dict[str, Handler] = {
            "/health": lambda: text(200, "ok"),
            "/ready": lambda: text(200, "ready") if is_ready() else text(503, "not ready"),
            "/v1/sync": lambda: text(426, "this path speaks WebSocket, subprotocol tidewire.v1"),
        }
        if page is not None:
            self._open["/"] = lambda: Reply(200, "text/html; charset=utf-8", page)
        self._guarded: dict[str, Handler] = {
            "/metrics": lambda: Reply(200, telemetry.CONTENT_TYPE, metrics()),
            "/v1/status": lambda: json(status()),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        await answer(scope, send, self._answer(scope))

    def _answer(self, scope: Scope) -> Reply:
        headers = headers_of(scope)
        if verdict := self._admission.judge(headers.get("host"), headers.get("origin")):
            return text(verdict.status, verdict.text)
        path = path_of(scope)
        handler = self._open.get(path) or self._guarded.get(path)
        if handler is None:
            known = ", ".join(sorted({*self._open, *self._guarded}))
            return text(404, f"there is nothing at this path; known: {known}")
        if scope["method"] not in ("GET", "HEAD"):
            return text(405, "only GET and HEAD")
        authorization = headers.get("authorization")
        if path in self._guarded and not self._tokens.admit_header(authorization):
            return text(401, "a valid bearer token is needed: Authorization: Bearer ...")
        return handler()


async def answer(scope: Scope, send: Send, reply: Reply) -> None:
    """Send an answer with the headers that keep a browser safe."""
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", _PAGE_POLICY.encode()),
    ]
    if reply.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if reply.status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    if reply.status == 426:
        headers.append((b"upgrade", b"websocket"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body})
