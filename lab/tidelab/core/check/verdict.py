"""What a checker says, and how several verdicts become one.

The one rule: the worst wins, and what was not seen is not known. A checker that had nothing to
judge, or that broke down, says *unknown*, never *true*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tidelab.core.history.position import Lsn


class Answer(StrEnum):
    """Whether a property held."""

    TRUE = "true"
    UNKNOWN = "unknown"
    FALSE = "false"


_BADNESS = {Answer.TRUE: 0, Answer.UNKNOWN: 1, Answer.FALSE: 2}


@dataclass(frozen=True, slots=True)
class Violation:
    """One case in which a property did not hold: in words, with the events that prove it."""

    text: str
    proof: tuple[int, ...]
    """Sequence numbers of records."""
    lsn: Lsn | None = None
    """The first position at which it was wrong, where there is one."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a checker found: how much it judged, what was wrong, and what it could not judge."""

    judged: int
    violations: tuple[Violation, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of one checker."""

    checker: str
    answer: Answer
    reason: str
    judged: int = 0
    violations: tuple[Violation, ...] = ()


def verdict_of(checker: str, findings: Findings, unit: str) -> Verdict:
    """Turn findings into a verdict; `unit` names what was judged."""
    violations, judged = findings.violations, findings.judged
    if violations:
        count = len(violations)
        reason = f"{count} violation{'s'[: count > 1]} in {judged} {unit}"
        return Verdict(checker, Answer.FALSE, reason, judged, violations)
    if not judged:
        return Verdict(checker, Answer.UNKNOWN, f"there were no {unit} to judge")
    if findings.doubts:
        return Verdict(checker, Answer.UNKNOWN, "; ".join(findings.doubts), judged)
    return Verdict(checker, Answer.TRUE, f"{judged} {unit} judged", judged)


def worst(answers: Iterable[Answer]) -> Answer:
    """Compose answers; none at all is unknown."""
    return max(answers, key=_BADNESS.__getitem__, default=Answer.UNKNOWN)
