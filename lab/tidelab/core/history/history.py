"""A history: everything that was recorded in a run, in one order.

The one rule: the order is the sequence number. Times come from a monotonic clock and are there for
people; no verdict depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from msgspec import Struct

from tidelab.core.history.event import Event

T = TypeVar("T")


class Record(Struct, frozen=True):
    """One event: when, and of which process."""

    seq: int
    at_s: float
    process: str
    event: Event


@dataclass(frozen=True)
class History:
    """Hold the records of a run and answer questions about them."""

    records: tuple[Record, ...]

    @cached_property
    def processes(self) -> dict[str, list[Record]]:
        """Return the records of each process, in the order of first appearance."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.process, []).append(record)
        return found

    def events(self, *kinds: type[T]) -> Iterator[tuple[Record, T]]:
        """Yield the records whose event is of one of these kinds, with that event."""
        for record in self.records:
            if isinstance(record.event, kinds):
                yield record, record.event

    def find(self, predicate: Callable[[Record], bool]) -> Record | None:
        """Return the first record for which the predicate holds: what `wait_for` waits for."""
        return next(filter(predicate, self.records), None)


class Journal:
    """Number the events of a running run, and keep them; times are passed in."""

    def __init__(self, listeners: Iterable[Callable[[Record], None]] = ()) -> None:
        self.records: list[Record] = []
        self._listeners = tuple(listeners)

    def record(self, process: str, event: Event, *, at_s: float = 0.0) -> Record:
        """Append one event and tell the listeners (a file, an online check)."""
        record = Record(len(self.records), at_s, process, event)
        self.records.append(record)
        for listener in self._listeners:
            listener(record)
        return record

    @property
    def history(self) -> History:
        """Return what has been recorded so far."""
        return History(tuple(self.records))
