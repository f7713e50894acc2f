"""Whatever a client is told happened did happen: in that commit, with those values."""

from __future__ import annotations

from collections.abc import Iterator

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import Delivery, Span
from tidelab.core.check.trace import Trace
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_key, name_span
from tidelab.core.history.event import Patch, Put, Rekey, Remove, RowChange, Values
from tidelab.core.history.position import Lsn, format_lsn
from tidelab.core.history.truth import Key


def judge(evidence: Evidence) -> Findings:
    """Look for the origin of every change that came."""
    judged = 0
    violations: list[Violation] = []
    for trace in evidence.traces:
        violations += _strays(trace)
        for span in trace.spans:
            for delivery in span.all_deliveries():
                if evidence.oracle.knows(delivery.lsn):
                    judged += len(delivery.changes)
                    violations += _invented(evidence, span, delivery)
    return Findings(judged, tuple(violations))


def _strays(trace: Trace) -> Iterator[Violation]:
    for record, id in trace.strays:
        text = (
            f"client {trace.client}: #{record.seq} came for subscription {id!r}, which was not in "
            "the state for it (a copy wants staged commits, a live one others, and no rows)"
        )
        yield Violation(text, (record.seq,))


def _invented(evidence: Evidence, span: Span, delivery: Delivery) -> Iterator[Violation]:
    seq, lsn = delivery.record.seq, delivery.lsn
    at = format_lsn(lsn)
    if lsn not in evidence.oracle.commits:
        text = f"{name_span(span)}: a commit {at} came in #{seq}; the database has none there"
        yield Violation(text, (seq,), lsn)
        return
    for change in delivery.changes:
        if fault := fault_of(span, change, lsn):
            text = f"{name_span(span)}: {evidence.named(lsn)} came in #{seq} {fault}"
            yield Violation(text, evidence.proof(evidence.seq_of(lsn), seq), lsn)


def fault_of(span: Span, change: RowChange, lsn: Lsn) -> str | None:
    """Say what a change tells that the truth at its commit does not hold, if anything."""
    match change:
        case Put(row):
            key = tuple(row.get(name) for name in span.view.table.key)
            return _wrong_values(span, key, row, lsn)
        case Patch(key, values) | Rekey(_, key, values):
            return _wrong_values(span, key, values, lsn)
        case Remove(key) if span.view.row_at(key, lsn) is not None:
            return f"taking out row {name_key(key)}, which is still there"
        case _:
            return None


def _wrong_values(span: Span, key: Key, values: Values, lsn: Lsn) -> str | None:
    row = span.view.row_at(key, lsn)
    if row is None:
        return None  # that is a leak, and told as one
    truth = dict(zip(span.view.shape.columns, row, strict=True))
    for name, value in values.items():
        if truth.get(name, value) != value:
            return f"with {name} = {value!r} in row {name_key(key)}; it is {truth[name]!r}"
    return None


CHECKER = Checker(
    "origin",
    "Did everything that a client is told happen, and just so?",
    "changes",
    judge,
)
