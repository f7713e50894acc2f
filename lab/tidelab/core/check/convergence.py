"""Whenever a client is told that it is at a position, its rows are the truth at that position.

Not only in the end: at every single one. All other checkers say *why* it went wrong; this one says
whether, whatever the reason.
"""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import Span
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_difference, name_span
from tidelab.core.history.position import format_lsn


def judge(evidence: Evidence) -> Findings:
    """Look at every comparison of every client."""
    spans = [span for trace in evidence.traces for span in trace.spans]
    unjudged = sum(span.unjudged for span in spans)
    doubt = f"{unjudged} claims lie beyond what the oracle has read: end the run with a fence"
    return Findings(
        sum(span.compared for span in spans),
        tuple(_violation(evidence, span) for span in spans if span.mismatches),
        (doubt,) * bool(unjudged),
    )


def _violation(evidence: Evidence, span: Span) -> Violation:
    mismatch = span.mismatches[0]
    claim, right = mismatch.claim, mismatch.right_at
    since = evidence.oracle.begin if right is None else right.lsn
    between = span.view.commits_between(since, claim.lsn)
    suspects = ", ".join(evidence.named(lsn) for lsn in between[:3]) or "no commit"
    before = (
        "it was never right before" if right is None else f"it was right at {format_lsn(right.lsn)}"
    )
    text = (
        f"{name_span(span)}: told to be at {format_lsn(claim.lsn)}, it has "
        f"{name_difference(mismatch.difference)}; {before}, and in between lies {suspects}"
    )
    proof = evidence.proof(
        right.record.seq if right else span.begun.seq,
        claim.record.seq,
        *(evidence.seq_of(lsn) for lsn in between[:3]),
    )
    return Violation(text, proof, between[0] if between else claim.lsn)


CHECKER = Checker(
    "convergence",
    "At each position that a client is told, are its rows the truth at that position?",
    "comparisons",
    judge,
)
