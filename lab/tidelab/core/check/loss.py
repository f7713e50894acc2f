"""Nothing is lost: what changed a live subscription has been told before the client is past it."""

from __future__ import annotations

from collections import defaultdict

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import Span, untold
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_keys, name_span
from tidelab.core.history.event import RowChange
from tidelab.core.history.position import Lsn, format_lsn


def judge(evidence: Evidence) -> Findings:
    """Ask of each commit below the last claim of each span whether it came, and whole."""
    judged = 0
    violations: list[Violation] = []
    for trace in evidence.traces:
        for span in trace.spans:
            if span.live_since is not None:
                last = max(claim.lsn for claim in span.claims)
                commits = span.view.commits_between(span.live_since.lsn, last)
                judged += len(commits)
                violations += _lost(evidence, span, commits)
    return Findings(judged, tuple(violations))


def _lost(evidence: Evidence, span: Span, commits: list[Lsn]) -> list[Violation]:
    told: dict[Lsn, list[RowChange]] = defaultdict(list)
    for delivery in span.deliveries:
        told[delivery.lsn] += delivery.changes
    violations = []
    for lsn in commits:
        if missing := untold(told.get(lsn, ()), span.view, lsn):
            passed = next(claim for claim in span.claims if claim.lsn >= lsn)
            text = (
                f"{name_span(span)}: {evidence.named(lsn)} changed {name_keys(missing)}, the "
                f"client was told to be at {format_lsn(passed.lsn)} (#{passed.record.seq}) and has "
                "never heard of it"
            )
            proof = evidence.proof(evidence.seq_of(lsn), passed.record.seq)
            violations.append(Violation(text, proof, lsn))
    return violations


CHECKER = Checker(
    "loss",
    "Has each client been told of every commit that changed its live subscriptions?",
    "commits that had to be told",
    judge,
)
