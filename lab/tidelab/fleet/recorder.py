"""What a run writes down: events with their time, and operations with their outcome.

The one rule: everything that anybody does or is told goes through here, in the order in which it
happens in this loop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tidelab.core.history.event import (
    Asserted,
    Declared,
    Event,
    Failed,
    Invoked,
    Succeeded,
    Unsure,
)
from tidelab.core.history.history import Journal, Record
from tidelab.core.history.position import Lsn


@dataclass(slots=True)
class Operation:
    """One operation under way; what is not said about its end is success."""

    recorder: Recorder
    process: str
    number: int
    outcome: Succeeded | Failed | Unsure

    def succeed(self, lsn: Lsn) -> None:
        """Note that it was done, and where."""
        self.outcome = Succeeded(self.number, lsn)

    def fail(self, reason: str) -> None:
        """Note that it was certainly not done."""
        self.outcome = Failed(self.number, reason)

    def doubt(self, reason: str) -> None:
        """Note that nobody knows."""
        self.outcome = Unsure(self.number, reason)


class Recorder:
    """Give events their time, and operations their number."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._begin = time.monotonic()
        self._operations = 0

    def record(self, process: str, event: Event) -> Record:
        """Write an event down."""
        return self.journal.record(process, event, at_s=round(time.monotonic() - self._begin, 6))

    @contextmanager
    def operation(self, process: str, name: str, detail: str = "") -> Iterator[Operation]:
        """Frame an operation; one that breaks down has an unknown outcome."""
        self._operations += 1
        number = self._operations
        operation = Operation(self, process, number, Succeeded(number))
        self.record(process, Invoked(number, name, detail))
        try:
            yield operation
        except BaseException as error:
            operation.doubt(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.record(process, operation.outcome)

    def declare_always(self, name: str) -> None:
        """Say that something has to hold whenever it is met."""
        self.record("run", Declared(name, "always"))

    def declare_sometimes(self, name: str) -> None:
        """Say that something has to be seen at least once."""
        self.record("run", Declared(name, "sometimes"))

    def meet(self, name: str, *, holds: bool = True, detail: str = "") -> None:
        """Note that an assertion was met."""
        self.record("run", Asserted(name, holds, detail))
