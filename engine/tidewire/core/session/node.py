"""What a session sees of the node that it belongs to."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tidewire.core.model.lsn import Lsn
from tidewire.core.shape.shape import ShapeId


class Parts(Protocol):
    """The frames of one large commit (`core.parts.CommitParts`)."""

    is_complete: bool
    unfit: set[ShapeId]

    def __len__(self) -> int:
        """Count the parts that are ready."""
        ...

    def frame(self, part: int, /) -> bytes:
        """Return a part that is ready."""
        ...

    def step(self) -> None:
        """Work on, for a bounded time."""
        ...


class Node(NamedTuple):
    """What a session has to know about the node to welcome a client."""

    epoch: str
    progress: Lsn
