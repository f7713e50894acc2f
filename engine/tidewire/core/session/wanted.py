"""One subscription at the client's end: what it asked for, how far it is, and what survives.

One rule: only what was LIVE stands at the session's cursor (`has_position`); a copy that is not
whole stands at no position at all, and is resumed by its chunks.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

from tidewire import limits
from tidewire.core.model.lsn import format_lsn
from tidewire.core.protocol import frames
from tidewire.core.protocol.form import Form
from tidewire.core.stream.cursor import Cursor
from tidewire.errors import ProtocolError


class Phase(enum.Enum):
    """How far a subscription is, on this connection."""

    WANTED = "wanted"
    COPYING = "copying"
    STAGED = "staged"
    LIVE = "live"


class Wanted:
    """A subscription of the application, accepted or not."""

    __slots__ = (
        "_chunks",
        "_copy",
        "_copy_epoch",
        "_fingerprint",
        "_form",
        "_goes_on",
        "_is_whole",
        "has_position",
        "is_asked",
        "phase",
        "request",
        "shape",
    )

    def __init__(self, request: frames.ShapeRequest) -> None:
        self.request = msgspec.structs.replace(request, fingerprint="")
        self.is_asked = False
        """The server of this connection knows of it."""
        self.has_position = False
        """What was handed out for it is complete up to the cursor, also after a disconnect."""
        self.phase = Phase.WANTED
        self.shape: str | None = None
        self._goes_on = False
        """It was asked to go on from a position; a `reset` may have been under way by then."""
        self._form: Form | None = None
        self._fingerprint = request.fingerprint
        """Of the table that the rows fit."""
        self._copy: str | None = None
        self._copy_epoch = ""
        self._chunks = 0
        self._is_whole = False

    @property
    def form(self) -> Form:
        """What its rows are made of, once it was accepted."""
        assert self._form is not None, "only the accepted have a form"
        return self._form

    @property
    def is_known(self) -> bool:
        """It was accepted on this connection, or on an earlier one that can be continued."""
        return self.shape is not None or self.has_position

    def resumed(self) -> frames.ShapeRequest:
        """Return the request, going on with the copy if there is one."""
        if self._copy is None:
            return self.request
        resume = frames.Resume(copy=self._copy, chunk=self._chunks)
        return msgspec.structs.replace(self.request, resume=resume)

    def continued(self, cursor: Cursor) -> frames.ShapeRequest:
        """Return the request, going on from a position."""
        start = frames.From(epoch=cursor.epoch, lsn=format_lsn(cursor.lsn), tag=cursor.tag)
        return msgspec.structs.replace(self.request, start=start, fingerprint=self._fingerprint)

    def ask(self, request: frames.ShapeRequest) -> None:
        """Note how the server of this connection is asked for it."""
        self.is_asked, self._goes_on = True, request.start is not None

    def accept(self, frame: frames.Subscribed) -> bool:
        """Take the server's word; return whether it tells that there is nothing to continue.

        Raises ProtocolError when that is not an answer to the request.
        """
        form = Form(frame.columns, frame.key)
        if frame.mode == "initial" and not self.request.initial:
            raise ProtocolError("bad_frame", "a copy that was not asked for")
        if frame.mode != "initial" and self.request.initial and not self._goes_on:
            raise ProtocolError("bad_frame", "the server does not send the rows that are there")
        if form != self._form:
            self._forget_copy()
        self._form, self.shape = form, frame.shape
        self._fingerprint = frame.fingerprint
        if frame.mode == "initial":
            had_position, self.has_position = self.has_position, False
            self.phase = Phase.STAGED if self._is_whole else Phase.COPYING
            return had_position
        if self.has_position or not self.request.initial:
            self.go_live()
        else:
            # A `reset` was under way when the position was shown: the server says it again.
            self.phase = Phase.LIVE
        return False

    def expects(self, frame: frames.Snapshot) -> bool:
        """Tell whether a chunk is the next one."""
        if frame.chunk == 0:
            return True
        is_open = self.phase is Phase.COPYING
        return is_open and (self._copy, self._chunks) == (frame.copy, frame.chunk)

    def take_chunk(self, frame: frames.Snapshot, epoch: str) -> None:
        """Count a chunk."""
        self._copy, self._copy_epoch, self._chunks = frame.copy, epoch, frame.chunk + 1
        self._is_whole = frame.last
        self.phase = Phase.STAGED if frame.last else Phase.COPYING

    def go_live(self) -> None:
        """Stand at the cursor from now on."""
        self.phase, self.has_position = Phase.LIVE, True
        self._forget_copy()

    def leave(self) -> None:
        """Note that the connection is gone: names and acceptance belonged to it."""
        self.shape, self.is_asked, self.phase = None, False, Phase.WANTED

    def refuse(self) -> None:
        """Note that the server does not have it (any more)."""
        self.leave()
        self._forget_copy()

    def forget(self) -> None:
        """Forget all that could be continued."""
        self.has_position = False
        self._forget_copy()

    def keep_copy_of(self, epoch: str) -> None:
        """Forget a copy that belongs to another history."""
        if self._copy_epoch != epoch:
            self._forget_copy()

    def reset(self, *, has_ended: bool, keeps_copy: bool) -> None:
        """Note that what was live is not continued, and a copy neither if that is said."""
        if has_ended:
            self.leave()
            self.forget()
        elif self.request.initial:
            if self.phase is Phase.LIVE or (not keeps_copy and self.phase is Phase.STAGED):
                self.phase = Phase.COPYING
            if not keeps_copy:
                self._forget_copy()
            self.has_position = False

    def _forget_copy(self) -> None:
        self._copy, self._copy_epoch = None, ""
        self._chunks, self._is_whole = 0, False


def batches(requests: list[frames.ShapeRequest]) -> Iterator[list[frames.ShapeRequest]]:
    """Cut what one message of a client cannot hold; the server counts shapes, and bytes."""
    batch: list[frames.ShapeRequest] = []
    size = 0
    for request in requests:
        bytes_more = len(msgspec.json.encode(request))
        is_full = len(batch) == limits.SHAPES_PER_SESSION
        if batch and (is_full or size + bytes_more > limits.INBOUND_FRAME_BYTES // 2):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += bytes_more
    if batch:
        yield batch
