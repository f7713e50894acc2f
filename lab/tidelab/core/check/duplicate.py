"""Nothing is told twice: no row of a commit, no row of a copy, no new row that is there already."""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import Span, keys_of
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_key, name_keys, name_span
from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Key


def judge(evidence: Evidence) -> Findings:
    """Count what each span was told of each row in each commit."""
    spans = [span for trace in evidence.traces for span in trace.spans]
    violations = [each for span in spans for each in (*_told_twice(evidence, span), *_there(span))]
    judged = sum(len(span.copied) + len(list(span.all_deliveries())) for span in spans)
    return Findings(judged, tuple(violations))


def _told_twice(evidence: Evidence, span: Span) -> list[Violation]:
    first: dict[tuple[Lsn, Key], int] = {}
    violations = []
    for delivery in span.all_deliveries():
        seq = delivery.record.seq
        keys, _ = keys_of(delivery.changes, span.view)
        again = [key for key in keys if first.setdefault((delivery.lsn, key), seq) != seq]
        if again:
            before = first[delivery.lsn, again[0]]
            text = (
                f"{name_span(span)}: {evidence.named(delivery.lsn)} was told twice for "
                f"{name_keys(again)}, first in #{before} and again in #{seq}"
            )
            proof = evidence.proof(evidence.seq_of(delivery.lsn), before, seq)
            violations.append(Violation(text, proof, delivery.lsn))
    return violations


def _there(span: Span) -> list[Violation]:
    return [
        Violation(
            f"{name_span(span)}: row {name_key(key)} came as a new one, but it was there already",
            (span.begun.seq, record.seq),
        )
        for record, key in span.doubled
    ]


CHECKER = Checker("duplicate", "Is everything told only once?", "messages with rows", judge)
