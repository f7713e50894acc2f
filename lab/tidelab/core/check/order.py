"""Commits come in the order in which they were made, across tables and reconnects."""

from __future__ import annotations

from itertools import pairwise

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.trace import Trace
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.history.position import Lsn, format_lsn

Step = tuple[int, Lsn]  # sequence number of the record, position


def judge(evidence: Evidence) -> Findings:
    """Compare each commit with the one before it."""
    judged = 0
    violations: list[Violation] = []
    for trace in evidence.traces:
        for earlier, later in _steps(trace):
            judged += 1
            if later[1] < earlier[1]:
                violations.append(_violation(evidence, trace, earlier, later))
    return Findings(judged, tuple(violations))


def _steps(trace: Trace) -> list[tuple[Step, Step]]:
    """Pair commits that follow one another: live ones of a client, staged ones of a copy."""
    live = [moment for moment in trace.moments if moment.counts and not moment.is_spoken]
    steps = [
        ((a.record.seq, a.lsn), (b.record.seq, b.lsn))
        for a, b in pairwise(live)
        if a.generation == b.generation
    ]
    for span in trace.spans:
        steps += [((a.record.seq, a.lsn), (b.record.seq, b.lsn)) for a, b in pairwise(span.staged)]
    return steps


def _violation(evidence: Evidence, trace: Trace, earlier: Step, later: Step) -> Violation:
    text = (
        f"client {trace.client}: {evidence.named(later[1])} came in #{later[0]}, after "
        f"{evidence.named(earlier[1])} in #{earlier[0]}, although it was made before it"
    )
    seqs = (evidence.seq_of(later[1]), evidence.seq_of(earlier[1]))
    return Violation(
        f"{text} ({format_lsn(later[1])} < {format_lsn(earlier[1])})",
        evidence.proof(earlier[0], later[0], *seqs),
        later[1],
    )


CHECKER = Checker(
    "order",
    "Do commits come in the order in which they were made?",
    "pairs of commits",
    judge,
)
