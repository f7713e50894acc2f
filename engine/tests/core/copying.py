"""The copies of a node alone: a real log, index and encoder; shell and hub are lists.

Method: readers are sessions without subscriptions; what the shell would answer is given by hand.
"""

from __future__ import annotations

from typing import Any

from engine.tests.core.bench import (
    FLOOR,
    NOTES,
    Message,
    Peer,
    message_of,
    seeing,
)
from engine.tests.core.spool import MemorySpool
from tidewire import limits
from tidewire.core.copies import Copies
from tidewire.core.encoder import Encoder
from tidewire.core.model.lsn import Lsn
from tidewire.core.model.transaction import Transaction
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import Shape, ShapeSpec
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.history import History

ALL = 1_000_000


class Stand:
    """The copies of a node, and what they have asked the shell and the hub for."""

    def __init__(self, spool: MemorySpool | None = None, *, log_bytes: int = 1 << 40) -> None:
        self.index = ShapeIndex()
        self.history = History(FLOOR, bytes_max=log_bytes)
        self.started: list[tuple[Copy, ShapeSpec]] = []
        self.woken: list[ServerSession] = []
        self.failed: list[tuple[Copy, str]] = []
        spool = spool or MemorySpool()
        self.copies = Copies(
            self.index,
            Encoder(self.index, spool),
            spool,
            name="node",
            start=lambda copy, spec: self.started.append((copy, spec)),
            wake=self._wake,
            fail=self._fail,
        )
        self.notes = self.index.acquire(NOTES.spec)

    def open(
        self, session: ServerSession, shape: Shape | None = None, resume: str | None = None
    ) -> Copy:
        return self.copies.open(shape or self.notes, session, resume)

    def splice(self, copy: Copy, *missing: int, until: int = ALL) -> bool:
        return self.copies.splice(copy, seeing(until, *missing), Lsn(until), self.history)

    def spliced(self, session: ServerSession, **how: Any) -> Copy:
        """Open a copy whose snapshot sees all that the log has."""
        copy = self.open(session)
        assert self.splice(copy, until=self.history.progress, **how)
        return copy

    def append(self, *transactions: Transaction) -> None:
        for each in transactions:
            self.history.append(each, 0.0)

    def follow(self, effort_max: int = limits.CATCHUP_COMMITS) -> int:
        return self.copies.follow(self.history, effort_max)

    def follow_all(self) -> None:
        while self.copies.has_news(self.history):
            self.follow()

    def take_woken(self) -> list[ServerSession]:
        woken, self.woken = list(dict.fromkeys(self.woken)), []
        return woken

    def _wake(self, session: ServerSession) -> None:
        self.woken.append(session)

    def _fail(self, copy: Copy, code: str, text: str) -> None:
        self.failed.append((copy, code))
        assert text
        for session in self.copies.readers(copy):
            self.copies.leave_all_but((), session)


def commits_of(copy: Copy) -> list[Message]:
    return [message_of(copy.commit(i)) for i in range(copy.commits)]


def ids_of(messages: list[Message]) -> list[int]:
    changes = [change for m in messages for part in m["parts"] for change in part["changes"]]
    return [change[1][0] for change in changes]


def a_session(id: str = "a") -> ServerSession:
    return Peer(id).session
