"""A history, prepared once for all checkers.

The one rule: the whole truth is read first, then the clients are replayed against it. So a checker
never depends on whether the oracle or a client was quicker.
"""

from __future__ import annotations

from functools import cached_property

from tidelab.core.check.trace import Trace
from tidelab.core.history.event import Connected
from tidelab.core.history.history import History
from tidelab.core.history.position import Lsn, format_lsn
from tidelab.core.history.truth import Baseline, Committed, Fenced
from tidelab.core.oracle.oracle import Oracle
from tidelab.errors import OracleError


class Evidence:
    """Hold what checkers look at."""

    def __init__(self, history: History) -> None:
        self.history = history

    @cached_property
    def oracle(self) -> Oracle:
        """Return the oracle, when it has read all of the truth.

        Raises OracleError if the truth does not fit together, or is not there.
        """
        oracle: Oracle | None = None
        for record in self.history.records:
            event = record.event
            if isinstance(event, Baseline) and oracle is None:
                oracle = Oracle(event)
            elif isinstance(event, Baseline | Committed | Fenced) and oracle is not None:
                oracle.receive(event)
        if oracle is None:
            raise OracleError("the history holds no baseline: nobody recorded the truth")
        return oracle

    @cached_property
    def traces(self) -> list[Trace]:
        """Return every client, replayed."""
        traces = []
        for process, records in self.history.processes.items():
            if any(isinstance(record.event, Connected) for record in records):
                traces.append(trace := Trace(process, self.oracle))
                for record in records:
                    trace.receive(record)
        return traces

    @cached_property
    def commit_records(self) -> dict[Lsn, int]:
        """Return the sequence number of the record of each commit."""
        return {event.lsn: record.seq for record, event in self.history.events(Committed)}

    def proof(self, *parts: int | Lsn | None) -> tuple[int, ...]:
        """Return sequence numbers in order, without those that are not there."""
        return tuple(sorted({part for part in parts if part is not None}))

    def seq_of(self, lsn: Lsn) -> int | None:
        """Return where a commit stands in the history."""
        return self.commit_records.get(lsn)

    def named(self, lsn: Lsn) -> str:
        """Name a commit with its place in the history."""
        seq = self.seq_of(lsn)
        return f"commit {format_lsn(lsn)}" + ("" if seq is None else f" (#{seq})")
