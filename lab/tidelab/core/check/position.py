"""The position of a client never goes back, but by a reset; reconnects are no excuse."""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.trace import Moment, Trace
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.history.position import format_lsn


def judge(evidence: Evidence) -> Findings:
    """Compare what each client was told at each moment with what it was told before."""
    violations = [each for trace in evidence.traces for each in _steps_back(evidence, trace)]
    return Findings(sum(_followed(trace) for trace in evidence.traces), tuple(violations))


def _followed(trace: Trace) -> int:
    """Count the positions that had one before them."""
    positions = _positions(trace)
    return len(positions) - len({moment.generation for moment in positions})


def _positions(trace: Trace) -> list[Moment]:
    return [moment for moment in trace.moments if moment.counts]


def _steps_back(evidence: Evidence, trace: Trace) -> list[Violation]:
    """Find claims below an earlier one; two commits out of order are the order's business."""
    violations = []
    highest: Moment | None = None
    told: Moment | None = None
    for moment in _positions(trace):
        if highest is not None and moment.generation != highest.generation:
            highest = told = None
        before = highest if moment.is_spoken else told
        if before is not None and moment.lsn < before.lsn:
            text = (
                f"client {trace.client}: told to be at {format_lsn(before.lsn)} "
                f"(#{before.record.seq}), and then, without a reset, at {format_lsn(moment.lsn)} "
                f"(#{moment.record.seq})"
            )
            proof = evidence.proof(before.record.seq, moment.record.seq)
            violations.append(Violation(text, proof, moment.lsn))
        if highest is None or moment.lsn > highest.lsn:
            highest = moment
        if moment.is_spoken and (told is None or moment.lsn > told.lsn):
            told = moment
    return violations


CHECKER = Checker(
    "position",
    "Does the position of a client only go forward?",
    "positions after another",
    judge,
)
