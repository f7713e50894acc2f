"""A commit comes as one: over all its live subscriptions a client never sees half of it."""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.span import untold
from tidelab.core.check.trace import Moment, Trace
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.check.wording import name_keys
from tidelab.core.history.event import Received
from tidelab.core.history.position import Lsn


def judge(evidence: Evidence) -> Findings:
    """Compare each commit that came with all that it should have brought."""
    judged = 0
    violations: list[Violation] = []
    for trace in evidence.traces:
        torn: set[Lsn] = set()
        for moment in trace.moments:
            if moment.is_spoken or moment.lsn in torn:
                continue
            expected, missing = _completeness(moment)
            judged += expected > 1
            if 0 < sum(map(len, missing.values())) < expected:
                torn.add(moment.lsn)
                violations.append(_violation(evidence, trace, moment, missing))
    return Findings(judged, tuple(violations))


def _completeness(moment: Moment) -> tuple[int, dict[str, set[tuple[str | None, ...]]]]:
    """Count the rows that the commit changed for this client, and find those not told."""
    event = moment.record.event
    assert isinstance(event, Received)
    told = {part.id: part.changes for part in event.parts}
    expected = 0
    missing = {}
    for span in moment.live:
        assert span.live_since is not None
        if span.live_since.lsn < moment.lsn:
            expected += len(span.view.effects_at(moment.lsn))
            missing[span.id] = untold(told.get(span.id, ()), span.view, moment.lsn)
    return expected, missing


def _violation(
    evidence: Evidence,
    trace: Trace,
    moment: Moment,
    missing: dict[str, set[tuple[str | None, ...]]],
) -> Violation:
    absent = ", ".join(f"{name_keys(keys)} of {id!r}" for id, keys in missing.items() if keys)
    text = (
        f"client {trace.client}: {evidence.named(moment.lsn)} came in #{moment.record.seq} "
        f"only in part: {absent} did not come with it"
    )
    proof = evidence.proof(evidence.seq_of(moment.lsn), moment.record.seq)
    return Violation(text, proof, moment.lsn)


CHECKER = Checker(
    "atomicity",
    "Does each commit come whole, over all live subscriptions of a client?",
    "commits with several rows",
    judge,
)
