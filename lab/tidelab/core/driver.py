"""The contract of a driver: what the lab needs to know about a protocol, and nothing more.

The one rule: a driver has no socket, no clock and no opinion. A session takes frames and returns
neutral events and frames to send; the fleet owns the sockets, so that it can drop, delay, double
and cut on the level of frames. What a session returns is recorded as it is:

    frame from the server          event
    connection opened              the fleet records Connected, then sends `open()`
    subscription accepted          Subscribed (mode: copy, resume or tail), once per connection
    rows of a copy                 Copied, `begins` with the first chunk
    a commit, when it is whole     Received; parts of a large one are gathered first
    a commit for a copy            Received with is_staged
    up to date                     Claimed, with the ids whose stage is shown now
    reset                          Reset, of one id or of all
    a subscription ended by error  Unsubscribed
    connection lost                the fleet calls `close()` and records Disconnected

Values are texts, as `tidelab.core.history.value.text_of` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tidelab.core.history.event import ClientEvent
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import Table

Frame = str | bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a protocol is spoken."""

    url: str
    subprotocols: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A subscription to ask for; `has_rows` when the rows that are there shall come first."""

    id: str
    shape: Shape
    has_rows: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """What one frame meant, and what the client says to it (an acknowledgement, for example)."""

    events: tuple[ClientEvent, ...] = ()
    frames: tuple[Frame, ...] = ()


class Session(Protocol):
    """One client over all its connections; it remembers cursor and subscriptions between them."""

    def open(self) -> Sequence[Frame]:
        """Begin a connection: greet, and ask again from the cursor for what is still wanted."""
        ...

    def subscribe(self, wanted: Sequence[Wanted]) -> Sequence[Frame]:
        """Ask for subscriptions; those of one call become live together."""
        ...

    def unsubscribe(self, id: str) -> Sequence[Frame]:
        """Give up one subscription."""
        ...

    def receive(self, frame: Frame) -> Reply:
        """Take in one frame of the server."""
        ...

    def wait(self, lsn: Lsn) -> Sequence[Frame]:
        """Ask the server to say when everything up to a position has been sent."""
        ...

    def close(self) -> None:
        """Note that the connection is gone; `open` may come again."""
        ...


class Driver(Protocol):
    """One protocol; `tables` are those of the oracle, by name."""

    name: str

    def endpoint(self) -> Endpoint:
        """Return where to connect to."""
        ...

    def session(self, client: str, tables: Mapping[str, Table]) -> Session:
        """Make the session of a client."""
        ...
