"""One committed transaction, as the log keeps it: raw row messages, decoded when looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias

import msgspec

from tidewire.core.model.lsn import Lsn, Xid
from tidewire.core.model.relation import Relation

RowMessage: TypeAlias = tuple[Relation, bytes]
"""One row message with the version of the relation that was in force when it was written."""


class RowMessages(Protocol):
    """The row messages of a transaction in order; it can be walked many times."""

    def __iter__(self) -> Iterator[RowMessage]:
        """Walk all messages from the first."""
        ...


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """What one COMMIT made true; `lsn` is the end of its commit record.

    Nothing in it is of interest to the garbage collector: the log holds hundreds of thousands, and
    a collection that walks them would stop every client.
    """

    lsn: Lsn
    xid: Xid
    at: int
    """Commit time in microseconds since 1970."""
    messages: RowMessages
    size: int
    """Bytes of all row messages."""
    rows: int
    is_spooled: bool = False

    @property
    def tag(self) -> str:
        """Tell this commit from any other that may once have ended at the same position."""
        return f"{self.at:x}-{self.xid:x}"
