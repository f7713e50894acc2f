"""Does the stream continue the log that we have?

After a reconnect the stream starts so that the newest commit of the log is sent *again*. If another
one comes in its place, the database has another history than the one we told to clients: a restored
backup, a slot that somebody else has read, an asynchronous commit that a crash took back.
"""

from __future__ import annotations

from collections.abc import Iterable

from tidewire.core.model.lsn import Lsn
from tidewire.core.model.transaction import Transaction
from tidewire.core.stream.history import History


class BrokenHistory(Exception):
    """Say that the stream does not continue the log."""


class Rejoin:
    """Hold the beginning of a stream against the end of the log."""

    def __init__(self, history: History) -> None:
        self._expected: tuple[Lsn, str] | None = None
        self._told = history.progress
        self.after = history.floor
        """Where the stream has to start."""
        self._history = history
        if history.next > history.first:
            newest = history.at(history.next - 1)
            self._expected = (newest.lsn, newest.tag)
            self.after, _ = history.before(history.next - 1)

    @classmethod
    def ahead(cls, history: History) -> Rejoin:
        """Begin behind the log, where nothing can come again; another stream will prove it."""
        rejoin = cls(history)
        rejoin.after, rejoin._expected = history.progress, None
        return rejoin

    @property
    def is_complete(self) -> bool:
        """Tell whether the stream has proved to continue the log."""
        return self._expected is None

    def check(self, transactions: Iterable[Transaction]) -> list[Transaction]:
        """Return those transactions that are new.

        Raises BrokenHistory when the first is not the one that must come again, or when a stream
        that was ahead has left one out.
        """
        found = list(transactions)
        if self._expected is not None and found:
            first = found.pop(0)
            if (first.lsn, first.tag) != self._expected:
                raise BrokenHistory(f"the commit {first.tag} came where another one was before")
            self._expected = None
        if found and found[0].lsn <= self._told:
            raise BrokenHistory(f"the commit {found[0].tag} came where there was none before")
        if found and found[0].lsn <= self._history.progress:
            found = [transaction for transaction in found if not self._is_told(transaction)]
        return found

    def _is_told(self, transaction: Transaction) -> bool:
        """Tell whether a stream that was ahead has passed this commit; then it has brought it."""
        if transaction.lsn > self._history.progress:
            return False
        if transaction.rows and not self._history.has(transaction):
            raise BrokenHistory(f"the commit {transaction.tag} was not told, and later ones were")
        return True

    def check_progress(self, progress: Lsn) -> bool:
        """Tell whether a position that the stream has passed may be believed.

        Raises BrokenHistory when the stream has passed the commit that must come again.
        """
        if self._expected is not None and progress >= self._expected[0]:
            raise BrokenHistory("the newest commit of the log did not come again")
        return self.is_complete

    def check_end(self, progress: Lsn) -> bool:
        """Tell whether the stream, now at this position, has come to the end of the log.

        Raises BrokenHistory as `check_progress` does.
        """
        return self.check_progress(progress) and progress >= self._told
