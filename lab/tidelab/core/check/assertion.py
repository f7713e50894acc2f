"""Assertions of the run itself: `always` holds whenever met, `sometimes` holds at least once.

The cure for tests that test nothing: a run that wanted to see a thing at least once ("a client came
back while the database was down") and never saw it does not know whether all is well.
"""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.verdict import Findings, Violation
from tidelab.core.history.event import Asserted, Declared


def judge(evidence: Evidence) -> Findings:
    """Compare what was declared with what was met."""
    met = [(record, event) for record, event in evidence.history.events(Asserted)]
    declared = {event.name: event for _, event in evidence.history.events(Declared)}
    violations = tuple(
        Violation(f"{event.name}: did not hold: {event.detail or 'no detail'}", (record.seq,))
        for record, event in met
        if not event.holds and _kind_of(declared, event) == "always"
    )
    held = {event.name for _, event in met if event.holds}
    doubts = tuple(f"{name!r} was never met" for name in declared if name not in held)
    return Findings(len(met) + len(declared), violations, doubts)


def _kind_of(declared: dict[str, Declared], event: Asserted) -> str:
    """Return the kind of an assertion; one that nobody declared has to hold always."""
    return declared[event.name].kind if event.name in declared else "always"


CHECKER = Checker(
    "assertion",
    "Did the assertions of the run hold, and was each met?",
    "assertions",
    judge,
)
