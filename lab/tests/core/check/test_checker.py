"""Goal: checkers cannot hide each other's end.

Method: one that breaks down beside one that judges.
"""

from __future__ import annotations

from lab.tests.core.scene import Scene
from tidelab.core.check.checker import Checker, examine
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.verdict import Answer, Findings


def broken(_: Evidence) -> Findings:
    raise RuntimeError("a bug of ours")


GOOD = Checker("good", "?", "things", lambda _: Findings(1))
BROKEN = Checker("broken", "?", "things", broken)


def test_a_checker_that_breaks_down_does_not_know() -> None:
    report = examine(Scene().journal.history, [BROKEN, GOOD])
    assert [verdict.answer for verdict in report.verdicts] == [Answer.UNKNOWN, Answer.TRUE]
    assert report.verdicts[0].reason == "the checker broke down: RuntimeError: a bug of ours"
    assert report.answer is Answer.UNKNOWN


def test_no_checker_is_no_answer() -> None:
    assert examine(Scene().journal.history, []).answer is Answer.UNKNOWN
