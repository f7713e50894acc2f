"""Frames that wait for one socket."""

from __future__ import annotations

import asyncio

from tidelab.limits import COORD_OUTBOX_BYTES_MAX, COORD_OUTBOX_FRAMES_MAX

SLOW = (4008, "you read too slowly: come back, and read on from your last offset")


class Outbox:
    """A queue with an end: an agent that is further behind is cut, so that it delays nobody."""

    def __init__(self) -> None:
        self.closing: tuple[int, str] | None = None
        """Code and reason of the close frame that ends it."""
        self.ended = asyncio.Event()
        """Set with `closing`."""
        self._frames: list[bytes] = []
        self._bytes = 0
        self._ready = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Add a frame, unless the end was said."""
        if self.closing is not None:
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        if self._bytes > COORD_OUTBOX_BYTES_MAX or len(self._frames) > COORD_OUTBOX_FRAMES_MAX:
            self._frames.clear()
            self.close(*SLOW)
        self._ready.set()

    def close(self, code: int, reason: str) -> None:
        """End it after what is in it."""
        if self.closing is None:
            self.closing = (code, reason)
            self.ended.set()
            self._ready.set()

    async def take(self) -> list[bytes]:
        """Wait for frames; after the end return what is left, and then nothing."""
        await self._ready.wait()
        frames, self._frames, self._bytes = self._frames, [], 0
        if self.closing is None:
            self._ready.clear()
        return frames
