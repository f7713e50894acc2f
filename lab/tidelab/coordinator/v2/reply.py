"""Answers of `/v2` to HTTP requests: when they come, and what stands above them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from tidelab.coordinator.listener import Receive
from tidelab.core.coord.answer import Code

Header = tuple[bytes, bytes]
JSON: tuple[Header, ...] = ((b"content-type", b"application/json"),)
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


def headers_of(status: int, body: bytes, headers: Iterable[Header] = JSON) -> list[Header]:
    """Return the headers of one whole answer."""
    found = [
        *headers,
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status == 401:
        found.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        found.append((b"retry-after", b"1"))
    return found
