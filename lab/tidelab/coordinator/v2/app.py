"""The ASGI application of `/v2`: HTTP for everything that needs no socket.

The one rule: what is not allowed in learns nothing but why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from tidelab.coordinator.keeper import Keeper
from tidelab.coordinator.listener import Receive, Scope, Send
from tidelab.coordinator.metrics import CONTENT_TYPE, Family, exposition
from tidelab.coordinator.v2.gate import Gate
from tidelab.coordinator.v2.page import HEADERS as PAGE_HEADERS
from tidelab.coordinator.v2.page import PAGE
from tidelab.coordinator.v2.reply import JSON, STATUS, Header, Reply, headers_of
from tidelab.coordinator.v2.routes import ROUTES, Refusal, Request, read_request
from tidelab.coordinator.v2.socket import PATH as SOCKET_PATH
from tidelab.coordinator.v2.socket import Sockets
from tidelab.core.coord.answer import Code, Fault
from tidelab.core.coord.codec import COMMANDS
from tidelab.core.coord.coordinator import Rights
from tidelab.limits import COORD_FRAME_BYTES_MAX, COORD_REQUEST_S

PAGE_PATH = "/v2/"


def _path_of(place: str) -> str:
    short = {"runs": "/v2/runs", "run": "/v2/runs/RUN"}
    return short.get(place, f"/v2/runs/RUN/{place}/NAME")


_STOPPING = Fault("unavailable", "the server stops: ask again in a moment")


_INDEX = msgspec.json.encode(
    {
        "socket": SOCKET_PATH,
        "commands": sorted(COMMANDS),
        "paths": {
            f"{method} {_path_of(place)}": route.verb
            for place, methods in ROUTES.items()
            for method, route in methods.items()
        },
    }
)


class _Error(msgspec.Struct):
    code: Code


class _Outcome(msgspec.Struct):
    error: _Error | None = None


_outcome = msgspec.json.Decoder(_Outcome)


class CoordinatorApp:
    """Everything below `/v2`, and `/metrics`."""

    def __init__(self, keeper: Keeper, gate: Gate, measure: Callable[[], list[Family]]) -> None:
        self._keeper, self._gate, self._measure = keeper, gate, measure
        self.sockets = Sockets(keeper, gate)
        self._is_stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        rights = self._gate.judge(scope["headers"], is_linked=scope["path"] == PAGE_PATH)
        await self._serve_request(scope, rights, receive, send)

    def stop(self) -> None:
        """Answer all that wait by HTTP, and whoever comes from now on, that the server stops."""
        self._is_stopping = self.sockets.is_stopping = True
        self._keeper.close(_STOPPING)

    def _refuse(self, fault: Fault) -> bytes:
        return self._keeper.refuse(fault)

    async def _serve_request(
        self, scope: Scope, rights: Rights | Fault, receive: Receive, send: Send
    ) -> None:
        path = scope["path"].rstrip("/")
        is_get = scope["method"] in ("GET", "HEAD")
        if path == "/v2/health" and is_get and not self._is_stopping:
            await _tell(send, None, b'{"status":"ok"}')
        elif scope["path"] == PAGE_PATH and is_get and _may_load(rights):
            await _send(send, 200, PAGE, PAGE_HEADERS)
        elif isinstance(rights, Fault):
            await _tell(send, rights, self._refuse(rights))
        elif path == "/metrics" and is_get:
            content_type = [(b"content-type", CONTENT_TYPE.encode())]
            await _send(send, 200, exposition(self._measure()), content_type)
        elif path == "/v2" and is_get:
            await _tell(send, None, _INDEX)
        else:
            await self._ask(scope, rights, receive, send)

    async def _ask(self, scope: Scope, rights: Rights, receive: Receive, send: Send) -> None:
        """Make a command of a request, and answer it."""
        body = await _read_body(receive)
        if body is None:
            return
        request: Request | Refusal | Fault
        if isinstance(body, Fault):
            request = body
        elif self._is_stopping:
            request = _STOPPING
        else:
            raw_path = scope.get("raw_path") or scope["path"].encode()
            request = read_request(scope["method"], raw_path, scope["query_string"], body)
        if isinstance(request, Refusal):
            status, fault, headers = request
            await _tell(send, fault, self._refuse(fault), status=status, headers=headers)
        elif isinstance(request, Fault):
            await _tell(send, request, self._refuse(request))
        else:
            await self._answer(request, rights, receive, send)

    async def _answer(self, request: Request, rights: Rights, receive: Receive, send: Send) -> None:
        reply = Reply()
        peer = self._keeper.visit(rights, reply, request.run, request.agent)
        if isinstance(peer, Fault):
            await _tell(send, peer, self._refuse(peer))
            return
        try:
            self._keeper.receive(peer, request.command)
            await reply.wait(receive)
        finally:
            self._keeper.disconnect(peer)
        if reply.frame is not None:
            error = _outcome.decode(reply.frame).error
            await _tell(send, error, reply.frame)


def _may_load(rights: Rights | Fault) -> bool:
    """Tell whether the page may be loaded: it asks for the token itself."""
    return isinstance(rights, Rights) or rights.code == "unauthorized"


async def _read_body(receive: Receive) -> bytes | Fault | None:
    """Read the body of a request; None when the client has gone."""
    body, is_too_large = b"", False
    try:
        async with asyncio.timeout(COORD_REQUEST_S):
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    return None
                if not is_too_large:
                    body += bytes(event.get("body", b""))
                    is_too_large = len(body) > COORD_FRAME_BYTES_MAX
                # Read to the end: a client that still writes would see a reset, not our answer.
                if not event.get("more_body"):
                    break
    except TimeoutError:
        return Fault("bad_request", f"the body did not come within {COORD_REQUEST_S:g} s")
    if is_too_large:
        return Fault("too_large", f"a request has at most {COORD_FRAME_BYTES_MAX} bytes")
    return body


async def _tell(
    send: Send,
    error: Fault | _Error | None,
    told: bytes,
    *,
    status: int | None = None,
    headers: Iterable[Header] = (),
) -> None:
    """Send an answer in JSON; with the end of a line, for terminals and shells."""
    status = status or (200 if error is None else STATUS[error.code])
    await _send(send, status, told + b"\n", (*JSON, *headers))


async def _send(send: Send, status: int, body: bytes, headers: Iterable[Header]) -> None:
    """Send one whole answer."""
    head = headers_of(status, body, headers)
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
