"""No row stays that has left: deleted, truncated, or moved out of the shape's condition."""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import Mismatch, Span
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_key, name_span
from tidelab.core.history.position import Lsn, format_lsn
from tidelab.core.history.truth import Key


def judge(evidence: Evidence) -> Findings:
    """Look for rows in the clients that the truth has no more."""
    left = 0
    violations: list[Violation] = []
    for trace in evidence.traces:
        for span in trace.spans:
            left += _left(span)
            seen: set[Key] = set()
            for mismatch in span.mismatches:
                violations += _ghosts(evidence, span, mismatch, seen)
    return Findings(left, tuple(violations))


def _left(span: Span) -> int:
    """Count the rows that left while the span was live."""
    if span.live_since is None:
        return 0
    last = max(claim.lsn for claim in span.claims)
    commits = span.view.commits_between(span.live_since.lsn, last)
    return sum(new is None for lsn in commits for _, new in span.view.effects_at(lsn).values())


def _ghosts(evidence: Evidence, span: Span, mismatch: Mismatch, seen: set[Key]) -> list[Violation]:
    violations = []
    for key in mismatch.difference.extra:
        lsn = _departure(span, key, mismatch.claim.lsn)
        if lsn is not None and key not in seen:
            seen.add(key)
            text = (
                f"{name_span(span)}: row {name_key(key)} left with {evidence.named(lsn)}, but at "
                f"{format_lsn(mismatch.claim.lsn)} the client still has it"
            )
            proof = evidence.proof(evidence.seq_of(lsn), mismatch.claim.record.seq)
            violations.append(Violation(text, proof, lsn))
    return violations


def _departure(span: Span, key: Key, upto: Lsn) -> Lsn | None:
    """Return where a key was last taken from the view, if it ever was."""
    gone = [lsn for lsn, row in span.view.versions_of(key) if row is None and lsn <= upto]
    return gone[-1] if gone else None


CHECKER = Checker(
    "ghost",
    "Do rows that leave a shape leave its clients?",
    "rows that left",
    judge,
)
