"""Goal: the worst wins and ignorance is told. Method: findings of each kind, answers composed."""

from __future__ import annotations

import pytest

from tidelab.core.check.verdict import Answer, Findings, Violation, verdict_of, worst

WRONG = Violation("it went wrong", (1,))
TRUE, UNKNOWN, FALSE = Answer.TRUE, Answer.UNKNOWN, Answer.FALSE


@pytest.mark.parametrize(
    ("findings", "answer", "reason"),
    [
        (Findings(3), TRUE, "3 rows judged"),
        (Findings(0), UNKNOWN, "there were no rows to judge"),
        (Findings(3, doubts=("a", "b")), UNKNOWN, "a; b"),
        (Findings(3, (WRONG,)), FALSE, "1 violation in 3 rows"),
        (Findings(0, (WRONG, WRONG), ("a",)), FALSE, "2 violations in 0 rows"),
    ],
)
def test_findings_become_a_verdict(findings: Findings, answer: Answer, reason: str) -> None:
    verdict = verdict_of("leak", findings, "rows")
    assert (verdict.answer, verdict.reason) == (answer, reason)
    assert verdict.violations == findings.violations


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], UNKNOWN),
        ([TRUE], TRUE),
        ([TRUE, UNKNOWN], UNKNOWN),
        ([FALSE, UNKNOWN, TRUE], FALSE),
    ],
)
def test_the_worst_wins_and_nothing_is_unknown(answers: list[Answer], expected: Answer) -> None:
    assert worst(answers) is expected
