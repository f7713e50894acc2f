"""`Up to date` is said only when it is true: everything at or below has been sent before."""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import Claim, Span
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_span
from tidelab.core.history.position import Lsn, format_lsn


def judge(evidence: Evidence) -> Findings:
    """Ask at each such word which commits had not come yet."""
    judged = 0
    violations: list[Violation] = []
    for trace in evidence.traces:
        for span in trace.spans:
            if span.live_since is not None:
                spoken = [claim for claim in span.claims if claim.is_spoken]
                judged += len(spoken) - (span.live_since in spoken)
                violations += _too_early(evidence, span, span.live_since.lsn, spoken)
    return Findings(judged, tuple(violations))


def _too_early(evidence: Evidence, span: Span, since: Lsn, spoken: list[Claim]) -> list[Violation]:
    came: dict[Lsn, int] = {}
    for delivery in span.deliveries:
        came.setdefault(delivery.lsn, delivery.record.seq)
    violations = []
    for claim in spoken:
        for lsn in span.view.commits_between(since, claim.lsn):
            seq = came.get(lsn)
            if seq is None or seq > claim.record.seq:
                after = "never came" if seq is None else f"came only in #{seq}"
                text = (
                    f"{name_span(span)}: called up to date at {format_lsn(claim.lsn)} "
                    f"(#{claim.record.seq}), but {evidence.named(lsn)} {after}"
                )
                proof = evidence.proof(evidence.seq_of(lsn), claim.record.seq, seq)
                violations.append(Violation(text, proof, lsn))
        since = max(since, claim.lsn)
    return violations


CHECKER = Checker(
    "up_to_date",
    "Is a client called up to date only when it is?",
    "claims to be up to date",
    judge,
)
