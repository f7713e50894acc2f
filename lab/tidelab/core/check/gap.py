"""A copy and the commits beside it are the table: nothing lost, nothing doubled in between.

Judged at the one claim that makes the copy visible. What goes wrong later is no gap.
"""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import Mismatch, Span
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_difference, name_key, name_span
from tidelab.core.history.position import Lsn, format_lsn


def judge(evidence: Evidence) -> Findings:
    """Look at the first claim of each span that began with a copy."""
    joined = 0
    violations = []
    for trace in evidence.traces:
        for span in trace.spans:
            joined += bool(span.compared)
            violations += [_violation(evidence, span, m) for m in span.mismatches if m.is_join]
    return Findings(joined, tuple(violations))


def _violation(evidence: Evidence, span: Span, mismatch: Mismatch) -> Violation:
    difference, claim = mismatch.difference, mismatch.claim
    wrong = [*difference.missing, *difference.extra, *difference.changed]
    versions = [lsn for lsn, _ in span.view.versions_of(wrong[0]) if lsn <= claim.lsn]
    last: Lsn | None = versions[-1] if versions else None
    staged = sorted({delivery.lsn for delivery in span.staged})
    told = ", ".join(map(format_lsn, staged[:5])) or "none"
    why = "" if last is None else f"; row {name_key(wrong[0])} is as of {evidence.named(last)}"
    text = (
        f"{name_span(span)}: its copy became visible at {format_lsn(claim.lsn)} with "
        f"{name_difference(difference)}{why}, and the commits told beside the copy are {told}"
    )
    proof = evidence.proof(
        span.begun.seq, claim.record.seq, None if last is None else evidence.seq_of(last)
    )
    return Violation(text, proof, claim.lsn if last is None else last)


CHECKER = Checker(
    "gap",
    "When a copy becomes visible, is it the table at that position?",
    "copies that became visible",
    judge,
)
