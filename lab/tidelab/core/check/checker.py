"""Checkers, and how a history is put before all of them.

The one rule: a checker is a value with a name, a question and a function. It may break down without
taking the others with it, but then nobody may say that its property held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tidelab.core.check.evidence import Evidence
from tidelab.core.check.verdict import Answer, Findings, Verdict, verdict_of, worst
from tidelab.core.history.history import History


@dataclass(frozen=True, slots=True)
class Checker:
    """Judge one property of a run."""

    name: str
    question: str
    unit: str
    """What it counts: without any of these it says *unknown*."""
    judge: Callable[[Evidence], Findings]

    def check(self, evidence: Evidence) -> Verdict:
        """Return a verdict; a checker that breaks down does not know."""
        try:
            return verdict_of(self.name, self.judge(evidence), self.unit)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the verdict tells it
            reason = f"the checker broke down: {type(error).__name__}: {error}"
            return Verdict(self.name, Answer.UNKNOWN, reason)


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts on one history."""

    verdicts: tuple[Verdict, ...]

    @property
    def answer(self) -> Answer:
        """Compose the verdicts: the worst wins."""
        return worst(verdict.answer for verdict in self.verdicts)


def examine(history: History, checkers: Iterable[Checker]) -> Report:
    """Put a history before checkers."""
    evidence = Evidence(history)
    return Report(tuple(checker.check(evidence) for checker in checkers))
