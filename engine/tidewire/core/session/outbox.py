"""What waits to be written to one client, and how much may be under way to it.

The window counts the bytes of *counted* messages (those that move state) that the client has not
acknowledged. A browser drains its socket into its heap, so TCP never sees a slow tab: the window
does. It is checked before a message and not after, so one message may overshoot it.

Acknowledgements name messages, not bytes; marks note every so often how many bytes a count stood
for. Clients that are sent the same share one `Tally`: it is written once for all of them, and each
outbox knows how far its own account is from it.
"""

from __future__ import annotations

import bisect
import operator
from collections import deque

from tidewire import limits
from tidewire.errors import ProtocolError

# What is older than the marks of two windows nobody has under way any more.
_MARKS = 2 * limits.WINDOW_BYTES // limits.WINDOW_MARK_BYTES
_count_of = operator.itemgetter(0)


class Tally:
    """Counted messages and their bytes, for all who are sent the same."""

    __slots__ = ("_mark_at", "count", "marks", "sent", "stop_at")

    def __init__(self) -> None:
        self.count = 0
        """Messages so far."""
        self.sent = 0
        """Their bytes."""
        self.stop_at = 0
        """While `sent` is below, everybody who shares the tally has room, and nothing else about
        them is new."""
        self.marks: deque[tuple[int, int]] = deque(maxlen=_MARKS)
        self._mark_at = limits.WINDOW_MARK_BYTES

    def add(self, count: int, size: int) -> None:
        """Account for messages that everybody is sent."""
        self.count += count
        self.sent += size
        if self.sent >= self._mark_at:
            self.marks.append((self.count, self.sent))
            self._mark_at = self.sent + limits.WINDOW_MARK_BYTES


class Outbox:
    """Frames for one socket and the account of its window."""

    __slots__ = (
        "_acked_bytes",
        "_acked_count",
        "_is_blocked",
        "_marks",
        "_own_count",
        "_own_sent",
        "_shared_from",
        "_tally",
        "_window",
        "frames",
        "unread_bytes",
    )

    def __init__(self, window: int = limits.WINDOW_BYTES) -> None:
        self.frames: list[bytes] = []
        self.unread_bytes = 0
        """Bytes that do not count and were added while the socket was full."""
        self._window = window
        self._acked_count = 0
        self._acked_bytes = 0
        self._is_blocked = False
        self._marks: list[tuple[int, int]] = []
        """What is marked in our own account; newer marks are in the tally. Not many, and most
        clients have none: an empty deque takes as much as all the rest of an outbox."""
        self._tally = Tally()
        self._own_count = 0
        """What we were sent less what the tally counts, hence below zero for a late comer."""
        self._own_sent = 0
        self._shared_from = 0
        """Count of the tally when we began to share it: its marks up to there are not ours."""

    @property
    def count(self) -> int:
        """Counted messages so far."""
        return self._own_count + self._tally.count

    @property
    def sent(self) -> int:
        """Their bytes."""
        return self._own_sent + self._tally.sent

    @property
    def limit(self) -> int:
        """No counted message goes out once `sent` has reached this."""
        return -1 if self._is_blocked else self._acked_bytes + self._window

    @property
    def stop_at(self) -> int:
        """The same, as the tally counts."""
        return self.limit - self._own_sent

    @property
    def has_room(self) -> bool:
        """Tell whether a counted message may go out now."""
        return self.sent < self.limit

    @property
    def room(self) -> int:
        """Bytes that may go out now; below zero when there is none."""
        return self.limit - self.sent

    @property
    def is_blocked(self) -> bool:
        """Tell whether the socket takes nothing at the moment."""
        return self._is_blocked

    def push(self, frame: bytes) -> None:
        """Add a frame that does not count."""
        self.frames.append(frame)
        if self._is_blocked:
            self.unread_bytes += len(frame)

    def push_counted(self, frames: bytes, count: int = 1) -> None:
        """Add frames that count and are for this client only."""
        self.frames.append(frames)
        if self._tally.count > self._shared_from:
            self.share(self._tally)  # its marks fit the account as it was
        self._own_count += count
        self._own_sent += len(frames)
        self._mark()
        self._tell_limit()

    def share(self, tally: Tally) -> None:
        """Be sent from now on what this tally counts, and no more what the last one does."""
        self._marks.extend(
            (self._own_count + count, self._own_sent + sent)
            for count, sent in self._tally.marks
            if count > self._shared_from
        )
        self._own_count, self._own_sent = self.count - tally.count, self.sent - tally.sent
        self._tally, self._shared_from = tally, tally.count
        self._mark()
        self._tell_limit()

    def acknowledge(self, count: int) -> None:
        """Take the client's word that it has received so many counted messages in all.

        Raises ProtocolError when that is more than were sent, or less than it said before.
        """
        if not self._acked_count <= count <= self.count:
            text = f"{count} acknowledged, {self._acked_count} to {self.count} possible"
            raise ProtocolError("bad_ack", text)
        self._acked_count = count
        known = self._acked_bytes
        reached = bisect.bisect_right(self._marks, count, key=_count_of)
        if reached:
            known = self._marks[reached - 1][1]
            del self._marks[:reached]
        for marked, sent in reversed(self._tally.marks):
            if self._shared_from < marked <= count - self._own_count:
                known = self._own_sent + sent
                break
        # All that was sent may be known to be there, and the newest mark is older.
        self._acked_bytes = self.sent if count == self.count else max(self._acked_bytes, known)

    def block(self, is_blocked: bool) -> None:
        """Note that the socket is full, or that it has drained."""
        self._is_blocked = is_blocked
        self.unread_bytes = 0
        self._tell_limit()

    def call_attention(self) -> None:
        """Have whoever shares our tally look at each of us before the next message."""
        self._tally.stop_at = -1

    def take(self) -> list[bytes]:
        """Hand over all frames."""
        frames, self.frames = self.frames, []
        return frames

    def _mark(self) -> None:
        marked = self._marks[-1][1] if self._marks else self._acked_bytes
        if self.sent >= marked + limits.WINDOW_MARK_BYTES:
            self._marks.append((self.count, self.sent))

    def _tell_limit(self) -> None:
        self._tally.stop_at = min(self._tally.stop_at, self.stop_at)
