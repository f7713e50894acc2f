"""Everybody arrives: when the run has settled, every subscription has got to its end.

The other checkers judge what was said; a server that falls silent says nothing wrong. How long a
client may take is the run's decision, and the event `Settled` is its word that the time is over.
"""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.trace import Trace
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_span
from tidelab.core.history.event import Connected, Disconnected, Settled
from tidelab.core.history.history import Record
from tidelab.core.history.position import format_lsn


def judge(evidence: Evidence) -> Findings:
    """Look at the last claim of every subscription that is still wanted."""
    settled = list(evidence.history.events(Settled))
    if not settled:
        return Findings(0)
    record, event = settled[-1]
    judged = 0
    violations: list[Violation] = []
    for trace in evidence.traces:
        if _is_expected(evidence, trace, record):
            judged += len(trace.current) or not trace.spans
            violations += _late(trace, record, event)
    return Findings(judged, tuple(violations))


def _is_expected(evidence: Evidence, trace: Trace, settled: Record) -> bool:
    """Tell whether the run still wanted the client when it settled."""
    last = None
    for record in evidence.history.processes[trace.client]:
        if record.seq < settled.seq and isinstance(record.event, Connected | Disconnected):
            last = record.event
    return last is not None and not (isinstance(last, Disconnected) and last.is_wanted)


def _late(trace: Trace, settled: Record, event: Settled) -> list[Violation]:
    goal = format_lsn(event.lsn)
    if not trace.spans:
        text = f"client {trace.client}: connected, but no subscription of it was ever accepted"
        return [Violation(text, (settled.seq,), event.lsn)]
    violations = []
    for span in trace.current:
        claims = [claim for claim in span.claims if claim.record.seq < settled.seq]
        if not any(claim.lsn >= event.lsn for claim in claims):
            last = max((claim.lsn for claim in claims), default=None)
            where = "has never been live" if last is None else f"got to {format_lsn(last)} only"
            text = f"{name_span(span)}: had its time to get to {goal} and {where}"
            violations.append(Violation(text, (span.begun.seq, settled.seq), event.lsn))
    return violations


CHECKER = Checker(
    "arrival",
    "Has every subscription got to the end of the run?",
    "subscriptions at the end",
    judge,
)
