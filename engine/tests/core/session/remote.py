"""A client at the far end of in-memory pipes, and what it must have received: for the storm."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.tests.core.bench import Peer, Table
from tidewire.core.protocol import frames
from tidewire.core.session.client import ClientSession


@dataclass(slots=True)
class Follow:
    """What one subscription of a client has received, and what it must have received.

    Its first commit lies behind `low`; nothing behind `high` may be missing.
    """

    table: Table
    is_joined: bool = False
    low: int = 0
    high: int = 0
    got: list[int] = field(default_factory=list)

    def begin(self, low: int, high: int) -> None:
        self.is_joined, self.low, self.high, self.got = True, low, high, []


@dataclass(slots=True)
class Remote:
    """A client: its session, and the pipes to and from the node while it is connected."""

    name: str
    session: ClientSession
    peer: Peer | None = None
    follows: dict[str, Follow] = field(default_factory=dict)
    # Messages on their way, each with the progress of the node when it was written.
    inbound: list[tuple[bytes, int]] = field(default_factory=list)
    outbound: list[bytes] = field(default_factory=list)
    asked: list[list[frames.ShapeRequest]] = field(default_factory=list)
    is_blocked: bool = False
    resets: int = 0

    @property
    def position(self) -> int:
        return self.session.cursor.lsn if self.session.cursor else 0
