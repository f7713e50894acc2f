"""The ASGI application of `/v2`: HTTP for everything that needs no socket, and the socket.

The one rule: what is not allowed in learns nothing but why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from tidelab.coordinator.keeper import Keeper
from tidelab.coordinator.listener import Receive, Scope, Send
from tidelab.coordinator.metrics import CONTENT_TYPE, Family, exposition
from tidelab.coordinator.v2.gate import Gate
from tidelab.coordinator.v2.page import HEADERS as PAGE_HEADERS
from tidelab.coordinator.v2.page import PAGE
from tidelab.coordinator.v2.routes import ROUTES, Refusal, Request, read_request
from tidelab.coordinator.v2.socket import serve_socket
from tidelab.core.coord.answer import Answer, Code, Fault
from tidelab.core.coord.codec import COMMANDS, encode
from tidelab.core.coord.coordinator import Rights
from tidelab.limits import COORD_CONNECTIONS_MAX, COORD_FRAME_BYTES_MAX, COORD_REQUEST_S

SOCKET_PATH = "/v2/connect"
PAGE_PATH = "/v2/"
STATUS: Mapping[Code, int] = {
    "bad_request": 400,
    "unknown_command": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_joined": 409,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "full": 429,
    "gone": 410,
    "timeout": 504,
    "cancelled": 409,
    "broken": 409,
    "deadlock": 409,
    "dropped": 410,
    "unavailable": 503,
}


def _path_of(place: str) -> str:
    short = {"runs": "/v2/runs", "run": "/v2/runs/RUN"}
    return short.get(place, f"/v2/runs/RUN/{place}/NAME")


_JSON = ((b"content-type", b"application/json"),)
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


class Reply:
    """The answer to one HTTP request, when it comes."""

    def __init__(self) -> None:
        self.frame: bytes | None = None
        """The whole answer; None when the client has gone."""
        self._done = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Take the answer; the first one counts."""
        if not self._done.is_set():
            self.frame = frame
            self._done.set()

    def close(self, code: int, reason: str) -> None:
        """Do nothing: an HTTP request ends with its answer."""

    async def wait(self, receive: Receive) -> None:
        """Wait for the answer, or for the client to go."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch(receive))
            await self._done.wait()
            watch.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._done.set()


class CoordinatorApp:
    """Everything below `/v2`, and `/metrics`."""

    def __init__(self, keeper: Keeper, gate: Gate, measure: Callable[[], list[Family]]) -> None:
        self._keeper, self._gate, self._measure = keeper, gate, measure
        self._replies: set[Reply] = set()
        self._is_stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one socket."""
        rights = self._gate.judge(scope["headers"])
        if scope["type"] == "websocket":
            refusal = self._refuse_socket(scope["path"], rights)
            if refusal is None:
                assert isinstance(rights, Rights), "others are refused"
                await serve_socket(self._keeper, rights, receive, send)
            else:
                await receive()
                await _send(send, refusal, self._refuse(refusal), kind="websocket.http.response")
            return
        await self._serve_request(scope, rights, receive, send)

    def stop(self) -> None:
        """Answer all that wait by HTTP, and whoever comes from now on, that the server stops."""
        self._is_stopping = True
        for reply in self._replies:
            reply.put(self._refuse(_STOPPING))

    def _refuse(self, fault: Fault) -> bytes:
        """Count a refusal, and write it."""
        self._keeper.refused[fault.code] += 1
        return encode(Answer(error=fault))

    def _refuse_socket(self, path: str, rights: Rights | Fault) -> Fault | None:
        if isinstance(rights, Fault):
            return rights
        if path != SOCKET_PATH:
            return Fault("not_found", f"sockets are at {SOCKET_PATH}")
        if self._is_stopping or self._keeper.connections >= COORD_CONNECTIONS_MAX:
            return Fault("unavailable", "there is no room for another connection: try again")
        return None

    async def _serve_request(
        self, scope: Scope, rights: Rights | Fault, receive: Receive, send: Send
    ) -> None:
        path = scope["path"].rstrip("/")
        is_get = scope["method"] in ("GET", "HEAD")
        if path == "/v2/health" and is_get and not self._is_stopping:
            await _send(send, None, b'{"status":"ok"}')
        elif scope["path"] == PAGE_PATH and is_get and _may_load(rights):
            await _send(send, None, PAGE, headers=PAGE_HEADERS)
        elif isinstance(rights, Fault):
            await _send(send, rights, self._refuse(rights))
        elif path == "/metrics" and is_get:
            content_type = [(b"content-type", CONTENT_TYPE.encode())]
            await _send(send, None, exposition(self._measure()), headers=content_type)
        elif path == "/v2" and is_get:
            await _send(send, None, _INDEX)
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
            await _send(send, request.fault, self._refuse(request.fault), status=request.status)
        elif isinstance(request, Fault):
            await _send(send, request, self._refuse(request))
        else:
            await self._answer(request, rights, receive, send)

    async def _answer(self, request: Request, rights: Rights, receive: Receive, send: Send) -> None:
        reply = Reply()
        peer = self._keeper.visit(rights, reply, request.run, request.agent)
        if isinstance(peer, Fault):
            await _send(send, peer, self._refuse(peer))
            return
        self._replies.add(reply)
        try:
            self._keeper.receive(peer, request.command)
            await reply.wait(receive)
        finally:
            self._replies.discard(reply)
            self._keeper.disconnect(peer)
        if reply.frame is not None:
            error = _outcome.decode(reply.frame).error
            await _send(send, error, reply.frame)


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


async def _send(
    send: Send,
    error: Fault | _Error | None,
    body: bytes,
    *,
    status: int | None = None,
    headers: Iterable[tuple[bytes, bytes]] = _JSON,
    kind: str = "http.response",
) -> None:
    """Send one whole answer."""
    status = status or (200 if error is None else STATUS[error.code])
    headers = [
        *headers,
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
