"""No client is ever sent a row that its shape does not show: not for a moment, not on a stage."""

from __future__ import annotations

from collections.abc import Iterator

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import Delivery, Span
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_key, name_span
from tidelab.core.history.event import Patch, Put, Rekey
from tidelab.core.history.position import format_lsn
from tidelab.core.history.truth import Key


def judge(evidence: Evidence) -> Findings:
    """Ask of every row that came whether the shape shows it."""
    judged = 0
    violations: list[Violation] = []
    for trace in evidence.traces:
        for span in trace.spans:
            judged += sum(len(event.rows) for _, event in span.copied)
            violations += _copied(span)
            for delivery in span.all_deliveries():
                if evidence.oracle.knows(delivery.lsn):
                    keys = list(_keys_shown(span, delivery))
                    judged += len(keys)
                    violations += _leaked(evidence, span, delivery, keys)
    return Findings(judged, tuple(violations))


def _keys_shown(span: Span, delivery: Delivery) -> Iterator[Key]:
    """Yield the keys of the rows that a commit brings or keeps."""
    for change in delivery.changes:
        match change:
            case Put(row):
                yield tuple(row.get(name) for name in span.view.table.key)
            case Patch(key) | Rekey(_, key):
                yield key
            case _:
                pass


def _leaked(
    evidence: Evidence, span: Span, delivery: Delivery, keys: list[Key]
) -> Iterator[Violation]:
    for key in keys:
        if span.view.row_at(key, delivery.lsn) is None:
            text = (
                f"{name_span(span)}: row {name_key(key)} came in #{delivery.record.seq}, but at "
                f"{format_lsn(delivery.lsn)} the shape does not show it"
            )
            proof = evidence.proof(delivery.record.seq, evidence.seq_of(delivery.lsn))
            yield Violation(text, proof, delivery.lsn)


def _copied(span: Span) -> Iterator[Violation]:
    """Find copied rows that are no version of any row that the shape has ever shown."""
    for record, event in span.copied:
        for values in event.rows:
            row = span.replica.row_of(values)
            key = span.view.key_of(row)
            if not any(row == version for _, version in span.view.versions_of(key)):
                text = (
                    f"{name_span(span)}: row {name_key(key)} came with the copy in #{record.seq}, "
                    "but the shape has never shown it so"
                )
                yield Violation(text, (span.begun.seq, record.seq))


CHECKER = Checker(
    "leak",
    "Does every row that a client is sent belong to its shape?",
    "rows",
    judge,
)
