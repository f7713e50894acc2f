"""What waits to be written to one client, and how much may be under way to it.

The window counts the bytes of *counted* messages (those that move state) that the client has not
acknowledged. A browser drains its socket into its heap, so TCP never sees a slow tab: the window
does. It is checked before a message and not after, so one message may overshoot it.

Acknowledgements name messages, not bytes; `_marks` notes every so often how many bytes a count
stood for. The fields without underscore belong to the hub's hot loop.
"""

from __future__ import annotations

from collections import deque

from tidewire import limits
from tidewire.errors import ProtocolError


class Outbox:
    """Frames for one socket and the account of its window."""

    __slots__ = (
        "_acked_bytes",
        "_acked_count",
        "_is_blocked",
        "_marks",
        "_window",
        "count",
        "frames",
        "limit",
        "mark_at",
        "sent",
        "unread_bytes",
    )

    def __init__(self, window: int = limits.WINDOW_BYTES) -> None:
        self.frames: list[bytes] = []
        self.count = 0
        """Counted messages so far."""
        self.sent = 0
        """Their bytes."""
        self.limit = window
        """No counted message goes out once `sent` has reached this."""
        self.mark_at = limits.WINDOW_MARK_BYTES
        self.unread_bytes = 0
        """Bytes that do not count and were added while the socket was full."""
        self._window = window
        self._acked_count = 0
        self._acked_bytes = 0
        self._is_blocked = False
        self._marks: deque[tuple[int, int]] = deque()

    @property
    def has_room(self) -> bool:
        """Tell whether a counted message may go out now."""
        return self.sent < self.limit

    @property
    def is_blocked(self) -> bool:
        """Tell whether the socket takes nothing at the moment."""
        return self._is_blocked

    def push(self, frame: bytes) -> None:
        """Add a frame that does not count."""
        self.frames.append(frame)
        if self._is_blocked:
            self.unread_bytes += len(frame)

    def push_counted(self, frame: bytes) -> None:
        """Add a frame that counts; the hub's hot loop does the same in place."""
        self.frames.append(frame)
        self.count += 1
        self.sent += len(frame)
        if self.sent >= self.mark_at:
            self.mark()

    def mark(self) -> None:
        """Note how many bytes the messages so far stand for."""
        self._marks.append((self.count, self.sent))
        self.mark_at = self.sent + limits.WINDOW_MARK_BYTES

    def acknowledge(self, count: int) -> None:
        """Take the client's word that it has received so many counted messages in all.

        Raises ProtocolError when that is more than were sent, or less than it said before.
        """
        if not self._acked_count <= count <= self.count:
            text = f"{count} acknowledged, {self._acked_count} to {self.count} possible"
            raise ProtocolError("bad_ack", text)
        self._acked_count = count
        while self._marks and self._marks[0][0] <= count:
            self._acked_bytes = self._marks.popleft()[1]
        if count == self.count:
            self._acked_bytes = self.sent
        self._update_limit()

    def block(self, is_blocked: bool) -> None:
        """Note that the socket is full, or that it has drained."""
        self._is_blocked = is_blocked
        self.unread_bytes = 0
        self._update_limit()

    def take(self) -> list[bytes]:
        """Hand over all frames."""
        frames, self.frames = self.frames, []
        return frames

    def _update_limit(self) -> None:
        self.limit = -1 if self._is_blocked else self._acked_bytes + self._window
